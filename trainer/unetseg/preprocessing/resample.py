"""Between an image's spacing and the network's. Both grids have the same axes, so each axis is on its own."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import ImageError
from ..image_io import image_of
from ..volume import FloatArray, Geometry, Vector

EQUAL_SPACING = 1e-3
"""Spacings closer than this fraction are the same: resampling would only blur."""

MAX_VOXELS = 2**31


def network_grid(geometry: Geometry, spacing_mm: Vector) -> Geometry:
    """The grid of the network's spacing over the extent of ``geometry``; a spacing of 0 keeps that axis.

    Raises ``ImageError`` where it would have 2³¹ voxels or more.
    """
    kept = [
        own if wanted == 0 or abs(own / wanted - 1) <= EQUAL_SPACING else wanted
        for own, wanted in zip(geometry.spacing_mm, spacing_mm, strict=True)
    ]
    grid = geometry.with_spacing(kept)
    if math.prod(grid.shape) >= MAX_VOXELS:
        raise ImageError(
            "An image must stay below 2³¹ voxels at the model's spacing",
            received=f"shape {geometry.shape} at {geometry.spacing_mm} mm for a model of {spacing_mm} mm",
            remedy="Check the spacing in the image's header, or crop the image",
        )
    return grid


def positions(count: int, spacing_mm: float, other_spacing_mm: float) -> NDArray[np.float64]:
    """Where ``count`` voxels of one spacing lie on the other, in its indices; the outer faces coincide.

    >>> positions(4, 1.0, 2.0).tolist()
    [-0.25, 0.25, 0.75, 1.25]
    """
    return (np.arange(count, dtype=np.float64) + 0.5) * (spacing_mm / other_spacing_mm) - 0.5


def resample_image(image: FloatArray, source: Geometry, target: Geometry) -> FloatArray:
    """Linear interpolation of (C, d, h, w) from one grid to another of the same axes and outer faces.

    Beyond the outermost voxel centres the image continues unchanged. Where the grids agree, ``image`` itself
    is returned.
    """
    if source.shape == target.shape and source.spacing_mm == target.spacing_mm:
        return image
    # Origin and direction are left out: they are the same for both and would only add rounding errors.
    own = Geometry(source.shape, source.spacing_mm)
    wanted = own.with_spacing(target.spacing_mm)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(image_of(np.empty(wanted.shape, dtype=np.uint8), wanted))
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    result = np.empty((len(image), *wanted.shape), dtype=np.float32)
    for channel, out in zip(image, result, strict=True):
        resampled = resampler.Execute(image_of(channel, own))  # by name: a view does not keep its image alive
        out[...] = sitk.GetArrayViewFromImage(resampled)
    return result
