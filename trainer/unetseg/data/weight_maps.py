"""How much each voxel and each class weighs in the loss. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import SettingsError, TrainingDataError
from ..volume import FloatArray

Instances = NDArray[np.integer]

REACH_SIGMAS = 6.0
"""Where d1 + d2 is more than this many σ, the border term is less than 2e-8 · w0 and left out."""


def border_weight_map(
    instances: Instances,
    *,
    class_weights: tuple[float, float] = (1.0, 1.0),
    spacing: Sequence[float] | None = None,
    w0: float = 10.0,
    sigma: float = 5.0,
) -> FloatArray:
    """w(x) = w_c(x) + w0·exp(-(d1(x) + d2(x))² / 2σ²) (U-Net, arXiv 1505.04597, eq. 2).

    The second term makes a network learn the thin gaps between touching objects: d1 and d2 are the distances to the
    borders of the two nearest instances. The border of an instance are its own voxels with a face neighbour outside
    it; distances are between voxel centres.

    Args:
        instances: integers, 2D or 3D; 0 is background, each other value one object.
        class_weights: w_c of background and of the objects.
        spacing: of the voxels per axis, in the unit of ``sigma``; None: 1, so that ``sigma`` is in pixels.
        w0: weight between two objects without a gap, at least 0.
        sigma: how fast the weight falls with the width of the gap, more than 0.

    Returns:
        float32, of the shape of ``instances``. With fewer than two instances only w_c.

    Raises:
        TrainingDataError: ``instances`` is not 2D or 3D with integers.
        SettingsError: a spacing, ``w0`` or ``sigma`` out of range.
    """
    if instances.ndim not in (2, 3) or not np.issubdtype(instances.dtype, np.integer):
        raise TrainingDataError(
            "An instance map must be a 2D or 3D array of integers",
            received=f"{instances.ndim}D {instances.dtype}",
        )
    steps = np.ones(instances.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    if steps.shape != (instances.ndim,) or not (steps > 0).all() or not sigma > 0 or not w0 >= 0:
        raise SettingsError(
            "A border weight map needs a positive spacing per axis, w0 of at least 0 and a positive sigma",
            received=f"spacing {spacing}, w0 {w0}, sigma {sigma}",
        )
    first, second = _two_nearest_borders(instances, spacing=steps, reach=REACH_SIGMAS * sigma)
    border_term = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    weights: FloatArray = (np.where(instances == 0, *class_weights) + border_term).astype(np.float32)
    return weights


def class_weights(counts: Sequence[int] | NDArray[np.int64], limits: tuple[float, float]) -> FloatArray:
    """Weights per class ∝ 1/√frequency, float32 (classes,).

    Only their ratios matter to a loss divided by its weights; they are scaled to a geometric mean of 1 over the classes
    that occur, which centres them between limits like (1/4, 4), and then clipped. A class without a voxel has the upper
    limit: nothing that was counted is weighed by it.

    Args:
        counts: labelled voxels per class.
        limits: smallest and largest weight.

    Raises:
        TrainingDataError: all counts are 0.
        SettingsError: limits that are not 0 < smallest ≤ largest.
    """
    lower, upper = limits
    if not 0 < lower <= upper:
        raise SettingsError("The limits of the class weights must be positive and ascending", received=limits)
    voxels = np.asarray(counts, dtype=np.float64)
    present = voxels > 0
    if not present.any():
        raise TrainingDataError("Class weights need at least one labelled voxel", received="none")
    weights = np.full(voxels.shape, upper)
    logarithms = -0.5 * np.log(voxels[present])
    weights[present] = np.exp(logarithms - logarithms.mean())
    clipped: FloatArray = np.clip(weights, lower, upper).astype(np.float32)
    return clipped


def _two_nearest_borders(
    instances: Instances, *, spacing: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances to the nearest and the second nearest instance's border; infinite where beyond ``reach``."""
    first = np.full(instances.shape, np.inf)
    second = first.copy()
    margin = np.ceil(reach / spacing).astype(int)
    for value in np.unique(instances[instances != 0]):
        inside = instances == value
        box = _box_around(inside, margin)
        distance = _distance_to_border(inside[box], spacing)
        second[box] = np.minimum(second[box], np.maximum(first[box], distance))
        first[box] = np.minimum(first[box], distance)
    return first, second


def _box_around(mask: NDArray[np.bool_], margin: NDArray[np.int64]) -> tuple[slice, ...]:
    """The mask's bounding box, ``margin`` voxels wider on each side as far as the image goes."""
    indices = np.argwhere(mask)
    lower, upper = np.maximum(indices.min(axis=0) - margin, 0), indices.max(axis=0) + margin + 1
    return tuple(slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))


def _distance_to_border(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    # The margin gives an instance that fills its box a border too: the filter needs an outside.
    image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    image.SetSpacing([float(x) for x in spacing[::-1]])
    # Of the mask itself the distance map would take pixels that only touch the outside by a corner for border.
    border = sitk.BinaryContour(image, fullyConnected=False)
    signed = sitk.SignedMaurerDistanceMap(border, squaredDistance=False, useImageSpacing=True)
    inner = (slice(1, -1),) * mask.ndim
    distance: NDArray[np.float64] = np.abs(sitk.GetArrayFromImage(signed)[inner]).astype(np.float64)
    return distance
