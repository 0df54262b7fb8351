"""Arrays with their geometry as ``.npz`` files: what the two processes hand each other.

Needs numpy alone, so that the Slicer side can share this file. Nothing in it is ever unpickled. Reading and
writing are generators that move a few megabytes a step, for a window that must not stand still meanwhile.
"""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import FileAccessError, ImageError
from .files import atomic_path
from .volume import Geometry, Vector

STEP_BYTES = 4 * 2**20
"""Moved between two yields: a few milliseconds of copying and of checksum."""

NUMBERS = "biufc"
"""Kinds of dtype: bool, int, unsigned int, float, complex."""

Result = TypeVar("Result")


def exhaust(steps: Generator[Any, None, Result]) -> Result:
    """Run a generator to its end; returns what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            result: Result = finished.value
            return result


def save_array(path: Path, array: NDArray[Any], geometry: Geometry) -> None:
    """Write an array (…, D, H, W) and its geometry, uncompressed and atomically; the dtype is kept.

    Raises:
        ImageError: the array does not lie on the geometry's grid, or holds no numbers.
        FileAccessError: the file cannot be written.
    """
    exhaust(save_array_in_steps(path, array, geometry))


def save_array_in_steps(path: Path, array: NDArray[Any], geometry: Geometry) -> Generator[None, None, None]:
    """As ``save_array``, at most ``STEP_BYTES`` between two yields. Closed early, it leaves no trace.

    The array must stay as it is until the end.
    """
    _check_array(array, geometry.shape)
    vectors = {"spacing_mm": geometry.spacing_mm, "origin_mm": geometry.origin_mm, "direction": geometry.direction}
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, values in vectors.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
            with archive.open("array.npy", "w", force_zip64=True) as member:
                for _ in _write(member, array):
                    yield
                    # Else all of it would wait for the disk at once, at the end.
                    file.flush()
                    os.fsync(file.fileno())
    except OSError as error:
        raise FileAccessError("The file must be writable", received=f"{path}: {error.strerror}") from error


def load_array(path: Path) -> tuple[NDArray[Any], Geometry]:
    """Read what ``save_array`` wrote. Raises ``ImageError`` for a file that is missing or something else."""
    return exhaust(load_array_in_steps(path))


def load_array_in_steps(path: Path) -> Generator[None, None, tuple[NDArray[Any], Geometry]]:
    """As ``load_array``, at most ``STEP_BYTES`` between two yields."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("array.npy") as member:
            shape, fortran_order, dtype = _read_header(member)
            if member.tell() + math.prod(shape) * dtype.itemsize != archive.getinfo("array.npy").file_size:
                raise ValueError(f"not the bytes of an array of {shape}")
            d, h, w = shape[-3:]
            spacing, origin, *direction = (
                _vector(values)
                for name in ("spacing_mm", "origin_mm", "direction")
                for values in np.atleast_2d(_read_small(archive, name))
            )
            first, second, third = direction
            geometry = Geometry((d, h, w), spacing, origin, (first, second, third))
            array = np.empty(shape[::-1] if fortran_order else shape, dtype)
            yield from _read_into(member, array)
    except _DAMAGED as error:
        raise ImageError("The file must be an array with its geometry (.npz)", received=f"{path}: {error}") from error
    return (array.T if fortran_order else array), geometry


_DAMAGED = (
    *(OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile, zlib.error),
    RuntimeError,  # zipfile's for an encrypted or unknown kind of member
    *(SyntaxError, tokenize.TokenError),  # numpy's for a header that is no Python literal
)


def _write(member: IO[bytes], array: NDArray[Any]) -> Generator[None, None, None]:
    """The array in C order in numpy's own format, a step at a time; never as a whole copy."""
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(member, header)
    parts = np.nditer(array, flags=["external_loop", "buffered"], buffersize=STEP_BYTES // array.itemsize, order="C")
    for part in parts:
        member.write(np.asarray(part).tobytes())
        yield


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError("an array of another version of numpy's format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.kind not in NUMBERS:
        raise ValueError(f"an array of {dtype}")
    return shape, fortran_order, dtype


def _read_small(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        values: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return values


def _read_into(member: IO[bytes], array: NDArray[Any]) -> Generator[None, None, None]:
    content = array.reshape(-1).view(np.uint8)
    for start in range(0, len(content), STEP_BYTES):
        part = content[start : start + STEP_BYTES]
        part[:] = np.frombuffer(member.read(len(part)), dtype=np.uint8)
        yield


def _vector(values: NDArray[Any]) -> Vector:
    d, h, w = (float(value) for value in values)
    return d, h, w


def _check_array(array: NDArray[Any], shape: tuple[int, int, int]) -> None:
    if array.shape[-3:] != shape:
        raise ImageError(f"The array must lie on its geometry's grid {shape}", received=f"shape {array.shape}")
    if array.dtype.kind not in NUMBERS:
        raise ImageError("The array must hold numbers", received=array.dtype)
