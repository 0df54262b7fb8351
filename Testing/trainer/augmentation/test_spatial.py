from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from unetseg.augmentation import Coordinates, draw_coordinates, sample_linear, sample_nearest
from unetseg.config import AugmentationSettings

STILL = AugmentationSettings(spatial_probability=0.0, elastic_probability=0.0)
MOVING = AugmentationSettings(spatial_probability=1.0, elastic_probability=1.0)
AFFINE = replace(MOVING, elastic_probability=0.0)


def draw(seed: int, settings: AugmentationSettings, **changes: Any) -> Coordinates:
    arguments: dict[str, Any] = {
        "patch_size": (8, 10, 12),
        "voxel": (9, 9, 9),
        "place": (4, 5, 6),
        "spacing_mm": (1.0, 1.0, 1.0),
        "plane_axis": None,
    }
    return draw_coordinates(np.random.default_rng(seed), settings, **(arguments | changes))


def coordinates_of(*values: tuple[float, float, float]) -> Coordinates:
    """Single positions as a patch (1, 1, n)."""
    d, h, w = (torch.tensor([axis], dtype=torch.float32)[None] for axis in zip(*values, strict=True))
    return d, h, w


@pytest.fixture
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, 18, 19, 20), dtype=np.float32))


def test_identity_equals_slicing_bit_for_bit(image: torch.Tensor) -> None:
    coordinates = draw(0, STILL)
    assert torch.equal(sample_linear(image, coordinates), image[:, 5:13, 4:14, 3:15])
    assert torch.equal(sample_nearest(image[0], coordinates, outside=0), image[0, 5:13, 4:14, 3:15])


def test_linear_interpolation_by_hand() -> None:
    image = torch.arange(8, dtype=torch.float32).reshape(1, 2, 2, 2)  # value = 4 d + 2 h + w
    values = sample_linear(image, coordinates_of((0.5, 0.25, 0.75), (1.0, 1.0, 1.0), (-3.0, 0.0, 5.0)))
    assert values.flatten().tolist() == [3.25, 7.0, 1.0]


def test_nearest_reads_the_voxel_that_holds_the_position() -> None:
    array = torch.arange(8, dtype=torch.uint8).reshape(2, 2, 2)
    positions = coordinates_of((0.4, 0.6, 0.0), (-0.5, 0.0, 0.0), (-0.51, 0.0, 0.0), (0.0, 0.0, 1.49), (0.0, 0.0, 1.5))
    assert sample_nearest(array, positions, outside=255).flatten().tolist() == [2, 0, 255, 1, 255]


def test_patch_larger_than_the_image_repeats_the_border_and_has_no_labels_there() -> None:
    image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    coordinates = draw(0, STILL, patch_size=(1, 1, 7), voxel=(0, 0, 1), place=(0, 0, 3))
    assert sample_linear(image, coordinates).flatten().tolist() == [1, 1, 1, 2, 3, 3, 3]
    labels = torch.tensor([[[0, 1, 2]]], dtype=torch.uint8)
    assert sample_nearest(labels, coordinates, outside=255).flatten().tolist() == [255, 255, 0, 1, 2, 255, 255]


@pytest.mark.parametrize("seed", range(5))
def test_the_anchor_voxel_stays_where_it_is(seed: int) -> None:
    d, h, w = (c.expand(8, 10, 12) for c in draw(seed, MOVING, spacing_mm=(1.0, 1.2, 0.8)))
    assert (d[4, 5, 6], h[4, 5, 6], w[4, 5, 6]) == (9, 9, 9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_in_plane_changes_leave_the_index_across_the_plane_exact(axis: int) -> None:
    for seed in range(5):
        coordinates = draw(seed, MOVING, plane_axis=axis)
        size, place = (8, 10, 12)[axis], (4, 5, 6)[axis]
        assert coordinates[axis].flatten().tolist() == [9 + step - place for step in range(size)]
        others = [coordinates[other] for other in range(3) if other != axis]
        assert all(not torch.equal(other, other.round()) for other in others)


def matrix_of(coordinates: Coordinates) -> np.ndarray:
    """The 3 × 3 of an affine map: how each coordinate grows along each patch axis."""
    full = [coordinate.expand(8, 10, 12).double() for coordinate in coordinates]
    return np.array([[float(c.select(a, 1).flatten()[0] - c.flatten()[0]) for a in range(3)] for c in full])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.8)])
def test_affine_maps_are_rotations_and_scalings_in_millimetres(spacing: tuple[float, float, float]) -> None:
    for seed in range(10):
        matrix = matrix_of(draw(seed, AFFINE, spacing_mm=spacing))
        in_mm = np.diag(spacing) @ matrix @ np.diag(1 / np.array(spacing))
        scale = np.cbrt(np.linalg.det(in_mm))
        assert 1 / 1.15 - 1e-5 <= scale <= 1 / 0.85 + 1e-5
        np.testing.assert_allclose(in_mm @ in_mm.T, scale**2 * np.eye(3), atol=1e-5)
        angle = np.arccos((np.trace(in_mm / scale) - 1) / 2)
        assert 0 < angle <= np.deg2rad(3 * 20)


def test_a_thick_axis_is_not_rotated_into_the_others() -> None:
    matrix = matrix_of(draw(0, AFFINE, spacing_mm=(6.0, 2.0, 1.0)))
    assert matrix[0, 1:].tolist() == [0, 0]
    assert matrix[1:, 0].tolist() == [0, 0]
    assert matrix[1, 2] * matrix[2, 1] < 0
    sagittal = matrix_of(draw(0, AFFINE, spacing_mm=(6.0, 2.0, 1.0), plane_axis=2))
    assert np.count_nonzero(sagittal - np.diag(np.diag(sagittal))) == 0


def test_scale_above_one_enlarges_what_is_seen() -> None:
    enlarge = replace(AFFINE, rotation_degrees=0.0, scale=(2.0, 2.0))
    np.testing.assert_allclose(matrix_of(draw(0, enlarge)), np.eye(3) / 2)


def test_elastic_shift_has_the_strength_of_its_settings() -> None:
    elastic = replace(MOVING, spatial_probability=0.0)
    spacing, voxel, place = (4.0, 1.0, 1.0), (0, 0, 0), (0, 0, 0)
    shifts = []
    for seed in range(40):
        moved = draw(seed, elastic, patch_size=(24, 96, 96), voxel=voxel, place=place, spacing_mm=spacing)
        shifts.append([float(moved[0][23, 95, 95]) - 23, float(moved[1][23, 95, 95]) - 95])
    # Difference of two nearly independent B-spline values of std 0.31 to 0.36: 4 · √2 · 0.33 = 1.9 mm.
    thick, fine = np.std(shifts, axis=0)
    assert 1.4 < fine < 2.4
    assert 1.4 < 4 * thick < 2.4


def test_flips_mirror_the_patch(image: torch.Tensor) -> None:
    settings = replace(STILL, flip_axes=(2,))
    plain = image[:, 5:13, 4:14, 3:15]
    patches = [sample_linear(image, draw(seed, settings)) for seed in range(20)]
    mirrored = [torch.equal(patch, plain.flip(3)) for patch in patches]
    assert all(flipped or torch.equal(patch, plain) for patch, flipped in zip(patches, mirrored, strict=True))
    assert 4 <= sum(mirrored) <= 16


def test_the_same_generator_state_gives_the_same_map() -> None:
    first, second, other = draw(3, MOVING), draw(3, MOVING), draw(4, MOVING)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_nearest_sampling_of_a_moved_patch_invents_no_label() -> None:
    labels = torch.full((18, 19, 20), 255, dtype=torch.uint8)
    labels[9] = 0
    labels[9, 5:12, 5:12] = 7
    for seed in range(5):
        assert set(sample_nearest(labels, draw(seed, MOVING), outside=255).unique().tolist()) <= {0, 7, 255}
