"""Confirmed slices: what they say, what they compose to, and what of their files is refused."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetseg.errors import FileAccessError, ImageError
from unetseg.labelled_slices import (
    LabelledSlice,
    compose,
    load_slices,
    pack_labels,
    save_slices,
    slices_from_json,
    slices_to_json,
    unpack_labels,
)
from unetseg.volume import UNLABELLED

SHAPE = (2, 3, 4)


def filled(axis: int, index: int, value: int, before: int | None = None) -> LabelledSlice:
    size = tuple(length for other, length in enumerate(SHAPE) if other != axis)
    return LabelledSlice(
        axis,
        index,
        np.full(size, value, np.uint8),
        before=None if before is None else np.full(size, before, np.uint8),
    )


def test_what_a_slice_says_of_its_correction() -> None:
    labels = np.array([[0, 1, 1], [2, 2, 3]], np.uint8)
    before = np.array([[0, 1, 4], [2, 0, 3]], np.uint8)
    corrected = LabelledSlice(1, 5, labels, before)
    assert corrected.plane == (slice(None), 5)
    assert np.array_equal(corrected.edited, [[False, False, True], [False, True, False]])
    assert corrected.unchanged is False
    assert corrected.touched_values == (1, 2, 4)

    accepted = LabelledSlice(1, 5, labels, labels)
    assert not accepted.edited.any()
    assert accepted.unchanged is True
    assert accepted.touched_values == ()

    drawn = LabelledSlice(1, 5, labels)
    assert drawn.edited is None
    assert drawn.unchanged is None
    assert drawn.touched_values == (1, 2, 3)


def test_a_slice_keeps_its_labels_when_the_given_array_changes() -> None:
    labels = np.zeros((3, 4), np.uint8)
    confirmed = LabelledSlice(0, 0, labels)
    labels[:] = 7
    assert not confirmed.labels.any()
    with pytest.raises(ValueError, match="read-only"):
        confirmed.labels[0, 0] = 1


def test_where_slices_of_three_axes_cross_the_latest_wins() -> None:
    slices = [filled(0, 1, 1, before=1), filled(1, 0, 2, before=0), filled(2, 3, 3)]
    annotation, edited = compose(slices, SHAPE)
    x = UNLABELLED
    assert annotation.tolist() == [
        [[2, 2, 2, 3], [x, x, x, 3], [x, x, x, 3]],
        [[2, 2, 2, 3], [1, 1, 1, 3], [1, 1, 1, 3]],
    ]
    assert np.array_equal(edited, annotation == 2)
    annotation, edited = compose(slices[::-1], SHAPE)
    assert annotation.tolist() == [
        [[2, 2, 2, 2], [x, x, x, 3], [x, x, x, 3]],
        [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]],
    ]
    assert np.array_equal(edited, annotation == 2)


def test_no_slice_labels_nothing_and_an_empty_slice_is_background() -> None:
    annotation, edited = compose([], SHAPE)
    assert (annotation == UNLABELLED).all()
    assert not edited.any()
    annotation, edited = compose([filled(2, 0, 0, before=1)], SHAPE)
    assert (annotation[:, :, 0] == 0).all()
    assert (annotation[:, :, 1:] == UNLABELLED).all()
    assert np.array_equal(edited, annotation == 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LabelledSlice(3, 0, np.zeros((3, 4), np.uint8)),
        lambda: LabelledSlice(0, -1, np.zeros((3, 4), np.uint8)),
        lambda: LabelledSlice(0, 0, np.zeros((3, 4), np.int16)),
        lambda: LabelledSlice(0, 0, np.zeros((1, 3, 4), np.uint8)),
        lambda: LabelledSlice(0, 0, np.full((3, 4), UNLABELLED, np.uint8)),
        lambda: LabelledSlice(0, 0, np.zeros((3, 4), np.uint8), np.zeros((4, 3), np.uint8)),
        lambda: compose([filled(0, 2, 0)], SHAPE),
        lambda: compose([LabelledSlice(0, 0, np.zeros((4, 3), np.uint8))], SHAPE),
    ],
    ids=["axis", "index", "type", "3D", "unlabelled voxel", "other shape before", "behind the last", "transposed"],
)
def test_a_slice_that_cannot_be_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ImageError):
        make()


def test_slices_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    shape = (5, 6, 7)
    labels = np.asfortranarray(generator.integers(0, 255, (5, 7), dtype=np.uint8))
    slices = (
        LabelledSlice(1, 5, labels, labels[::-1], "v ü|1", 12.5, "2026-01-02T03:04:05+00:00"),
        LabelledSlice(0, 0, np.zeros((6, 7), np.uint8)),
        LabelledSlice(2, 6, generator.integers(0, 3, (5, 6), dtype=np.uint8)),
    )
    path = tmp_path / "slices ü.json"
    save_slices(path, slices, shape)
    found_shape, found = load_slices(path)
    assert found_shape == shape
    assert len(found) == 3
    for before, after in zip(slices, found, strict=True):
        for name in ("axis", "index", "version", "seconds", "confirmed_utc"):
            assert getattr(after, name) == getattr(before, name)
        assert np.array_equal(after.labels, before.labels)
    assert np.array_equal(found[0].before, labels[::-1])
    assert found[1].before is None
    save_slices(path, (), shape)
    assert load_slices(path) == (shape, ())


def document(**changes: Any) -> dict[str, Any]:
    """The JSON of one slice, with changes to that slice or, for the names of the outer fields, around it."""
    data = json.loads(json.dumps(slices_to_json([filled(0, 1, 1, before=0)], SHAPE)))
    for name, value in changes.items():
        (data if name in ("format_version", "shape", "slices", "more") else data["slices"][0])[name] = value
    return data


def packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


TWELVE = zlib.compress(bytes(12))


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 2},
        {"format_version": True},
        {"more": 1},
        {"shape": [2, 3]},
        {"shape": [2, 3, 0], "slices": []},
        {"shape": [2, 3, 4.5]},
        {"slices": None},
        {"slices": [{}]},
        {"slices": document()["slices"] * 2},
        {"axis": 3},
        {"axis": -1},
        {"index": 2},
        {"index": -1},
        {"index": True},
        {"seconds": float("nan")},
        {"version": 1},
        {"labels": "?" * 16},
        {"labels": "?" + packed(TWELVE)},
        {"labels": "ü"},
        {"labels": packed(b"no zlib")},
        {"labels": packed(TWELVE[:-3])},
        {"labels": packed(zlib.compress(bytes(11)))},
        {"labels": packed(zlib.compress(bytes(13)))},
        {"labels": packed(TWELVE + b"x")},
        {"labels": packed(zlib.compress(b"\xff" * 12))},
        {"before": packed(zlib.compress(bytes(11)))},
    ],
    ids=lambda changes: " ".join(f"{name} {str(value)[:20]}" for name, value in changes.items()),
)
def test_stored_slices_that_are_not_as_they_were_written_are_refused(changes: dict[str, Any]) -> None:
    assert len(slices_from_json(document())[1]) == 1
    with pytest.raises(ImageError):
        slices_from_json(document(**changes))


def test_a_newer_version_is_named() -> None:
    with pytest.raises(ImageError, match="version 2, this program reads version 1"):
        slices_from_json(document(format_version=2))
    with pytest.raises(ImageError, match="version None"):
        slices_from_json([])


def test_what_would_unpack_to_more_takes_no_memory() -> None:
    bomb = packed(zlib.compress(bytes(200_000_000)))
    tracemalloc.start()
    with pytest.raises(ImageError, match="does not hold 3 × 4"):
        unpack_labels(bomb, (3, 4))
    with pytest.raises(ImageError, match="100000 × 100000"):
        slices_from_json(document(shape=[2, 100_000, 100_000], labels=bomb))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000


def test_labels_of_any_shape_are_packed() -> None:
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(unpack_labels(pack_labels(labels[:, ::-1]), SHAPE), labels[:, ::-1])
    assert np.array_equal(unpack_labels(pack_labels(np.asfortranarray(labels)), SHAPE), labels)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[NaN]", b"{}"], ids=["empty", "cut off", "not text", "NaN", "no slices"]
)
def test_a_file_that_holds_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.json"):
        load_slices(tmp_path / "x.json")


def test_a_file_that_is_missing_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.json"):
        load_slices(tmp_path / "gone.json")
    with pytest.raises(FileAccessError, match="nowhere"):
        save_slices(tmp_path / "nowhere" / "x.json", (), SHAPE)
