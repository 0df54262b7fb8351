import numpy as np
import pytest

from unetseg.config import Label
from unetseg.labelled_slices import LabelledSlice
from UNetSegmentLib.comparison import compare, dicePerLabel, meanDice, predictedDice

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


def test_a_prediction_is_measured_in_each_volume_and_the_volumes_count_alike():
    one = LabelledSlice(0, 0, plane([1, 1, 0, 0]), plane([1, 0, 0, 0]), "first")
    another = LabelledSlice(0, 0, plane([1, 1, 2, 2]), plane([1, 1, 2, 0]), "first")
    more = LabelledSlice(0, 1, plane([0, 0, 0, 0]), plane([1, 1, 0, 0]), "first")
    assert predictedDice([([one], [one])], LABELS) == (pytest.approx(2 / 3), None)
    volumes = [([one], [one]), ([another, more], [another, more])]
    assert predictedDice(volumes, LABELS) == (pytest.approx((2 / 3 + 2 * 2 / 6) / 2), pytest.approx(2 / 3))
    assert predictedDice([([one], [])], LABELS) == (None, None)


def test_what_the_user_had_drawn_on_a_crossing_slice_says_nothing_about_the_prediction():
    # The slice of an earlier round was pasted into column 1 of what the second version predicted.
    earlier = LabelledSlice(2, 1, plane([1, 1], [1, 1]), version="first")
    measured = LabelledSlice(0, 0, plane([1, 1, 1], [0, 1, 0]), plane([1, 1, 0], [0, 1, 0]), "second")
    assert predictedDice([([earlier, measured], [measured])], LABELS[:2]) == (pytest.approx(2 * 1 / (1 + 2)),)
    same = LabelledSlice(2, 1, plane([1, 1], [1, 1]), version="second")
    assert predictedDice([([same, measured], [measured])], LABELS[:2]) == (pytest.approx(2 * 3 / (3 + 4)),)


def test_one_row_a_structure_with_the_change_that_is_seen():
    shownBefore = np.stack([plane([1, 1, 2, 2]), plane([1, 0, 0, 2])])
    shownAfter = np.stack([plane([1, 1, 2, 2]), plane([1, 1, 0, 0])])
    rows = compare(
        LABELS,
        shownBefore=shownBefore,
        shownAfter=shownAfter,
        heldOut=((0.5, 0.25), (0.75, None)),
        checked=(None, 1.0),
        voxelMl=0.5,
    )
    liver, spleen = rows
    assert (liver.name, liver.color) == ("Liver", (221, 130, 101))
    assert (liver.heldOutBefore, liver.heldOutAfter, liver.checkedBefore, liver.changedMl) == (0.5, 0.75, None, 0.5)
    assert (spleen.heldOutBefore, spleen.heldOutAfter, spleen.checkedBefore, spleen.changedMl) == (0.25, None, 1.0, 0.5)


def test_nothing_known_is_no_figure():
    empty = np.zeros((1, 1, 2), np.uint8)
    rows = compare(LABELS, shownBefore=empty, shownAfter=empty, heldOut=((), ()), checked=(), voxelMl=1.0)
    figures = [(row.heldOutBefore, row.heldOutAfter, row.checkedBefore, row.changedMl) for row in rows]
    assert figures == [(None, None, None, 0.0)] * 2
