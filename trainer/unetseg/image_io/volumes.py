"""Reading images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import ImageError
from ..volume import FloatArray, Geometry, Volume
from .grid import image_of
from .raster import frames_error, read_raster

MAX_VECTOR = 4
"""Pixels of more components than RGBA are the frames of a sequence, not channels."""


def read_volume(paths: Path | Sequence[Path]) -> Volume:
    """Read one image, or the channels of one.

    Args:
        paths: of files (NIfTI, NRRD, MetaImage, TIFF, PNG, DICOM, ``.npz``) or folders (one DICOM series, or PNG
            or TIFF slices in natural order), each a channel; colour images give one channel per colour. A channel
            on another grid than the first is resampled to it (linear; its minimum where it does not reach).

    Returns:
        Values in the files' own units, rounded to float32. A 2D image is a volume of one slice.

    Raises:
        ImageError: a file is missing, unreadable, 4D, empty, sheared or has non-finite values, a series is not
            an even stack, or channels do not overlap.
    """
    chosen = [paths] if isinstance(paths, Path) else list(paths)
    if not chosen:
        raise ImageError("An image needs at least one file", received="none")
    volumes = [_read_channel(path) for path in chosen]
    if len(volumes) == 1:
        return volumes[0]
    grid = volumes[0].geometry
    arrays = [_on_grid(volume, grid, path) for volume, path in zip(volumes, chosen, strict=True)]
    return Volume(np.concatenate(arrays), grid)


def _read_channel(path: Path) -> Volume:
    raster = read_raster(path, as_float=True)
    if len(raster.array) > MAX_VECTOR:
        raise frames_error(path, len(raster.array))
    try:
        return Volume(raster.array, raster.geometry)
    except ImageError as error:
        raise ImageError(error.rule, received=f"{error.received} in {path}", remedy=error.remedy) from error


def _on_grid(volume: Volume, grid: Geometry, path: Path) -> FloatArray:
    if volume.geometry.matches(grid):
        return volume.array
    reference = image_of(np.empty(grid.shape, dtype=np.uint8), grid)
    result = np.empty((len(volume.array), *grid.shape), dtype=np.float32)
    for channel, out in zip(volume.array, result, strict=True):
        moving = image_of(channel, volume.geometry)
        outside = float(channel.min())
        # By name: a view does not keep its image alive.
        resampled = sitk.Resample(moving, reference, sitk.Transform(), sitk.sitkLinear, outside)
        out[...] = sitk.GetArrayViewFromImage(resampled)
        if out.max() == outside < channel.max():
            raise ImageError(
                "The channels of an image must overlap",
                received=f"{path} lies outside the first channel",
                remedy="Register the channels first, or check that all are of one patient",
            )
    return result
