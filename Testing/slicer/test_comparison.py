import numpy as np
import pytest

from unetseg.config import Label
from unetseg.labelled_slices import LabelledSlice
from UNetSegmentLib.comparison import compare, dicePerLabel, inRegion, meanDice

LABELS = (Label(0, "Background", (0, 0, 0)), Label(1, "Liver", (221, 130, 101)), Label(2, "Spleen", (157, 108, 162)))


def plane(*rows):
    return np.array(rows, np.uint8)


def test_dice_counts_all_slices_together_and_is_unknown_for_what_no_slice_shows():
    predicted = [plane([1, 1, 0]), plane([0, 1, 0])]
    right = [plane([1, 0, 0]), plane([0, 1, 1])]
    assert dicePerLabel(predicted, right, LABELS) == [pytest.approx(2 * 2 / (3 + 3)), None]
    assert dicePerLabel([], [], LABELS) == [None, None]
    assert dicePerLabel([plane([2])], [plane([0])], LABELS) == [None, 0.0]


def test_the_mean_leaves_out_what_is_unknown():
    assert meanDice([0.5, None, 1.0]) == 0.75
    assert meanDice([None]) is None
    assert meanDice([]) is None


def test_the_versions_are_judged_by_their_own_predictions_and_the_change_by_what_is_seen():
    right = plane([1, 1, 2, 2])
    shown_before = np.stack([right, plane([1, 0, 0, 2])])
    shown_after = np.stack([right, plane([1, 1, 0, 0])])
    predicted_before = np.stack([plane([1, 0, 0, 0]), plane([1, 0, 0, 2])])
    predicted_after = np.stack([plane([1, 1, 2, 0]), plane([1, 1, 0, 0])])
    held_out = LabelledSlice(0, 0, right, before=plane([0, 0, 2, 2]))
    rows = compare(
        LABELS,
        shownBefore=shown_before,
        shownAfter=shown_after,
        predictedBefore=predicted_before,
        predictedAfter=predicted_after,
        heldOut=[LabelledSlice(0, 0, right)],
        checked=[held_out],
        voxelMl=0.5,
    )
    liver, spleen = rows
    assert (liver.name, liver.color) == ("Liver", (221, 130, 101))
    assert (liver.heldOutBefore, liver.heldOutAfter) == (pytest.approx(2 / 3), 1.0)
    assert (spleen.heldOutBefore, spleen.heldOutAfter) == (0.0, pytest.approx(2 / 3))
    assert (liver.checkedBefore, spleen.checkedBefore) == (0.0, 1.0)
    assert (liver.changedMl, spleen.changedMl) == (0.5, 0.5)


def test_slices_whose_prediction_is_unknown_say_nothing_about_a_version():
    empty = np.zeros((1, 1, 2), np.uint8)
    confirmed = LabelledSlice(0, 0, plane([1, 0]), before=None)
    rows = compare(
        LABELS[:2],
        shownBefore=empty,
        shownAfter=empty,
        predictedBefore=empty,
        predictedAfter=empty,
        heldOut=[],
        checked=[confirmed],
        voxelMl=1.0,
    )
    assert [(row.heldOutBefore, row.heldOutAfter, row.checkedBefore, row.changedMl) for row in rows] == [
        (None, None, None, 0.0)
    ]


def test_slices_are_cut_to_a_region_and_counted_from_its_corner():
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    slices = [LabelledSlice(axis, index, labels.take(index, axis)) for axis, index in ((0, 0), (0, 1), (1, 2), (2, 1))]
    region = (1, 1, 1), (2, 3, 3)
    found = inRegion(slices, region)
    assert [(taken.axis, taken.index) for taken in found] == [(0, 0), (1, 1), (2, 0)]
    inside = labels[1:2, 1:3, 1:3]
    assert all(np.array_equal(taken.labels, inside[taken.plane]) for taken in found)
