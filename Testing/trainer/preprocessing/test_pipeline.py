from __future__ import annotations

import numpy as np
import pytest

from unetseg.config import Normalisation, Orientation, Plan
from unetseg.errors import ImageError
from unetseg.preprocessing import AxisMapping, Prepared, axis_mapping, preprocess, reorient_back
from unetseg.preprocessing.resample import positions
from unetseg.volume import FloatArray, Geometry, Vector, Volume

OBLIQUE = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (1.0, 0.0, 0.0))
LEFT_HANDED = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (1.0, 0.0, 0.0))
KEEP = Normalisation("ct", -1e6, 1e6, mean=0, std=1)


def plan_for(spacing_mm: Vector, orientation: Orientation = "canonical", scheme: Normalisation = KEEP) -> Plan:
    return Plan(3, orientation, spacing_mm, (8, 8, 8), 1, "MR", (scheme,))


def interpolated(image: FloatArray, mapping: AxisMapping) -> FloatArray:
    """The recipe in AxisMapping's docstring, axis by axis."""
    for axis, where in enumerate(mapping.positions):
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, image.shape[axis] - 1)
        t = (where - low).reshape([-1 if a == axis else 1 for a in range(3)])
        image = (1 - t) * image.take(low, axis) + t * image.take(high, axis)
    return image


def world_ramp(geometry: Geometry) -> FloatArray:
    """1 - 2x + 3y + 0.5z of every voxel, (1, D, H, W)."""
    indices = np.indices(geometry.shape).reshape(3, -1)
    world = geometry.index_to_world @ np.vstack([indices, np.ones(indices.shape[1])])
    return (1 + np.array([-2, 3, 0.5]) @ world[:3]).reshape(1, *geometry.shape).astype(np.float32)


@pytest.mark.parametrize("direction", [OBLIQUE, LEFT_HANDED])
@pytest.mark.parametrize(
    ("shape", "spacing_mm", "target"),
    [
        ((10, 40, 30), (5.0, 0.3, 0.3), (2.0, 0.5, 0.4)),
        ((12, 3, 20), (1.0, 1.0, 1.0), (1.5, 0.5, 0.9)),
        ((8, 9, 10), (2.0, 2.0, 2.0), (1.0, 1.0, 1.0)),
    ],
)
@pytest.mark.parametrize("orientation", ["canonical", "thickest_first"])
def test_a_world_ramp_comes_there_and_back_as_itself(
    direction: tuple[Vector, Vector, Vector],
    shape: tuple[int, int, int],
    spacing_mm: Vector,
    target: Vector,
    orientation: Orientation,
) -> None:
    geometry = Geometry(shape, spacing_mm, (11.0, -5.0, 200.0), direction)
    ramp = world_ramp(geometry)
    prepared = preprocess(Volume(ramp, geometry), plan_for(target, orientation))
    mapping = axis_mapping(prepared)
    assert not mapping.is_identity
    # Beyond the outermost source centres the image is continued, not extrapolated.
    oriented = mapping.reorientation.apply_geometry(geometry)
    inside = [
        np.flatnonzero((where >= 0) & (where <= oriented.shape[axis] - 1))
        for axis in range(3)
        for where in [
            positions(prepared.image.shape[1 + axis], prepared.geometry.spacing_mm[axis], oriented.spacing_mm[axis])
        ]
    ]
    assert np.abs(prepared.image - world_ramp(prepared.geometry))[0][np.ix_(*inside)].max() < 1e-3
    back = reorient_back(interpolated(prepared.image[0], mapping), prepared)
    assert back.shape == shape
    assert back.flags.c_contiguous
    middle = tuple(slice(size // 3, size - size // 3) for size in shape)
    assert np.abs(back - ramp[0])[middle].max() < 1e-3


def test_positions_are_where_the_source_voxels_lie() -> None:
    geometry = Geometry((7, 9, 11), (5.0, 0.3, 0.4), (11.0, -5.0, 200.0), LEFT_HANDED)
    prepared = preprocess(Volume(world_ramp(geometry), geometry), plan_for((2.0, 0.5, 0.5)))
    mapping = axis_mapping(prepared)
    oriented = mapping.reorientation.apply_geometry(geometry)
    assert mapping.oriented_shape == oriented.shape
    index = (3, 4, 5)
    where = [mapping.positions[axis][index[axis]] for axis in range(3)]
    assert np.allclose(prepared.geometry.index_to_world @ [*where, 1], oriented.index_to_world @ [*index, 1])
    for axis, line in enumerate(mapping.positions):
        assert (np.diff(line) >= 0).all()
        assert line[0] >= 0
        assert line[-1] <= prepared.geometry.shape[axis] - 1


def test_without_another_spacing_nothing_is_interpolated() -> None:
    geometry = Geometry((4, 5, 6), (3.0, 1.0, 1.0005), direction=OBLIQUE)
    array = np.random.default_rng(0).random((1, 4, 5, 6), dtype=np.float32)
    prepared = preprocess(Volume(array, geometry), plan_for((0.0, 1.0, 1.0), "thickest_first"))
    assert axis_mapping(prepared).is_identity
    assert np.array_equal(reorient_back(prepared.image[0], prepared), array[0])
    assert np.array_equal(reorient_back(prepared.image, prepared), array)
    assert prepared.source == geometry


@pytest.mark.parametrize("shape", [(1, 6, 5), (6, 1, 5), (1, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("target", [(1.0, 1.0, 1.0), (0.5, 2.5, 4.0), (9.0, 9.0, 9.0)])
def test_thin_volumes_go_there_and_back(shape: tuple[int, int, int], target: Vector) -> None:
    geometry = Geometry(shape, (2.0, 1.0, 1.0), direction=OBLIQUE)
    array = np.full((1, *shape), 7.0, dtype=np.float32)
    prepared = preprocess(Volume(array, geometry), plan_for(target))
    assert (prepared.image == 7).all()
    assert prepared.image.shape[1:] == prepared.geometry.shape
    back = reorient_back(interpolated(prepared.image[0], axis_mapping(prepared)), prepared)
    assert np.array_equal(back, array[0])


@pytest.mark.parametrize("scheme", [Normalisation("zscore"), Normalisation("percentile", 1, 99)])
def test_a_constant_image_becomes_zero(scheme: Normalisation) -> None:
    volume = Volume(np.full((1, 3, 3, 3), 42.0, dtype=np.float32), Geometry((3, 3, 3)))
    assert not preprocess(volume, plan_for((0.7, 1.0, 2.0), scheme=scheme)).image.any()


def test_the_volume_is_not_changed() -> None:
    array = np.random.default_rng(0).random((1, 4, 4, 4), dtype=np.float32)
    volume = Volume(array.copy(), Geometry((4, 4, 4)))
    prepared: Prepared = preprocess(volume, plan_for((1.0, 1.0, 1.0), scheme=Normalisation("zscore")))
    assert np.array_equal(volume.array, array)
    assert not np.shares_memory(prepared.image, volume.array)


def test_missing_channels_are_named() -> None:
    volume = Volume(np.zeros((2, 2, 2, 2), dtype=np.float32), Geometry((2, 2, 2)))
    with pytest.raises(ImageError, match="one image per channel"):
        preprocess(volume, plan_for((1.0, 1.0, 1.0)))
