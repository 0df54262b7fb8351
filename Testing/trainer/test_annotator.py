from __future__ import annotations

import numpy as np
import pytest

from annotator import (
    correct,
    foreground_extent,
    growing_rounds,
    orthogonal_slices,
    strided_slices,
    untouched_dice,
)
from unetseg.errors import ImageError, SettingsError
from unetseg.volume import Geometry, LabelMap

GRID = Geometry((12, 10, 8), (3.0, 1.0, 2.0))


def label_map(array: np.ndarray) -> LabelMap:
    return LabelMap(array.astype(np.uint8), GRID)


@pytest.fixture
def truth() -> LabelMap:
    array = np.zeros(GRID.shape)
    array[2:11, 3:8, 1:5] = 1
    array[4:6, 4:6, 2:4] = 2
    return label_map(array)


def test_strided_slices_lie_in_the_middle_of_equal_parts(truth: LabelMap) -> None:
    # The structure spans the slices 2 … 10.
    assert strided_slices(truth, axis=0, count=1) == ((0, 6),)
    assert strided_slices(truth, axis=0, count=3) == ((0, 3), (0, 6), (0, 9))
    assert strided_slices(truth, axis=2, count=2) == ((2, 2), (2, 4))
    assert strided_slices(truth, axis=2, count=9) == ((2, 1), (2, 2), (2, 3), (2, 4))


def test_unlabelled_voxels_do_not_widen_the_extent(truth: LabelMap) -> None:
    array = truth.array.copy()
    array[0] = 255
    assert foreground_extent(array, 0) == (2, 10)


def test_orthogonal_slices_take_a_number_per_axis(truth: LabelMap) -> None:
    assert orthogonal_slices(truth, (1, 1, 1)) == ((0, 6), (1, 5), (2, 3))
    assert orthogonal_slices(truth, (2, 0, 1)) == ((0, 4), (0, 8), (2, 3))


def test_later_rounds_contain_the_earlier_ones(truth: LabelMap) -> None:
    one, three, five = growing_rounds(truth, axis=0)
    assert one == ((0, 6),)
    assert three == ((0, 3), (0, 6), (0, 8))
    assert len(five) == 5
    assert set(one) < set(three) < set(five)
    assert growing_rounds(truth, axis=2, counts=(2, 100))[1] == ((2, 1), (2, 2), (2, 3), (2, 4))


def test_a_correction_labels_all_of_its_slices_and_nothing_else(truth: LabelMap) -> None:
    prediction = label_map(np.where(truth.array == 2, 1, truth.array))
    found = correct(truth, prediction, [(0, 4), (1, 9)])
    shown = np.zeros(GRID.shape, dtype=bool)
    shown[4] = True
    shown[:, 9] = True
    assert (found.annotation.array[shown] == truth.array[shown]).all()
    assert (found.annotation.array[~shown] == 255).all()
    assert (found.annotation.array[0, 9] == 0).all()  # background is labelled too
    assert sorted(map(tuple, np.argwhere(found.edited).tolist())) == [(4, h, w) for h in (4, 5) for w in (2, 3)]
    assert found.slices == ((0, 4), (1, 9))


def test_untouched_dice_leaves_the_shown_slices_out(truth: LabelMap) -> None:
    array = np.zeros(GRID.shape)
    array[4:6] = truth.array[4:6]
    prediction = label_map(array)
    # Shown: slice 4. Left of class 1: 8 slices, of 20 voxels, but 16 in slice 5, of which 16 are found.
    expected = 2 * 16 / (16 + 16 + 7 * 20)
    assert untouched_dice(prediction, truth, [(0, 4)], 4) == (pytest.approx(expected), 1.0, None)
    assert untouched_dice(prediction, truth, [(0, 4), (0, 5)], 3) == (0.0, None)


def test_bad_input_is_refused(truth: LabelMap) -> None:
    with pytest.raises(SettingsError, match="needs a structure"):
        strided_slices(label_map(np.zeros(GRID.shape)), axis=0, count=1)
    with pytest.raises(ImageError, match="same grid"):
        correct(truth, LabelMap(truth.array, Geometry(GRID.shape)), [(0, 1)])
