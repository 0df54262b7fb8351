"""Writing images and label maps, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..array_file import save_array
from ..config import Label
from ..errors import FileAccessError, ImageError
from ..files import atomic_path
from ..volume import Geometry, LabelMap
from .grid import image_of
from .raster import check_nifti_is_complete, silent
from .segmentations import SEGMENTATION_ENDING, segmentation_metadata

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".tif", ".tiff", ".png", ".npz")
"""Endings of the files that can be written."""


def write_label_map(path: Path, label_map: LabelMap, labels: Sequence[Label] = ()) -> None:
    """Write a label map; a ``.seg.nrrd`` also carries the names, colours and terminology of ``labels``.

    See ``write_image`` for formats and errors.
    """
    is_segmentation = path.name.lower().endswith(SEGMENTATION_ENDING)
    metadata = segmentation_metadata(labels, label_map.geometry) if is_segmentation else {}
    _write(path, label_map.array, label_map.geometry, metadata)


def write_image(path: Path, array: NDArray[Any], geometry: Geometry) -> None:
    """Write an array (D, H, W), or (K, D, H, W) as an image of K-vectors, compressed and atomically.

    The name's ending chooses the format: NIfTI, NRRD, MetaImage (``.mha``), TIFF, PNG (one slice), ``.npz``.
    TIFF and PNG keep no position; NIfTI keeps the geometry in float32. bool is written as 0 and 1.

    Raises:
        ImageError: the array does not lie on the grid, or the format cannot hold it.
        FileAccessError: the file cannot be written.
    """
    _write(path, array, geometry, {})


def _write(path: Path, array: NDArray[Any], geometry: Geometry, metadata: dict[str, str]) -> None:
    ending = next((ending for ending in WRITABLE if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise ImageError(f"An image is written as one of {', '.join(WRITABLE)}", received=path.name)
    if array.shape[-3:] != geometry.shape or array.ndim not in (3, 4):
        raise ImageError(f"The array must lie on its geometry's grid {geometry.shape}", received=f"shape {array.shape}")
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    if ending == ".npz":
        return save_array(path, array, geometry)
    image = image_of(array, geometry)
    if ending == ".png":
        image = _single_slice(path, image)
    for key, value in metadata.items():
        image.SetMetaData(key, value)
    try:
        with atomic_path(path) as temporary, silent():
            sitk.WriteImage(image, str(temporary), useCompression=True)
            check_nifti_is_complete(temporary)
    except (RuntimeError, OSError, ImageError) as error:
        raise FileAccessError(
            "The file must be writable",
            received=path,
            remedy="Check that its folder exists, may be written to and has space, "
            f"and that the format can hold {array.dtype}",
        ) from error


def _single_slice(path: Path, image: sitk.Image) -> sitk.Image:
    if image.GetDepth() != 1:
        raise ImageError(
            "A PNG file holds a single slice",
            received=f"{image.GetDepth()} slices for {path.name}",
            remedy="Write a .nii.gz, .nrrd or .tif file",
        )
    plane: sitk.Image = image[:, :, 0]
    return plane
