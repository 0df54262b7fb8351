from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from unetseg.data import PreparedCase
from unetseg.data.sampling import MAX_VOXELS_PER_CLASS, find_labelled_voxels, place_patch


def case(annotation: NDArray[np.uint8], edited: NDArray[np.bool_] | None = None) -> PreparedCase:
    image = np.zeros((1, *annotation.shape), dtype=np.float32)
    return PreparedCase("a", image, annotation, edited, (1.0, 1.0, 1.0))


@pytest.fixture
def sparse() -> NDArray[np.uint8]:
    """Slice 3 labelled: 1 voxel of class 2, 9 of class 1, 90 of background."""
    annotation = np.full((6, 10, 10), 255, dtype=np.uint8)
    annotation[3] = 0
    annotation[3, 0, :9] = 1
    annotation[3, 9, 9] = 2
    return annotation


def test_balanced_voxels_show_every_class_background_at_half_the_share(sparse: NDArray[np.uint8]) -> None:
    voxels = find_labelled_voxels(case(sparse), classes=4)
    generator = np.random.default_rng(0)
    drawn = [int(sparse[voxels.draw_balanced(generator)]) for _ in range(1000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 1000, [0.2, 0.4, 0.4, 0.0], atol=0.05)


def test_any_voxel_follows_the_frequencies(sparse: NDArray[np.uint8]) -> None:
    voxels = find_labelled_voxels(case(sparse), classes=3)
    generator = np.random.default_rng(0)
    drawn = [int(sparse[voxels.draw_any(generator)]) for _ in range(1000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 1000, [0.9, 0.09, 0.01], atol=0.03)


def test_half_of_any_are_edits_that_are_labelled(sparse: NDArray[np.uint8]) -> None:
    edited = np.zeros(sparse.shape, dtype=bool)
    edited[3, 5, 5] = edited[0, 0, 0] = True  # the second one is not labelled
    voxels = find_labelled_voxels(case(sparse, edited), classes=3)
    generator = np.random.default_rng(0)
    drawn = [voxels.draw_any(generator) for _ in range(1000)]
    assert (0, 0, 0) not in drawn
    assert 450 < drawn.count((3, 5, 5)) < 560


def test_only_background_can_be_drawn_too() -> None:
    annotation = np.full((3, 4, 5), 255, dtype=np.uint8)
    annotation[1] = 0
    voxels = find_labelled_voxels(case(annotation), classes=2)
    assert {voxels.draw_balanced(np.random.default_rng(seed))[0] for seed in range(20)} == {1}


def test_a_dense_case_keeps_a_bounded_number_of_positions_but_true_frequencies() -> None:
    annotation = np.zeros((40, 50, 50), dtype=np.uint8)
    annotation[:10] = 1
    voxels = find_labelled_voxels(case(annotation), classes=2)
    again = find_labelled_voxels(case(annotation), classes=2)
    assert [len(indices) for indices in voxels.of_class] == [MAX_VOXELS_PER_CLASS] * 2
    assert voxels.counts.tolist() == [75_000, 25_000]
    for indices, repeated in zip(voxels.of_class, again.of_class, strict=True):
        assert (indices == repeated).all()
        assert len(np.unique(indices)) == len(indices)
    assert (annotation.reshape(-1)[voxels.of_class[1]] == 1).all()


@pytest.mark.parametrize("patch_size", [(4, 6, 9), (1, 6, 9), (20, 6, 30)])
@pytest.mark.parametrize("voxel", [(0, 0, 0), (11, 12, 13), (5, 6, 7), (0, 12, 7)])
def test_the_voxel_lies_in_the_patch_and_the_patch_in_the_image(
    patch_size: tuple[int, int, int], voxel: tuple[int, int, int]
) -> None:
    shape = (12, 13, 14)
    for seed in range(30):
        place = place_patch(
            np.random.default_rng(seed), voxel=voxel, shape=shape, patch_size=patch_size, free_axis=None
        )
        for axis in range(3):
            start = voxel[axis] - place[axis]
            assert 0 <= place[axis] < patch_size[axis]
            assert min(0, shape[axis] - patch_size[axis]) <= start <= max(0, shape[axis] - patch_size[axis])


def test_a_small_image_lies_anywhere_in_a_larger_patch() -> None:
    generator = np.random.default_rng(0)
    places = {
        place_patch(generator, voxel=(2, 0, 3), shape=(4, 4, 4), patch_size=(12, 12, 4), free_axis=None)
        for _ in range(300)
    }
    assert [sorted({place[axis] for place in places}) for axis in range(3)] == [
        list(range(2, 11)),
        [2, 3, 4, 5, 6, 7, 8],
        [3],
    ]


def test_jitter_is_up_to_a_third_of_the_patch() -> None:
    generator = np.random.default_rng(0)
    places = np.array(
        [
            place_patch(generator, voxel=(50, 50, 50), shape=(99, 99, 99), patch_size=(9, 12, 1), free_axis=None)
            for _ in range(300)
        ]
    )
    assert places.min(axis=0).tolist() == [1, 2, 0]
    assert places.max(axis=0).tolist() == [7, 10, 0]


def test_across_a_labelled_plane_the_voxel_lies_anywhere_in_the_patch_with_equal_chance() -> None:
    generator = np.random.default_rng(0)
    shape, patch_size = (4, 4, 4), (8, 12, 4)  # patches no smaller than the image, whose borders would tell the place
    for free_axis, size in enumerate(patch_size):
        places = [
            place_patch(generator, voxel=(2, 0, 3), shape=shape, patch_size=patch_size, free_axis=free_axis)
            for _ in range(3000)
        ]
        share = np.bincount([place[free_axis] for place in places], minlength=size) / len(places)
        assert share == pytest.approx(np.full(size, 1 / size), abs=0.03)
        kept = {
            place[axis] - voxel for place in places for axis, voxel in ((0, 2), (1, 0), (2, 3)) if axis != free_axis
        }
        assert min(kept) >= 0  # along the others the image lies in the patch
