"""Random rotation, scaling, elastic deformation and flips, in a single resampling.

A transform is a map from the voxels of a patch to positions in the whole case, held as three float32 tensors of
index coordinates (d, h, w) that broadcast to the patch: an axis that nothing mixes into the others keeps one
dimension, its coordinates stay exact integers, and reading along it copies voxels instead of interpolating.
That is how a labelled plane one voxel thick survives, and why the identity equals slicing bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import AugmentationSettings
from ..volume import Shape, Vector
from .smooth import random_field

Coordinates = tuple[Tensor, Tensor, Tensor]

THICK_RATIO = 3.0
"""Axes whose spacings differ by this factor are not rotated into each other (nnU-Net's rule)."""


def draw_coordinates(
    generator: np.random.Generator,
    settings: AugmentationSettings,
    *,
    patch_size: Shape,
    voxel: Shape,
    place: Shape,
    spacing_mm: Vector,
    plane_axis: int | None,
) -> Coordinates:
    """Where each voxel of a random patch is read.

    Args:
        voxel: index in the case of the voxel that all changes leave where it is.
        place: index in the patch at which this voxel comes to lie.
        spacing_mm: of the case; angles and the elastic grid are meant in millimetres.
        plane_axis: changes stay within the planes across this axis; None: all axes are mixed.
    """
    matrix = np.eye(3)
    if generator.random() < settings.spatial_probability:
        matrix = _random_matrix(generator, settings, spacing_mm=spacing_mm, plane_axis=plane_axis)
    steps = [_along(axis, torch.arange(size) - place[axis]) for axis, size in enumerate(patch_size)]
    coordinates = [torch.full((1, 1, 1), float(start)) for start in voxel]
    for axis, other in zip(*np.nonzero(matrix), strict=True):
        coordinates[axis] = coordinates[axis] + float(matrix[axis, other]) * steps[other]
    if generator.random() < settings.elastic_probability:
        shift = _elastic_shift(generator, settings, patch_size=patch_size, place=place, spacing_mm=spacing_mm)
        for axis in {0, 1, 2} - {plane_axis}:
            coordinates[axis] = coordinates[axis] + shift[axis]
    flipped = [axis for axis in settings.flip_axes if generator.random() < 0.5]
    d, h, w = (coordinate.flip(flipped) for coordinate in coordinates)
    return d, h, w


def _along(axis: int, values: Tensor) -> Tensor:
    return values.to(torch.float32).reshape([-1 if other == axis else 1 for other in range(3)])


def _random_matrix(
    generator: np.random.Generator, settings: AugmentationSettings, *, spacing_mm: Vector, plane_axis: int | None
) -> NDArray[np.float64]:
    """3 × 3, from steps in the patch to steps in the case, both in voxels."""
    spacing = np.asarray(spacing_mm)
    limit = np.deg2rad(settings.rotation_degrees)
    matrix = np.eye(3) / generator.uniform(*settings.scale)
    for axis in range(3):
        angle = generator.uniform(-limit, limit)
        turned = [other for other in range(3) if other != axis]
        if plane_axis not in (None, axis) or spacing[turned].max() >= THICK_RATIO * spacing[turned].min():
            continue
        rotation = np.eye(3)
        rotation[np.ix_(turned, turned)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = matrix @ rotation
    matrix = np.asarray(matrix * spacing / spacing[:, None])
    if plane_axis is not None:
        matrix[plane_axis, plane_axis] = 1.0
    return matrix


def _elastic_shift(
    generator: np.random.Generator,
    settings: AugmentationSettings,
    *,
    patch_size: Shape,
    place: Shape,
    spacing_mm: Vector,
) -> Tensor:
    """(3, d, h, w) displacements in voxels, zero at ``place``.

    Random vectors on a coarse grid, as B-spline coefficients (Çiçek 2016, arXiv 1606.06650, section 3). Grid and
    displacement are in voxels of the finest axis, so that the deformation is isotropic in millimetres.
    """
    spacing = np.asarray(spacing_mm)
    fineness = spacing.min() / spacing
    field = random_field(
        generator, count=3, shape=patch_size, grid_voxels=tuple(settings.elastic_grid_voxels * fineness)
    )
    field = field - field[(slice(None), *place)].reshape(3, 1, 1, 1)
    strength = torch.tensor(settings.elastic_std_voxels * fineness, dtype=torch.float32)
    return field * strength.reshape(3, 1, 1, 1)


def sample_linear(image: Tensor, coordinates: Coordinates) -> Tensor:
    """Read an image (C, D, H, W) at ``coordinates``, trilinearly; positions outside get the border's value.

    At integer positions the value is the voxel's, bit for bit. Returns (C, *patch).
    """
    channels, *sizes = image.shape
    flat = image.reshape(channels, -1)
    lower, upper, fractions = [], [], []
    for axis, (coordinate, stride) in enumerate(zip(coordinates, _strides(sizes), strict=True)):
        inside = coordinate.clamp(0, sizes[axis] - 1)
        floor = inside.floor()
        fraction = inside - floor
        index = floor.long()
        lower.append(index * stride)
        upper.append((index + 1).clamp(max=sizes[axis] - 1) * stride)
        fractions.append(fraction if bool(fraction.any()) else None)

    def read(axis: int, offset: Tensor) -> Tensor:
        if axis == 3:
            return flat.index_select(1, offset.reshape(-1)).reshape(channels, *offset.shape)
        low = read(axis + 1, offset + lower[axis])
        fraction = fractions[axis]
        return low if fraction is None else torch.lerp(low, read(axis + 1, offset + upper[axis]), fraction)

    return read(0, torch.zeros(1, dtype=torch.long))


def sample_nearest(array: Tensor, coordinates: Coordinates, *, outside: int) -> Tensor:
    """Read an array (D, H, W) at the nearest voxel; positions outside the image get the value ``outside``.

    The outside begins half a voxel beyond the centres of the border voxels. Returns an array of the patch's shape.
    """
    sizes = array.shape
    offset = torch.zeros(1, dtype=torch.long)
    inside = torch.ones(1, dtype=torch.bool)
    for coordinate, size, stride in zip(coordinates, sizes, _strides(sizes), strict=True):
        index = (coordinate + 0.5).floor().long()
        inside = inside & (index >= 0) & (index < size)
        offset = offset + index.clamp(0, size - 1) * stride
    values = array.reshape(-1).index_select(0, offset.reshape(-1)).reshape(offset.shape)
    return values.masked_fill(~inside, outside)


def _strides(sizes: Sequence[int]) -> tuple[int, int, int]:
    return sizes[1] * sizes[2], sizes[2], 1
