"""Smooth random fields from a coarse grid of control points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def random_field(
    generator: np.random.Generator, *, count: int, shape: Sequence[int], grid_voxels: Sequence[float]
) -> Tensor:
    """``count`` independent uniform cubic B-splines whose coefficients are drawn from N(0, 1).

    Args:
        shape: (d, h, w) of the result.
        grid_voxels: distance of the control points along each axis.

    Returns:
        float32, (count, d, h, w). The standard deviation of a voxel is Π √Σ B² over the axes, between 0.31
        (midway between the control points) and 0.36 (on them).
    """
    bases = [_basis(size, grid) for size, grid in zip(shape, grid_voxels, strict=True)]
    coefficients = generator.standard_normal((count, *(basis.shape[1] for basis in bases)), dtype=np.float32)
    field = torch.from_numpy(coefficients)
    for basis in bases:
        # Contracts the first grid axis and appends the voxels; after all three the axes are in order again.
        field = torch.tensordot(field, basis, dims=([1], [1]))
    return field


def _basis(size: int, grid_voxels: float) -> Tensor:
    """(size, control points): weights of the cubic B-spline's coefficients at each voxel."""
    position = torch.arange(size, dtype=torch.float32)[:, None] / grid_voxels
    points = int((size - 1) / grid_voxels) + 4
    distance = (position - torch.arange(-1, points - 1, dtype=torch.float32)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)
