import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from small_models import DOCUMENT
from unetseg.config import TrainingSettings
from unetseg.data import Case, keep_slices
from unetseg.errors import SettingsError, TrainingDataError
from unetseg.training import TrainingRequest
from unetseg.training.prepare import prepare_cases, split_annotation
from unetseg.volume import UNLABELLED, Geometry, LabelMap, Volume


def test_a_held_out_slice_is_measured_and_never_trained_on_even_where_another_slice_crosses_it():
    array = np.full((4, 3, 3), UNLABELLED, dtype=np.uint8)
    array[1] = 1  # annotated across D
    array[2] = 2
    array[:, 0, :] = 0  # annotated across H, crosses both
    annotation = LabelMap(array.copy(), Geometry((4, 3, 3)))
    trained, measured = split_annotation(annotation, [(0, 1)])
    assert (trained.array[1] == UNLABELLED).all()
    np.testing.assert_array_equal(measured.array[1], array[1])
    assert (measured.array[[0, 2, 3]] == UNLABELLED).all()
    np.testing.assert_array_equal(trained.array[[0, 2, 3]], array[[0, 2, 3]])
    np.testing.assert_array_equal(annotation.array, array)


def test_nothing_held_out_leaves_the_annotation_whole():
    annotation = LabelMap(np.ones((2, 2, 2), dtype=np.uint8), Geometry((2, 2, 2)))
    trained, measured = split_annotation(annotation, [])
    np.testing.assert_array_equal(trained.array, annotation.array)
    assert (measured.array == UNLABELLED).all()


@pytest.mark.parametrize("outside", [(0, 2), (0, -1), (3, 0)])
def test_a_held_out_slice_outside_the_image_is_named(outside):
    annotation = LabelMap(np.ones((2, 2, 2), dtype=np.uint8), Geometry((2, 2, 2)))
    with pytest.raises(SettingsError, match=re.escape(str(outside))):
        split_annotation(annotation, [outside])


GEOMETRY = Geometry((8, 16, 16))


def scribbles(*slices: int) -> LabelMap:
    """On each slice a square line of background, 28 voxels long, around one voxel of a structure."""
    array = np.full(GEOMETRY.shape, UNLABELLED, dtype=np.uint8)
    for index in slices:
        array[index, 4:12, 4:12] = 0
        array[index, 5:11, 5:11] = UNLABELLED
        array[index, 7, 7] = 1
    return LabelMap(array, GEOMETRY)


BEYOND = np.ones((16, 16), dtype=bool)
BEYOND[4:12, 4:12] = False


def prepared(annotations, *, background_beyond_lines, **changes):
    volume = Volume(np.zeros((2, *GEOMETRY.shape), dtype=np.float32), GEOMETRY)
    request = TrainingRequest(
        cases=[Case(name, volume, annotation) for name, annotation in annotations.items()],
        output=Path("unused.safetensors"),
        settings=TrainingSettings(iterations=1, background_beyond_lines=background_beyond_lines),
        labels=DOCUMENT.labels,
        **changes,
    )
    plan = dataclasses.replace(DOCUMENT.plan, spacing_mm=(1.0, 1.0, 1.0), orientation="canonical")
    return prepare_cases(request, plan, (1, 1, 1), check_cancel=lambda: None, report=lambda fraction: None)


def test_what_nobody_labelled_stays_unlabelled_by_default():
    assert not TrainingSettings().background_beyond_lines
    drawn = scribbles(4, 5)
    made = prepared({"a": drawn}, background_beyond_lines=False, held_out_slices={"a": [(0, 5)]})
    np.testing.assert_array_equal(made.complete[0].annotation, drawn.array)
    np.testing.assert_array_equal(made.trained[0].annotation, scribbles(4).array)
    assert made.notes == ()


def test_background_beyond_lines_is_learned_where_it_is_chosen_and_slices_stay_as_they_are():
    truth = LabelMap(np.zeros(GEOMETRY.shape, dtype=np.uint8), GEOMETRY)
    truth.array[2:6, 6:10, 6:10] = 1
    slices = keep_slices(truth, [(1, 7), (2, 8)])
    made = prepared({"scribbles": scribbles(4), "slices": slices}, background_beyond_lines=True)
    scribbled, sliced = (case.annotation for case in made.trained)
    assert set(np.unique(scribbled[4][BEYOND])) == {0, UNLABELLED}
    added = np.count_nonzero(scribbled[4][BEYOND] == 0)
    scribbled[4][BEYOND] = UNLABELLED
    np.testing.assert_array_equal(scribbled, scribbles(4).array)
    np.testing.assert_array_equal(sliced, slices.array)
    assert made.trained == made.complete
    assert made.notes == (
        f"Taken for background beyond closed lines: {added} voxels that nobody labelled, in 1 of 2 cases.",
    )
    assert made.inverted((True, False)).notes == made.notes


def test_validation_cases_are_measured_on_what_was_labelled_only():
    made = prepared({"a": scribbles(4), "b": scribbles(3)}, background_beyond_lines=True, validation=["b"])
    assert (made.trained[0].annotation[4][BEYOND] == 0).any()
    np.testing.assert_array_equal(made.held_out[0].annotation, scribbles(3).array)
    assert made.notes[0].endswith("in 1 of 1 cases.")


def test_held_out_slices_are_measured_as_labelled_and_nothing_is_learned_on_them():
    """(1, 1) crosses what lies beyond the line of slice 4."""
    held_out = {"a": [(0, 5), (1, 1)]}
    made = prepared({"a": scribbles(4, 5)}, background_beyond_lines=True, held_out_slices=held_out)
    (complete,), (trained,), (measured,) = (
        [case.annotation for case in cases] for cases in (made.complete, made.trained, made.held_out)
    )
    assert (complete[4, 1] == 0).any()
    assert (complete[5][BEYOND] == 0).any()
    assert (trained[4][BEYOND] == 0).any()
    assert (trained[4, 1] == UNLABELLED).all()
    assert (trained[5] == UNLABELLED).all()
    assert (np.count_nonzero(measured == 0), np.count_nonzero(measured == 1)) == (28, 1)


def test_held_out_slices_without_a_label_are_refused():
    with pytest.raises(TrainingDataError, match=re.escape("to be measured on. Received: (0, 6) in a,")):
        prepared({"a": scribbles(4, 5)}, background_beyond_lines=False, held_out_slices={"a": [(0, 6)]})


def test_held_out_slices_must_leave_labels_in_some_case():
    drawn, everything = {"a": scribbles(4, 5), "b": scribbles(3)}, {"a": [(0, 4), (0, 5)], "b": [(0, 3)]}
    with pytest.raises(TrainingDataError, match=re.escape("all labels of 2 case(s) held out")):
        prepared(drawn, background_beyond_lines=False, held_out_slices=everything)
    made = prepared(drawn, background_beyond_lines=False, held_out_slices={"a": everything["a"]})
    assert [bool((case.annotation != UNLABELLED).any()) for case in made.trained] == [False, True]
