import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from small_models import DOCUMENT
from unetseg.config import TrainingSettings
from unetseg.data import Case, keep_slices
from unetseg.errors import SettingsError
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


def test_scribbles_are_learned_with_what_lies_beyond_them_and_slices_as_they_are():
    geometry = Geometry((8, 16, 16))
    truth = LabelMap(np.zeros((8, 16, 16), dtype=np.uint8), geometry)
    truth.array[2:6, 6:10, 6:10] = 1
    scribbles = np.full((8, 16, 16), UNLABELLED, dtype=np.uint8)
    scribbles[4, 4:12, 4:12] = 0
    scribbles[4, 5:11, 5:11] = UNLABELLED
    scribbles[4, 7, 7] = 1
    slices = keep_slices(truth, [(1, 7), (2, 8)])
    volume = Volume(np.zeros((2, 8, 16, 16), dtype=np.float32), geometry)
    request = TrainingRequest(
        cases=[Case("scribbles", volume, LabelMap(scribbles, geometry)), Case("slices", volume, slices)],
        output=Path("unused.safetensors"),
        settings=TrainingSettings(iterations=1),
        labels=DOCUMENT.labels,
        held_out_slices={"slices": [(2, 8)]},
    )
    plan = dataclasses.replace(DOCUMENT.plan, spacing_mm=(1.0, 1.0, 1.0), orientation="canonical")
    made = prepare_cases(request, plan, (1, 1, 1), check_cancel=lambda: None, report=lambda fraction: None)
    scribbled, sliced = (case.annotation for case in made.complete)
    line = np.zeros((16, 16), dtype=bool)
    line[4:12, 4:12] = True
    np.testing.assert_array_equal(scribbled[4][line], scribbles[4][line])
    assert (scribbled[4][~line] == 0).any()
    assert (np.delete(scribbled, 4, axis=0) == UNLABELLED).all()
    np.testing.assert_array_equal(sliced, slices.array)
    np.testing.assert_array_equal(made.trained[1].annotation, split_annotation(slices, [(2, 8)])[0].array)
