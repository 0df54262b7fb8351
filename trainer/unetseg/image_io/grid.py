"""SimpleITK images ↔ arrays with geometry: the one place where (x, y, z) and (D, H, W) meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..volume import Geometry


def geometry_of(image: sitk.Image) -> Geometry:
    """The geometry of a 2D or 3D image.

    A 2D image is a volume of one slice, as thick as its pixels are wide, in the plane z = 0.
    Raises ``ImageError`` for an empty or sheared grid.
    """
    axes = image.GetDimension()
    size, spacing, origin = list(image.GetSize()), list(image.GetSpacing()), list(image.GetOrigin())
    direction = np.eye(3)
    direction[:axes, :axes] = np.reshape(image.GetDirection(), (axes, axes))
    if axes == 2:
        size, spacing, origin = [*size, 1], [*spacing, max(spacing)], [*origin, 0.0]
    x, y, z = ((float(row[2]), float(row[1]), float(row[0])) for row in direction)
    return Geometry(
        shape=(size[2], size[1], size[0]),
        spacing_mm=(spacing[2], spacing[1], spacing[0]),
        origin_mm=(origin[0], origin[1], origin[2]),
        direction=(x, y, z),
    )


def image_of(array: NDArray[Any], geometry: Geometry) -> sitk.Image:
    """A 3D image of an array (D, H, W), or of vectors from (K, D, H, W), on this geometry. The array is copied."""
    is_vector = array.ndim == 4
    image = sitk.GetImageFromArray(np.moveaxis(array, 0, -1) if is_vector else array, isVector=is_vector)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(np.asarray(geometry.direction)[:, ::-1].ravel().tolist())
    return image
