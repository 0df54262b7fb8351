"""Which confirmed slice is held out, and what a slice shows where others cross it."""

import numpy as np

from unetseg.labelled_slices import LabelledSlice
from UNetSegmentLib.confirmed import composedPlane, heldOut

SHAPES = (7, 8), (6, 8), (6, 7)
"""Of the slices along each axis of a volume of (6, 7, 8)."""


def taken(axis, index, value=0):
    """A slice all of one value."""
    return LabelledSlice(axis, index, np.full(SHAPES[axis], value, np.uint8))


def showing(index, value):
    """A slice along D that shows a structure on background."""
    return LabelledSlice(0, index, value * np.eye(7, 8, dtype=np.uint8))


def everyRound(slices, candidates=None):
    return {heldOut(slices, slices if candidates is None else candidates, round) for round in range(8)}


def test_one_slice_is_held_out_another_every_round():
    slices = [showing(index, 1) for index in range(3)]
    assert everyRound(slices[:2]) == {()}
    assert [heldOut(slices, slices, round) for round in range(4)] == [((0, 0),), ((0, 1),), ((0, 2),), ((0, 0),)]


def test_only_candidates_are_held_out_however_few_they_are():
    slices = [showing(index, 1) for index in range(3)]
    assert everyRound(slices, slices[1:2]) == {((0, 1),)}
    assert everyRound(slices, []) == {()}


def test_a_slice_that_alone_shows_a_structure_is_learned_from():
    slices = [showing(index, value) for index, value in enumerate((1, 2, 1, 2))]
    assert everyRound(slices) == {((0, index),) for index in range(4)}
    assert everyRound([*slices[:3], showing(3, 1)]) == {((0, 0),), ((0, 2),), ((0, 3),)}
    assert everyRound([*slices[:2], showing(4, 3)]) == {()}


def test_a_slice_without_a_structure_measures_nothing():
    assert everyRound([taken(0, 0), showing(1, 1), showing(2, 1)]) == {((0, 1),), ((0, 2),)}
    assert everyRound([taken(0, index) for index in range(3)]) == {()}


def test_a_structure_left_only_where_the_held_out_slice_crosses_does_not_count():
    onCrossing = np.zeros((6, 7), np.uint8)
    onCrossing[0, 3] = 1
    shown = np.full((7, 8), 2, np.uint8)
    shown[3, 4] = 1
    slices = [LabelledSlice(2, 4, onCrossing), taken(0, 5, 2), taken(0, 4, 2), LabelledSlice(0, 0, shown)]
    # Value 1 is at (0, 3, 4) only: without slice 0 along D it is gone, and without slice 4 along W too.
    assert everyRound(slices) == {((0, 4),), ((0, 5),)}
    # A later slice paints it over, on slice 0 as well.
    assert ((0, 0),) in everyRound([*slices, taken(1, 3, 2)])


def test_the_labels_of_a_slice_show_what_was_confirmed_later():
    slices = [taken(1, 2, 1), taken(0, 5, 2), taken(2, 7, 3)]
    expected = np.full((6, 8), 1, np.uint8)
    expected[5], expected[:, 7] = 2, 3
    assert np.array_equal(composedPlane(slices, slices[0]), expected)
    assert np.array_equal(composedPlane(slices, slices[2]), slices[2].labels)
