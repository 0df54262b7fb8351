"""Suggestions, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from unetseg.suggestion import ForegroundCounts, Suggestion, suggest

THICK_D = (5.0, 1.0, 1.0)


def counts(array: np.ndarray) -> ForegroundCounts:
    d, h, w = (np.count_nonzero(array, axis=tuple({0, 1, 2} - {axis})).astype(np.int64) for axis in range(3))
    return d, h, w


@pytest.fixture
def box() -> ForegroundCounts:
    """An object in slices 10 … 29 of 40 along D, 2 … 5 of 8 along H and 6 … 11 of 20 along W."""
    array = np.zeros((40, 8, 20), np.uint8)
    array[10:30, 2:6, 6:12] = 1
    return counts(array)


def test_first_the_middle_along_the_thickest_axis(box: ForegroundCounts) -> None:
    assert suggest(box, [], [], THICK_D) == Suggestion(0, 19, "middle")
    assert suggest(box, [], [], (1.0, 3.0, 2.0)) == Suggestion(1, 3, "middle")
    assert suggest(box, [], [], (1.0, 1.0, 1.0)) == Suggestion(0, 19, "middle")
    assert suggest(box, [(1, 3)], [(2, 4)], THICK_D) == Suggestion(0, 19, "middle")


def test_then_the_middle_seen_from_the_thicker_other_side(box: ForegroundCounts) -> None:
    assert suggest(box, [(0, 12)], [], THICK_D) == Suggestion(1, 3, "orthogonal")
    assert suggest(box, [(0, 12)], [], (5.0, 1.0, 2.0)) == Suggestion(2, 8, "orthogonal")
    assert suggest(box, [], [(0, 19)], THICK_D) == Suggestion(1, 3, "orthogonal")


def test_later_the_largest_gap_is_halved(box: ForegroundCounts) -> None:
    # The object and a tenth of it on either side: slices 8 … 31; 7 and 32 count as seen.
    taken = [(0, 19), (1, 3)]
    for expected in (13, 25, 10, 16, 22, 28, 30):
        suggestion = suggest(box, taken, [], THICK_D)
        assert suggestion == Suggestion(0, expected, "stride")
        taken.append((0, expected))


def test_a_skipped_slice_and_its_surroundings_do_not_come_again(box: ForegroundCounts) -> None:
    taken = [(0, 19), (1, 3)]
    assert suggest(box, taken, [(0, 13)], THICK_D) == Suggestion(0, 25, "stride")
    assert suggest(box, [(0, 19)], [(1, 3)], THICK_D) == Suggestion(0, 13, "stride")


def test_none_when_every_slice_of_the_object_has_been_seen(box: ForegroundCounts) -> None:
    seen = [(0, index) for index in range(8, 32)]
    assert suggest(box, [*seen[1:], (1, 3)], [], THICK_D) == Suggestion(0, 8, "stride")
    assert suggest(box, [*seen, (1, 3)], [], THICK_D) is None


def test_an_island_hardly_moves_the_middle() -> None:
    array = np.zeros((100, 8, 8), np.uint8)
    array[10:21] = 1
    array[99, 0, 0] = 1
    assert suggest(counts(array), [], [], THICK_D) == Suggestion(0, 15, "middle")


def test_the_middle_of_two_objects_shows_one_of_them() -> None:
    array = np.zeros((30, 8, 8), np.uint8)
    array[2:5] = array[25:28] = 1
    assert suggest(counts(array), [], [], THICK_D) == Suggestion(0, 4, "middle")


def test_an_object_at_the_border_stays_inside() -> None:
    array = np.zeros((10, 8, 8), np.uint8)
    array[:] = 1
    assert suggest(counts(array), [(0, 4), (1, 3)], [], THICK_D) == Suggestion(0, 7, "stride")
    assert suggest(counts(array), [(0, index) for index in range(10)] + [(2, 0)], [], THICK_D) is None


def test_where_nothing_is_segmented_the_volume_is_the_object() -> None:
    nothing = counts(np.zeros((5, 8, 9), np.uint8))
    assert suggest(nothing, [], [], THICK_D) == Suggestion(0, 2, "empty")
    assert suggest(nothing, [(0, 2)], [], THICK_D) == Suggestion(0, 0, "empty")
    assert suggest(nothing, [(0, index) for index in range(5)], [], THICK_D) is None


def test_a_single_image_has_one_slice_to_suggest() -> None:
    array = np.zeros((1, 8, 9), np.uint8)
    assert suggest(counts(array), [], [], (1.0, 2.0, 3.0)) == Suggestion(0, 0, "empty")
    array[0, 3, 3] = 1
    assert suggest(counts(array), [], [], (1.0, 2.0, 3.0)) == Suggestion(0, 0, "middle")
    assert suggest(counts(array), [(0, 0)], [], (1.0, 2.0, 3.0)) is None
    assert suggest(counts(np.ones((1, 1, 4), np.uint8)), [], [], (1.0, 1.0, 1.0)) == Suggestion(0, 0, "middle")
