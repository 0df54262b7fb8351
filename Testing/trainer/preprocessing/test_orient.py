"""The same anatomy, stored in any of 48 orders, must reach the network as the same array and come back in its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from unetseg.config import Normalisation, Orientation, Plan
from unetseg.image_io import geometry_of
from unetseg.preprocessing import Reorientation, prepare_annotation, preprocess, reorient_back, thickest_axis
from unetseg.volume import Geometry, LabelMap, Volume

LETTER_F = np.array(
    [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]],
    dtype=np.uint8,
)
ORDERS = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in itertools.product((False, True), repeat=3)
]


def f_phantom() -> np.ndarray:
    """uint8 (5, 8, 7): a letter F whose slices differ, so that no flip or permutation maps it to itself."""
    array = np.zeros((5, 8, 7), dtype=np.uint8)
    for depth in range(3):
        array[depth, 1:7, 2:6] = LETTER_F * (depth + 1)
    return array


def rotation(degrees: float) -> np.ndarray:
    """A rotation about an oblique axis (Rodrigues)."""
    x, y, z = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def oblique_image(spacing_xyz: tuple[float, float, float], degrees: float, *, left_handed: bool = False) -> sitk.Image:
    image = sitk.GetImageFromArray(f_phantom())
    image.SetSpacing(spacing_xyz)
    image.SetOrigin((-31.0, 12.5, 1e6))
    direction = rotation(degrees) @ np.diag([-1.0 if left_handed else 1.0, 1.0, 1.0])
    image.SetDirection(direction.ravel().tolist())
    return image


def stored_as(image: sitk.Image, axes: tuple[int, ...], flips: tuple[bool, ...]) -> sitk.Image:
    """The same voxels at the same places, with the axes in another order (by ITK, not by the code under test)."""
    return sitk.Flip(sitk.PermuteAxes(image, axes), flips, flipAboutOrigin=False)


def plan_for(orientation: Orientation, spacing_mm: tuple[float, float, float]) -> Plan:
    return Plan(3, orientation, spacing_mm, (8, 8, 8), 1, "MR", (Normalisation("zscore"),))


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize(
    ("orientation", "spacing_xyz", "target"),
    [
        ("canonical", (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        ("canonical", (0.3, 0.3, 5.0), (2.5, 0.45, 0.3)),
        ("thickest_first", (0.3, 5.0, 0.4), (5.0, 0.4, 0.3)),
        ("thickest_first", (1.0, 2.0, 4.0), (0.0, 1.5, 1.0)),
    ],
)
@pytest.mark.parametrize("degrees", [0.0, 17.0])
def test_all_48_orders_give_one_network_image_and_their_own_labels_back(
    orientation: Orientation,
    spacing_xyz: tuple[float, float, float],
    target: tuple[float, float, float],
    degrees: float,
    left_handed: bool,
) -> None:
    image = oblique_image(spacing_xyz, degrees, left_handed=left_handed)
    expected = None
    for axes, flips in ORDERS:
        stored = stored_as(image, axes, flips)
        array, geometry = sitk.GetArrayFromImage(stored), geometry_of(stored)
        prepared = preprocess(Volume(array[None].astype(np.float32), geometry), plan_for(orientation, target))
        expected = expected or prepared
        assert np.array_equal(prepared.image, expected.image), (axes, flips)
        assert prepared.geometry.matches(expected.geometry, tolerance_voxel=1e-6)
        own_grid = preprocess(Volume(array[None].astype(np.float32), geometry), plan_for(orientation, (0.0, 0.0, 0.0)))
        if orientation == "thickest_first":
            assert own_grid.geometry.spacing_mm[0] == max(spacing_xyz)
        labels = prepare_annotation(LabelMap(array, geometry), own_grid)
        assert np.array_equal(reorient_back(labels, own_grid), array), (axes, flips)


def test_the_orders_really_differ() -> None:
    image = oblique_image((1.0, 1.0, 1.0), 0.0)
    arrays = [sitk.GetArrayFromImage(stored_as(image, axes, flips)) for axes, flips in ORDERS]
    for first, second in itertools.combinations(arrays, 2):
        assert first.shape != second.shape or not np.array_equal(first, second)


def test_canonical_axes_are_superior_posterior_left() -> None:
    lps = geometry_of(sitk.Image([3, 4, 5], sitk.sitkUInt8))
    assert Reorientation.towards(lps, "canonical") == Reorientation((0, 1, 2), (False, False, False))
    ras_sagittal = sitk.DICOMOrient(sitk.Image([3, 4, 5], sitk.sitkUInt8), "PIR")
    # Indices (x, y, z) grow to posterior, inferior, right; so (D, H, W) are right, inferior, posterior.
    expected = Reorientation((1, 2, 0), (True, False, True))
    assert Reorientation.towards(geometry_of(ras_sagittal), "canonical") == expected


@pytest.mark.parametrize(("axes", "flips"), ORDERS)
def test_every_voxel_keeps_its_place_and_the_way_back_is_exact(
    axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    geometry = geometry_of(oblique_image((0.7, 1.1, 3.0), 17.0))
    reorientation = Reorientation(axes, flips)
    turned = reorientation.apply_geometry(geometry)
    indices = np.moveaxis(np.indices(geometry.shape).astype(float), 0, 0)
    world = np.einsum("ij,jdhw->idhw", geometry.index_to_world[:3, :3], indices)
    world += geometry.index_to_world[:3, 3, None, None, None]
    turned_world = np.einsum("ij,jdhw->idhw", turned.index_to_world[:3, :3], np.indices(turned.shape).astype(float))
    turned_world += turned.index_to_world[:3, 3, None, None, None]
    assert np.allclose(reorientation.apply(world), turned_world, atol=1e-8)
    assert np.array_equal(reorientation.invert(reorientation.apply(indices)), indices)
    assert Reorientation.between(geometry, turned) == reorientation


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "thickest"),
    [
        ((9, 9, 9), (1.0, 1.0, 3.0), 2),
        ((9, 9, 9), (1.0, 1.0, 1.0), 0),
        ((9, 9, 9), (1.0, 1.0001, 1.0002), 0),  # rounding in a header
        ((9, 9, 9), (1.0, 1.1, 1.0), 1),
        ((9, 1, 9), (3.0, 1.0, 1.0), 1),  # a single slice
    ],
)
def test_thickest_axis(shape: tuple[int, ...], spacing_mm: tuple[float, ...], thickest: int) -> None:
    assert thickest_axis(shape, spacing_mm) == thickest


def test_arrays_with_leading_axes_turn_only_their_last_three() -> None:
    reorientation = Reorientation((2, 0, 1), (True, False, True))
    array = np.random.default_rng(0).random((2, 3, 4, 5, 6))
    turned = reorientation.apply(array)
    assert turned.shape == (2, 3, 6, 4, 5)
    assert turned[1, 2, 0, 1, 0] == array[1, 2, 1, 4, 5]
    assert np.array_equal(reorientation.invert(turned), array)


def test_at_45_degrees_every_axis_still_has_a_place_of_its_own() -> None:
    geometry = Geometry((2, 3, 4), direction=((0.0, 0.0, 1.0), (0.5**0.5, 0.5**0.5, 0.0), (0.5**0.5, -(0.5**0.5), 0.0)))
    assert sorted(Reorientation.towards(geometry, "canonical").axes) == [0, 1, 2]
