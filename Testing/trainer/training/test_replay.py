"""Pieces of training images beside a model: what is cut, kept and refused."""

import dataclasses

import numpy as np
import pytest
import torch

from small_models import DOCUMENT
from unetseg import records
from unetseg.data import PreparedCase
from unetseg.errors import ModelFileError
from unetseg.model_file import read_tensors, write_tensors
from unetseg.training.replay import MAX_PIECE_VOXELS, Replay, cut_pieces, read_replay, write_replay
from unetseg.volume import UNLABELLED


def plan(*patch_size):
    return dataclasses.replace(DOCUMENT.plan, patch_size=patch_size)


def case_with(annotation, *, name="case", channels=1):
    image = np.random.default_rng(0).normal(size=(channels, *annotation.shape)).astype(np.float32)
    return PreparedCase(name, image, annotation, None, (2.0, 1.0, 0.5))


def two_structures(name="case"):
    """Classes 1 and 2 in the corners of a case, farther apart than a piece is long."""
    annotation = np.zeros((12, 12, 12), np.uint8)
    annotation[1, 1, 1], annotation[10, 10, 10] = 1, 2
    return case_with(annotation, name=name)


def test_pieces_come_back_as_they_were_but_in_16_bit(tmp_path):
    annotation = np.full((6, 8, 10), UNLABELLED, np.uint8)
    annotation[3], annotation[3, 2:5, 2:5] = 0, 2
    pieces = cut_pieces([case_with(annotation, channels=2)] * 5, plan(6, 8, 10), seed=0)
    write_replay(tmp_path / "m.replay.safetensors", pieces)
    found = read_replay(tmp_path / "m.replay.safetensors", channels=2, classes=3)
    assert (len(found.rehearsed), len(found.checked)) == (4, 1)
    for piece in (*found.rehearsed, *found.checked):
        np.testing.assert_array_equal(piece.image, pieces[0].image.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(piece.annotation, annotation)
        assert piece.image.dtype == np.float32
        assert piece.annotation.dtype == np.uint8
        assert piece.edited is None
        assert piece.spacing_mm == (2.0, 1.0, 0.5)


def test_every_fourth_piece_is_kept_to_measure_with(tmp_path):
    pieces = [case_with(np.full((2, 2, 2), value, np.uint8)) for value in range(1, 10)]
    write_replay(tmp_path / "r.safetensors", pieces)
    found = read_replay(tmp_path / "r.safetensors", channels=1, classes=10)
    assert [piece.annotation.max() for piece in found.rehearsed] == [1, 2, 3, 5, 6, 7, 9]
    assert [piece.annotation.max() for piece in found.checked] == [4, 8]


def test_of_many_cases_sixteen_give_a_piece_spread_over_all():
    cases = [two_structures(f"{number}") for number in range(32)]
    pieces = cut_pieces(cases, plan(4, 4, 4), seed=1)
    assert [piece.name for piece in pieces] == [f"{number}" for number in range(0, 32, 2)]


def test_few_cases_give_several_pieces_in_turn_and_small_ones_no_more_than_they_hold():
    small = case_with(np.ones((4, 4, 5), np.uint8), name="small")  # 80 voxels: two pieces of 64
    pieces = cut_pieces([small, two_structures("large")], plan(4, 4, 4), seed=0)
    assert [piece.name for piece in pieces] == ["small", "large"] * 2 + ["large"] * 12


@pytest.mark.parametrize("cases", [1, 2, 16, 32])
def test_each_structure_is_shown_equally_often(cases):
    pieces = cut_pieces([two_structures()] * cases, plan(4, 4, 4), seed=0)
    assert [sum(int((piece.annotation == value).any()) for piece in pieces) for value in (1, 2)] == [8, 8]


def test_pieces_lie_inside_the_image_and_are_copies():
    case = two_structures()
    for piece in cut_pieces([case], plan(4, 6, 32), seed=0):
        assert piece.annotation.shape == (4, 6, 12)
        assert piece.image.shape == (1, 4, 6, 12)
        assert not np.shares_memory(piece.image, case.image)
        assert np.isin(piece.image, case.image).all()


def test_no_piece_is_larger_than_what_is_kept():
    case = case_with(np.ones((100, 100, 100), np.uint8))
    (piece, *_) = cut_pieces([case], plan(96, 96, 96), seed=0)
    assert piece.annotation.shape == (48, 48, 48)
    assert piece.annotation.size <= MAX_PIECE_VOXELS
    (flat, *_) = cut_pieces([case], plan(1, 100, 100), seed=0)
    assert flat.annotation.shape == (1, 100, 100)


def test_cases_that_show_no_structure_give_none():
    background = case_with(np.zeros((4, 4, 4), np.uint8))
    unlabelled = case_with(np.full((4, 4, 4), UNLABELLED, np.uint8))
    assert cut_pieces([background, unlabelled], plan(4, 4, 4), seed=0) == ()
    assert [piece.name for piece in cut_pieces([background, two_structures("b")], plan(16, 16, 16), seed=0)] == ["b"]


def test_where_no_file_lies_there_is_nothing_to_rehearse(tmp_path):
    assert read_replay(tmp_path / "none.safetensors", channels=1, classes=2) == Replay()
    write_replay(tmp_path / "empty.safetensors", ())
    assert read_replay(tmp_path / "empty.safetensors", channels=1, classes=2) == Replay()


@pytest.fixture
def written(tmp_path):
    write_replay(tmp_path / "r.safetensors", cut_pieces([two_structures()], plan(4, 4, 4), seed=0))
    return tmp_path / "r.safetensors"


@pytest.mark.parametrize(("channels", "classes"), [(2, 3), (1, 2)])
def test_pieces_of_another_model_are_refused(written, channels, classes):
    assert len(read_replay(written, channels=1, classes=3).rehearsed) == 12
    with pytest.raises(ModelFileError, match=r"r\.safetensors.*Remove this file"):
        read_replay(written, channels=channels, classes=classes)


def test_a_file_cut_off_is_refused(written):
    written.write_bytes(written.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match=r"r\.safetensors.*Remove this file"):
        read_replay(written, channels=1, classes=3)


@pytest.mark.parametrize(
    "changes",
    [{"format_version": 2}, {"spacing_mm": [[1, 1, 1]] * 17}, {"spacing_mm": [[1, 1]]}, {"colour": "red"}],
)
def test_a_header_that_does_not_fit_is_refused(written, changes):
    tensors, text = read_tensors(written)
    write_tensors(written, tensors, records.dumps(records.loads(text) | changes))
    with pytest.raises(ModelFileError, match="must be those it was trained on"):
        read_replay(written, channels=1, classes=3)


def test_labels_of_another_shape_than_their_image_are_refused(written):
    tensors, text = read_tensors(written)
    tensors["labels.3"] = torch.zeros(4, 4, 5, dtype=torch.uint8)
    write_tensors(written, tensors, text)
    with pytest.raises(ModelFileError, match=r"\(1, 4, 4, 4\).*\(4, 4, 5\)"):
        read_replay(written, channels=1, classes=3)
