"""Arrays with their geometry as ``.npz`` files: what the two processes hand each other.

Needs numpy alone, so that the Slicer side can share this file. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FileAccessError, ImageError
from .files import atomic_path
from .volume import Geometry, Vector


def save_array(path: Path, array: NDArray[Any], geometry: Geometry) -> None:
    """Write an array (…, D, H, W) and its geometry, uncompressed and atomically.

    Raises:
        ImageError: the array does not lie on the geometry's grid.
        FileAccessError: the file cannot be written.
    """
    _check_shape(array, geometry.shape)
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                array=array,
                spacing_mm=np.asarray(geometry.spacing_mm),
                origin_mm=np.asarray(geometry.origin_mm),
                direction=np.asarray(geometry.direction),
            )
    except OSError as error:
        raise FileAccessError("The file must be writable", received=f"{path}: {error.strerror}") from error


def load_array(path: Path) -> tuple[NDArray[Any], Geometry]:
    """Read what ``save_array`` wrote. Raises ``ImageError`` for a file that is missing or something else."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            array, spacing, origin = file["array"], _vector(file["spacing_mm"]), _vector(file["origin_mm"])
            first, second, third = (_vector(row) for row in file["direction"])
            d, h, w = array.shape[-3:]
    except (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ImageError("The file must be an array with its geometry (.npz)", received=f"{path}: {error}") from error
    return array, Geometry((d, h, w), spacing, origin, (first, second, third))


def _vector(values: NDArray[Any]) -> Vector:
    d, h, w = (float(value) for value in values)
    return d, h, w


def _check_shape(array: NDArray[Any], shape: tuple[int, int, int]) -> None:
    if array.shape[-3:] != shape:
        raise ImageError(f"The array must lie on its geometry's grid {shape}", received=f"shape {array.shape}")
