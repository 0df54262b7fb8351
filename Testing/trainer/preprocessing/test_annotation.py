from __future__ import annotations

import numpy as np
import pytest

from unetseg.config import Normalisation, Plan
from unetseg.errors import ImageError
from unetseg.preprocessing import Prepared, prepare_annotation, prepare_mask, preprocess
from unetseg.volume import UNLABELLED, Geometry, LabelMap, Vector, Volume

U = UNLABELLED


def prepared_for(geometry: Geometry, target_mm: Vector) -> Prepared:
    plan = Plan(3, "canonical", target_mm, (8, 8, 8), 1, "MR", (Normalisation("zscore"),))
    return preprocess(Volume(np.ones((1, *geometry.shape), dtype=np.float32), geometry), plan)


def along_w(labels: list[int], source_mm: float, target_mm: float) -> list[int]:
    geometry = Geometry((1, 1, len(labels)), (1.0, 1.0, source_mm))
    annotation = LabelMap(np.array(labels, dtype=np.uint8).reshape(1, 1, -1), geometry)
    return prepare_annotation(annotation, prepared_for(geometry, (1.0, 1.0, target_mm))).ravel().tolist()


@pytest.mark.parametrize(
    ("labels", "source_mm", "target_mm", "expected"),
    [
        ([0, 1, 2, U], 1.0, 1.0, [0, 1, 2, U]),
        ([0, 1, 2, U], 2.0, 1.0, [0, 0, 1, 1, 2, 2, U, U]),
        # Centres of the new voxels lie half-way between two old ones: the lower one is taken.
        ([3, 1, 2, 4], 1.0, 2.0, [3, 2]),
        # … unless it is unlabelled and the other is not.
        ([U, 1, U, U], 1.0, 2.0, [1, U]),
        # Cells of 3: the middle one; else the nearest labelled one, the lower of two at the same distance.
        ([1, 2, 3, 1, U, 3, U, U, 3], 1.0, 3.0, [2, 1, 3]),
        # Cells of 5, the labelled ones 2 and 1 from the middle: the nearer wins, whatever its value.
        ([7, U, U, 0, U], 1.0, 5.0, [0]),
        ([U, 7, U, U, 0], 1.0, 5.0, [7]),
        # 1.5: centres at 0.25, 1.75, 3.25, 4.75; index 2 lies in the second cell, which index 2 is nearest to.
        ([U, U, 6, U, U, U], 1.0, 1.5, [U, 6, U, U]),
        ([U] * 6, 1.0, 2.0, [U] * 3),
    ],
)
def test_by_hand(labels: list[int], source_mm: float, target_mm: float, expected: list[int]) -> None:
    assert along_w(labels, source_mm, target_mm) == expected


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "target_mm", [(1.0, 1.0, 1.0), (2.3, 2.3, 2.3), (0.6, 0.6, 0.6), (2.0, 0.7, 0.7), (0.7, 3.0, 1.9), (4.0, 1.0, 0.5)]
)
def test_a_labelled_plane_stays_a_closed_plane_along_every_axis(axis: int, target_mm: Vector) -> None:
    geometry = Geometry((13, 17, 19), direction=((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (1.0, 0.0, 0.0)))
    for index in range(geometry.shape[axis]):
        array = np.full(geometry.shape, U, dtype=np.uint8)
        array[(slice(None),) * axis + (index,)] = 3
        prepared = prepared_for(geometry, target_mm)
        result = prepare_annotation(LabelMap(array, geometry), prepared)
        labelled = result != U
        planes = labelled.any(axis=tuple({0, 1, 2} - {axis}))
        assert set(np.unique(result)) == {3, U}
        assert 1 <= planes.sum() <= np.ceil(1 / target_mm[axis])
        assert np.array_equal(
            labelled, np.broadcast_to(planes.reshape([-1 if a == axis else 1 for a in range(3)]), labelled.shape)
        )


def test_nothing_is_invented() -> None:
    generator = np.random.default_rng(0)
    geometry = Geometry((9, 12, 15), (1.0, 1.0, 1.0))
    array = np.where(generator.random(geometry.shape) < 0.05, generator.integers(0, 5, geometry.shape), U)
    annotation = LabelMap(array.astype(np.uint8), geometry)
    prepared = prepared_for(geometry, (1.6, 2.0, 0.8))
    result = prepare_annotation(annotation, prepared)
    world_to_index = np.linalg.inv(geometry.index_to_world) @ prepared.geometry.index_to_world
    half = np.asarray(prepared.geometry.spacing_mm) / 2 + 0.5
    labelled_at = np.argwhere(array != U)
    for cell in np.argwhere(result != U):
        centre = (world_to_index @ [*cell, 1])[:3]
        near = labelled_at[(np.abs(labelled_at - centre) <= half).all(axis=1)]
        assert result[tuple(cell)] in array[tuple(near.T)]
    # Every labelled source voxel leaves a label in the cell that it lies in.
    inverse = np.linalg.inv(world_to_index)
    for voxel in labelled_at:
        cell = np.clip(np.rint((inverse @ [*voxel, 1])[:3]), 0, np.array(result.shape) - 1).astype(int)
        assert result[tuple(cell)] != U


def test_a_full_annotation_is_nearest_sampling() -> None:
    array = np.random.default_rng(0).integers(0, 4, (6, 6, 6)).astype(np.uint8)
    geometry = Geometry((6, 6, 6))
    result = prepare_annotation(LabelMap(array, geometry), prepared_for(geometry, (3.0, 3.0, 3.0)))
    assert np.array_equal(result, array[1::3, 1::3, 1::3])


def test_one_edited_voxel_stays_marked_on_a_coarser_grid() -> None:
    geometry = Geometry((6, 6, 6))
    mask = np.zeros(geometry.shape, dtype=bool)
    mask[0, 3, 5] = True
    result = prepare_mask(mask, prepared_for(geometry, (3.0, 3.0, 3.0)))
    assert result.dtype == np.bool_
    assert np.argwhere(result).tolist() == [[0, 1, 1]]


def test_what_does_not_fit_the_image_is_refused() -> None:
    geometry = Geometry((4, 4, 4))
    prepared = prepared_for(geometry, (1.0, 1.0, 1.0))
    elsewhere = Geometry((4, 4, 4), origin_mm=(0.0, 0.0, 0.5))
    with pytest.raises(ImageError, match="on the grid of its image"):
        prepare_annotation(LabelMap(np.zeros((4, 4, 4), np.uint8), elsewhere), prepared)
    with pytest.raises(ImageError, match=r"shape \(4, 4, 4\)\. Received: \(4, 4, 5\)"):
        prepare_mask(np.zeros((4, 4, 5), dtype=bool), prepared)
