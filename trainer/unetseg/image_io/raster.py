"""Whatever lies on disk, as arrays (C, D, H, W): files, folders of slices, DICOM series."""

from __future__ import annotations

import contextlib
import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..array_file import load_array
from ..errors import ImageError
from ..volume import Geometry
from .dicom import series_files
from .grid import geometry_of

SLICE_ENDINGS = (".png", ".tif", ".tiff")
READABLE = "NIfTI, NRRD, MetaImage, TIFF, PNG, DICOM or .npz"


@dataclass(frozen=True, eq=False)
class Raster:
    """What a file holds.

    Attributes:
        array: (C, D, H, W), in the file's own type, or float32 where that was asked for.
        metadata: of the file's header, as SimpleITK names it; empty for folders and ``.npz``.
    """

    array: NDArray[Any]
    geometry: Geometry
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_raster(path: Path, *, as_float: bool) -> Raster:
    """Read a file, a folder of PNG or TIFF slices (in natural order of their names), or a DICOM series folder.

    Vector pixels (RGB, layers) become channels; further axes of one entry are dropped.
    Raises ``ImageError`` for what cannot be read, and for 4D images.
    """
    if not path.exists():
        raise ImageError("The image must exist", received=path)
    if path.suffix.lower() == ".npz":
        array, geometry = load_array(path)
        array = array.astype(np.float32) if as_float else array
        return Raster(array.reshape(-1, *geometry.shape), geometry)
    with silent():
        return _read_folder(path, as_float) if path.is_dir() else _read_file(path, as_float)


def read_metadata(path: Path) -> Mapping[str, str]:
    """The fields of a file's header, as SimpleITK names them. Raises ``ImageError`` where it cannot be read."""
    with silent():
        return _metadata(_header(path))


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without ITK's warnings, which go straight to the terminal: what matters is raised here instead."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _read_folder(folder: Path, as_float: bool) -> Raster:
    files = series_files(folder)
    if files:
        return _read_series(folder, files, as_float)
    slices = sorted((p for p in folder.iterdir() if p.suffix.lower() in SLICE_ENDINGS), key=_natural)
    if not slices:
        raise ImageError("A folder must hold one DICOM series, or slices as PNG or TIFF", received=folder)
    rasters = [_read_file(path, as_float) for path in slices]
    for path, raster in zip(slices, rasters, strict=True):
        if raster.array.shape != rasters[0].array.shape or raster.geometry.shape[0] != 1:
            raise ImageError(
                "All slices in a folder must be single images of one size",
                received=f"{path.name} with shape {raster.array.shape}, {slices[0].name} with {rasters[0].array.shape}",
                remedy="Keep other images in another folder",
            )
    geometry = rasters[0].geometry
    return Raster(
        np.concatenate([raster.array for raster in rasters], axis=1),
        geometry.cropped((0, 0, 0), (len(slices), *geometry.shape[1:])),
    )


def _read_series(folder: Path, files: list[str], as_float: bool) -> Raster:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    if as_float:
        components = _header(Path(files[0])).GetNumberOfComponents()
        reader.SetOutputPixelType(sitk.sitkVectorFloat32 if components > 1 else sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(folder) from error
    return Raster(_channels(image), geometry_of(image))


def _read_file(path: Path, as_float: bool) -> Raster:
    reader = _header(path)
    size = reader.GetSize()
    if math.prod(size) == 0:
        raise ImageError("An image needs at least one voxel along each axis", received=f"{size} in {path}")
    if math.prod(size[3:]) > 1:
        raise frames_error(path, math.prod(size[3:]))
    check_nifti_is_complete(path)
    if len(size) > 3:
        reader.SetExtractSize([*size[:3], *(0 for _ in size[3:])])
    if as_float:
        reader.SetOutputPixelType(sitk.sitkVectorFloat32 if reader.GetNumberOfComponents() > 1 else sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path) from error
    return Raster(_channels(image), geometry_of(image), _metadata(reader))


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise ImageError(
                "The image axes must be perpendicular",
                received=f"a sheared or scaled grid (gantry tilt?) in {path}",
                remedy="Resample the image to a rectangular grid first, for example in Slicer",
            ) from error
        raise _unreadable(path) from error
    return reader


def _metadata(reader: sitk.ImageFileReader) -> Mapping[str, str]:
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def _channels(image: sitk.Image) -> NDArray[Any]:
    array: NDArray[Any] = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    else:
        array = array[np.newaxis]
    return array[:, np.newaxis] if image.GetDimension() == 2 else array


def check_nifti_is_complete(path: Path) -> None:
    """Raises ``ImageError`` for a NIfTI file that is cut off; passes any other.

    ITK fills what is missing with whatever lies in memory, and writes to a full disk, both without a word.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    reader = _header(path)
    sizes = [int(reader.GetMetaData(f"dim[{axis}]")) for axis in range(1, int(reader.GetMetaData("dim[0]")) + 1)]
    needed = float(reader.GetMetaData("vox_offset")) + math.prod(sizes) * int(reader.GetMetaData("bitpix")) / 8
    try:
        complete = _uncompressed_bytes(path) >= needed
    except (EOFError, OSError, zlib.error) as error:
        raise _unreadable(path) from error
    if not complete:
        raise _unreadable(path)


def _uncompressed_bytes(path: Path) -> int:
    if path.suffix.lower() != ".gz":
        return path.stat().st_size
    with gzip.open(path) as file:
        return sum(len(chunk) for chunk in iter(lambda: file.read(1 << 20), b""))


def frames_error(path: Path, frames: int) -> ImageError:
    """A 4D image."""
    return ImageError(
        "An image must have three axes; choose a frame of a 4D image",
        received=f"{frames} frames in {path}",
        remedy="Save one frame as a file of its own",
    )


def _unreadable(path: Path) -> ImageError:
    return ImageError(f"The image must be a whole, undamaged {READABLE} file", received=path)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key in which slice_2 comes before slice_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path.name) if part]
