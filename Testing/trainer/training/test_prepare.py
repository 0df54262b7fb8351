import re

import numpy as np
import pytest

from unetseg.errors import SettingsError
from unetseg.training.prepare import split_annotation
from unetseg.volume import UNLABELLED, Geometry, LabelMap


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
