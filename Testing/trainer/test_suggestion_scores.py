"""The slices where the model is least sure, worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from unetseg import suggestion
from unetseg.array_file import exhaust
from unetseg.errors import ImageError
from unetseg.suggestion import SliceScores, Suggestion, count_foreground, score_slices, suggest
from unetseg.volume import LabelArray, Vector

THICK_D = (5.0, 1.0, 1.0)
SHAPE = (8, 12, 14)


def zeros() -> LabelArray:
    return np.zeros(SHAPE, np.uint8)


def scores(
    labels: LabelArray, uncertainty: LabelArray, spacing_mm: Vector = THICK_D, start: LabelArray | None = None
) -> SliceScores:
    return exhaust(score_slices(labels, uncertainty, spacing_mm, start))


def known(uncertainty: list[float], disagreement: list[float] | None = None) -> SliceScores:
    return SliceScores(np.array(uncertainty), np.array(disagreement or [0.0] * len(uncertainty)))


# ---- scores ----


def test_entropy_counts_in_a_structure_and_two_voxels_around_it() -> None:
    labels, unsure = zeros(), zeros()
    labels[3, 5, 5] = 1
    unsure[3, 5, 5] = 255
    unsure[3, 7, 3] = 51  # two voxels away along both axes
    unsure[5, 5, 5] = 102  # two slices away
    unsure[3, 8, 5] = unsure[6, 5, 5] = unsure[0, 5, 5] = 255  # three away: counts for nothing
    expected = np.zeros(8)
    expected[[3, 5]] = 1.2, 0.4
    found = scores(labels, unsure)
    np.testing.assert_allclose(found.uncertainty, expected / math.sqrt(1.6))
    np.testing.assert_array_equal(found.disagreement, np.zeros(8))


@pytest.mark.parametrize(
    ("spacing_mm", "axis"), [((5, 1, 1), 0), ((1, 5, 1), 1), ((1, 1, 5), 2), ((1, 1, 1), 0), ((1, 2, 3), 2)]
)
def test_slices_lie_along_the_axis_of_the_largest_spacing(spacing_mm: Vector, axis: int) -> None:
    labels, unsure = zeros() + np.uint8(1), zeros()
    unsure[2, 3, 4] = 255
    expected = np.zeros(SHAPE[axis])
    expected[(2, 3, 4)[axis]] = 1.0
    np.testing.assert_allclose(scores(labels, unsure, spacing_mm).uncertainty, expected)


def test_a_small_structure_is_not_drowned_by_a_large_one() -> None:
    labels, unsure = zeros(), zeros()
    labels[:, :4] = 1  # 56 voxels on each of 8 slices, of which 25 are wholly unsure, on slice 6 36
    unsure[:, :4].reshape(8, -1)[:, :25] = 255
    unsure[6, :4].flat[:36] = 255
    labels[2, 9, 9:13] = 2  # 4 voxels on one slice, all of them unsure
    unsure[2, 9, 9:13] = 255
    large = np.array([25.0, 25, 25, 25, 25, 25, 36, 25]) / math.sqrt(7 * 25 + 36)
    small = np.array([0.0, 0, 4, 0, 0, 0, 0, 0]) / math.sqrt(4)
    found = scores(labels, unsure).uncertainty
    np.testing.assert_allclose(found, large + small)
    assert (np.argmax(found), np.argmax(unsure.sum(axis=(1, 2), dtype=int))) == (2, 6)


def test_where_structures_meet_each_voxel_counts_once() -> None:
    labels, unsure = zeros(), zeros()
    labels[4, 5, :5], labels[4, 5, 5:] = 1, 2
    unsure[4, 5, 4], unsure[4, 5, 5], unsure[4, 6, 4] = 255, 255, 255  # the last is near both: for the higher value
    assert scores(labels, unsure).uncertainty[4] == pytest.approx(1 / math.sqrt(1) + 2 / math.sqrt(2))


def test_a_voxel_where_the_start_model_differs_counts_fully() -> None:
    labels, start = zeros(), zeros()
    labels[3, 5, 5:8] = start[3, 5, 5:7] = 1  # one voxel gained
    start[6, 5, 5:8] = 2  # a structure that only the start model sees
    found = scores(labels, zeros(), start=start)
    expected = np.zeros(8)
    expected[[3, 6]] = 1.0, 3 / math.sqrt(3)
    np.testing.assert_allclose(found.disagreement, expected)
    np.testing.assert_array_equal(found.uncertainty, np.zeros(8))


def test_around_what_only_the_start_model_sees_uncertainty_counts_too() -> None:
    start, unsure = zeros(), zeros()
    start[6, 5, 5], unsure[4, 5, 5] = 2, 255
    expected = np.zeros(8)
    expected[4] = 1.0
    np.testing.assert_allclose(scores(zeros(), unsure, start=start).uncertainty, expected)


def test_nothing_segmented_scores_nothing() -> None:
    np.testing.assert_array_equal(scores(zeros(), zeros() + np.uint8(255)).uncertainty, np.zeros(8))


def test_the_steps_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random(SHAPE) > 0.9).astype(np.uint8) * 3
    unsure, start = generator.integers(0, 256, SHAPE, np.uint8), np.roll(labels, 1, axis=0)
    for spacing_mm in (THICK_D, (1.0, 1.0, 5.0)):
        whole = scores(labels, unsure, spacing_mm, start)
        for slices in (1, 3):
            monkeypatch.setattr(suggestion, "VOXELS_PER_STEP", slices * 12 * 14)
            parts = scores(labels, unsure, spacing_mm, start)
            np.testing.assert_allclose(parts.uncertainty, whole.uncertainty)
            np.testing.assert_allclose(parts.disagreement, whole.disagreement)
        monkeypatch.undo()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ImageError, match="same size"):
        scores(zeros(), np.zeros((8, 12, 13), np.uint8))
    with pytest.raises(ImageError, match="float32"):
        scores(zeros(), np.zeros(SHAPE, np.float32))  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="same size"):
        scores(zeros(), zeros(), start=np.zeros((1, 1, 1), np.uint8))


# ---- the slice ----


@pytest.fixture
def rod() -> LabelArray:
    """An object in slices 10 … 29 of 40 along D: the slices 8 … 31 are considered."""
    labels = np.zeros((40, 8, 20), np.uint8)
    labels[10:30, 2:6, 6:12] = 1
    return labels


def chosen(rod: LabelArray, seen: list[int], found: SliceScores, **options: int) -> Suggestion | None:
    taken = [(1, 3), *((0, index) for index in seen)]
    return suggest(count_foreground(rod), taken, [], THICK_D, found, **options)


def peaks(**values: float) -> SliceScores:
    total = np.full(40, 0.1)
    for name, value in values.items():
        total[int(name[1:])] = value
    return known(total.tolist())


def test_round_0_is_the_same_with_scores(rod: LabelArray) -> None:
    counts, found = count_foreground(rod), peaks(s25=9.0)
    assert suggest(counts, [], [], THICK_D, found) == Suggestion(0, 19, "middle")
    assert suggest(counts, [(0, 19)], [], THICK_D, found) == Suggestion(1, 3, "orthogonal")
    assert suggest(counts, [(0, 19), (1, 3)], [], THICK_D, found) == Suggestion(0, 25, "uncertainty")


def test_at_least_extent_over_two_k_plus_two_from_seen_slices(rod: LabelArray) -> None:
    # 20 slices, one seen: 5 away; two seen: 3.33, so 4 away; ten seen: 0.9, but never fewer than 2.
    found = peaks(s20=9.0, s23=8.0, s24=7.0, s28=6.0, s31=5.0, s32=99.0)
    assert chosen(rod, [19], found) == Suggestion(0, 24, "uncertainty")
    assert chosen(rod, [19, 24], found) == Suggestion(0, 28, "uncertainty")
    assert chosen(rod, [18, 19], found) == Suggestion(0, 23, "uncertainty")
    assert chosen(rod, [*range(8, 16), 18, 30], found) == Suggestion(0, 20, "uncertainty")
    assert chosen(rod, [*range(8, 16), 19, 30], found) == Suggestion(0, 23, "uncertainty")


def test_a_skipped_slice_and_its_surroundings_do_not_come_again(rod: LabelArray) -> None:
    counts, found = count_foreground(rod), peaks(s26=9.0, s27=8.0, s12=7.0)
    assert suggest(counts, [(0, 19), (1, 3)], [(0, 26)], THICK_D, found) == Suggestion(0, 12, "uncertainty")


def test_among_equals_the_farthest_then_the_first(rod: LabelArray) -> None:
    assert chosen(rod, [19], known([1.0] * 40)) == Suggestion(0, 31, "uncertainty")  # 12 away; slice 8 is 11 away
    assert chosen(rod, [20], known([1.0] * 40)) == Suggestion(0, 8, "uncertainty")
    assert chosen(rod, [8, 20, 31], known([1.0] * 40)) == Suggestion(0, 14, "uncertainty")


def test_where_the_scores_say_nothing_the_largest_gap_decides(rod: LabelArray) -> None:
    nothing = known([0.0] * 40)
    assert chosen(rod, [19], nothing) == Suggestion(0, 13, "stride")
    assert chosen(rod, list(range(8, 32, 2)), known([1.0] * 40)) == Suggestion(0, 9, "stride")
    assert chosen(rod, list(range(8, 32)), known([1.0] * 40)) is None


def test_the_reason_is_what_weighs_more(rod: LabelArray) -> None:
    unsure, differing = np.full(40, 0.2), np.full(40, 0.1)
    differing[26] = 0.3
    assert chosen(rod, [19], SliceScores(unsure, differing)) == Suggestion(0, 26, "disagreement")
    unsure[12] = 0.5
    assert chosen(rod, [19], SliceScores(unsure, differing)) == Suggestion(0, 12, "uncertainty")


def test_where_nothing_is_segmented_scores_are_not_asked() -> None:
    nothing = count_foreground(np.zeros((5, 8, 9), np.uint8))
    assert suggest(nothing, [(1, 2)], [], THICK_D, known([0.0] * 5)) == Suggestion(0, 2, "empty")


def test_a_single_image_has_no_second_slice() -> None:
    labels = np.zeros((1, 8, 9), np.uint8)
    labels[0, 3:5, 3] = 1
    found = exhaust(score_slices(labels, labels * np.uint8(200), (1.0, 2.0, 3.0)))
    np.testing.assert_allclose(found.uncertainty, [math.sqrt(2 * 200 / 255)])
    assert suggest(count_foreground(labels), [(0, 0)], [], (1.0, 2.0, 3.0), found) is None


def test_a_seed_draws_with_a_chance_that_is_the_score_and_always_the_same_slice(rod: LabelArray) -> None:
    found = known([3.0 if index == 12 else 1.0 if index == 26 else 0.0 for index in range(40)])
    drawn = [chosen(rod, [19], found, seed=seed).index for seed in range(400)]
    assert set(drawn) == {12, 26}
    assert drawn.count(12) / 400 == pytest.approx(0.75, abs=0.05)  # 3 : 1 with β = 1; standard deviation 0.022
    assert drawn[:20] == [chosen(rod, [19], found, seed=seed).index for seed in range(20)]


def test_chance_fades_with_the_slices_seen(rod: LabelArray) -> None:
    found = known([3.0 if index == 22 else 2.0 if index == 28 else 0.0 for index in range(40)])
    seen = [8, 10, 12, 14, 16, 18]  # β = 100: the second would have to draw 40 more than the first
    assert {chosen(rod, seen, found, seed=seed).index for seed in range(50)} == {22}
    assert {chosen(rod, seen[:2], found, seed=seed).index for seed in range(50)} == {22, 28}


def test_counts_of_foreground_by_axis() -> None:
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 2, 3] = labels[1, 2, 4] = labels[2, 0, 3] = 7
    expected = ([0, 2, 1], [1, 0, 2, 0], [0, 0, 0, 2, 1])
    for found, right in itertools.zip_longest(count_foreground(labels), expected):
        assert found.tolist() == right
