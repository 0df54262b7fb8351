"""Metrics in millimetres: how far the surfaces of prediction and reference lie apart.

A surface is the set of a mask's voxels that have a face neighbour outside the mask; beyond the image is outside, so
that a structure cut off by the image border has a surface there. Along an axis of a single voxel there is no outside:
the surface of a mask in a 2D image is its outline. Distances are between voxel centres, exact and Euclidean, and take
the spacing into account; origin and axis directions do not matter to them.

Where both masks are empty they agree: 0 mm, surface Dice 1. Where one is empty, nothing in the image could be further
off: every distance is the image diagonal (corner to corner, outer faces), and surface Dice is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..volume import Vector
from .overlap import Mask, check_same_shape

Distances = NDArray[np.float32]

ROUNDING = 1e-6
"""Relative slack of the tolerance: distance maps are float32, so that two steps of 0.1 mm are 0.20000002 mm."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from each surface voxel of one mask to the nearest surface voxel of the other.

    Attributes:
        from_prediction: one entry per counted surface voxel of the prediction, in mm; infinite for an empty reference.
        from_reference: likewise.
        diagonal_mm: of the image.
        tolerance_mm: up to which two surfaces count as equal.
    """

    from_prediction: Distances
    from_reference: Distances
    diagonal_mm: float
    tolerance_mm: float


def surface_distances(
    prediction: Mask,
    reference: Mask,
    *,
    spacing_mm: Vector,
    tolerance_mm: float = 1.0,
    counted: Mask | None = None,
) -> SurfaceDistances:
    """Measure two masks (bool, (D, H, W), same shape). Raises ``ImageError`` where the shapes differ.

    Args:
        counted: bool, (D, H, W); the surface voxels whose distances count. Their nearest one on the other surface
            may lie anywhere. None: all.
    """
    check_same_shape(prediction, reference)
    if counted is None:
        counted = np.ones_like(prediction)
    check_same_shape(prediction, counted)
    box = _bounding_box(prediction | reference)
    axes = [axis for axis, size in enumerate(prediction.shape) if size > 1]
    surfaces = _surface(prediction[box], axes), _surface(reference[box], axes)
    return SurfaceDistances(
        from_prediction=_distances(*surfaces, spacing_mm)[counted[box][surfaces[0]]],
        from_reference=_distances(*surfaces[::-1], spacing_mm)[counted[box][surfaces[1]]],
        diagonal_mm=float(np.linalg.norm(np.multiply(prediction.shape, spacing_mm))),
        tolerance_mm=tolerance_mm,
    )


def hausdorff_mm(distances: SurfaceDistances) -> float:
    """The largest distance from either surface to the other, in mm."""
    return _in_mm(distances, lambda sides: max(side.max() for side in sides))


def hd95_mm(distances: SurfaceDistances) -> float:
    """95 % Hausdorff distance in mm: the larger of the two directed 95th percentiles (Metrics Reloaded, 2024)."""
    return _in_mm(
        distances,
        lambda sides: max(np.percentile(side, 95) for side in sides),
    )


def average_surface_distance_mm(distances: SurfaceDistances) -> float:
    """Symmetric: the mean over all voxels of both surfaces, in mm."""
    return _in_mm(distances, lambda sides: np.concatenate(sides).mean())


def surface_dice(distances: SurfaceDistances) -> float:
    """The share of both surfaces' voxels within the tolerance of the other, 0–1 (Nikolov 2018, arXiv 1809.04430).

    Voxels are counted, each with the same weight, where the paper sums the areas of surface elements.
    """
    both = np.concatenate([distances.from_prediction, distances.from_reference])
    return float((both <= distances.tolerance_mm * (1 + ROUNDING)).mean()) if both.size else 1.0


SURFACE_METRICS: dict[str, Callable[[SurfaceDistances], float]] = {
    "hausdorff_mm": hausdorff_mm,
    "hd95_mm": hd95_mm,
    "average_surface_distance_mm": average_surface_distance_mm,
    "surface_dice": surface_dice,
}


def _in_mm(distances: SurfaceDistances, statistic: Callable[[list[Distances]], np.floating]) -> float:
    """0 where nothing is counted on either side, the diagonal where one of the masks is empty."""
    sides = [side for side in (distances.from_prediction, distances.from_reference) if side.size]
    if not sides:
        return 0.0
    return float(statistic(sides)) if np.isfinite(np.concatenate(sides)).all() else distances.diagonal_mm


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around the mask; distances between voxels inside do not depend on what lies around it."""
    box = []
    for axis in range(mask.ndim):
        indices = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(indices[0], indices[-1] + 1) if indices.size else slice(0, 1))
    return tuple(box)


def _surface(mask: Mask, axes: Sequence[int]) -> Mask:
    inner = mask.copy()
    for axis in axes:
        for step in (1, -1):
            neighbour = np.roll(mask, step, axis=axis)
            np.moveaxis(neighbour, axis, 0)[0 if step == 1 else -1] = False
            inner &= neighbour
    return mask & ~inner


def _distances(origin: Mask, target: Mask, spacing_mm: Vector) -> Distances:
    """From each voxel of ``origin`` to the nearest of ``target``."""
    if not origin.any() or not target.any():
        return np.full(np.count_nonzero(origin), np.inf, dtype=np.float32)
    # The margin keeps every voxel of the target on the rim of what the filter takes for an object.
    image = sitk.GetImageFromArray(np.pad(target, 1).astype(np.uint8))
    image.SetSpacing([float(x) for x in reversed(spacing_mm)])
    signed = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    distances: Distances = np.abs(sitk.GetArrayFromImage(signed))[1:-1, 1:-1, 1:-1][origin]
    return distances
