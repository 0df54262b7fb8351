"""Images that carry their geometry.

Every array in this package is ordered (D, H, W): slice, row, column, the order in which SimpleITK and
Slicer hand out numpy arrays. ``Geometry`` uses the same order for shape, spacing and axis directions, and
LPS millimetres (DICOM, ITK) for positions. ``image_io`` and Slicer's adapter are the only places that
know any other order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError

UNLABELLED = 255
"""The value in an annotation of a voxel that nobody labelled; it weighs nothing. It is not background."""

FloatArray = NDArray[np.float32]
LabelArray = NDArray[np.uint8]
Shape = tuple[int, int, int]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """Where a voxel grid lies in the patient.

    Attributes:
        shape: voxels along D, H, W; each at least 1.
        spacing_mm: distance between voxel centres along D, H, W; positive.
        origin_mm: LPS position of the centre of voxel (0, 0, 0).
        direction: 3 × 3, row-major; column *a* is the LPS unit vector in which index *a* (D, H, W) grows.
            Orthogonal; left-handed grids are allowed.
    """

    shape: Shape
    spacing_mm: Vector = (1.0, 1.0, 1.0)
    origin_mm: Vector = (0.0, 0.0, 0.0)
    direction: tuple[Vector, Vector, Vector] = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ImageError("An image needs at least one voxel along each of its three axes", received=self.shape)
        spacing = np.asarray(self.spacing_mm, dtype=float)
        if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
            raise ImageError(
                "The spacing must be three positive numbers in millimetres",
                received=self.spacing_mm,
                remedy="Correct the spacing in the file's header",
            )
        if not np.isfinite(np.asarray(self.origin_mm, dtype=float)).all():
            raise ImageError("The origin must be finite", received=self.origin_mm)
        axes = np.asarray(self.direction, dtype=float)
        if axes.shape != (3, 3) or not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
            raise ImageError(
                "The image axes must be orthogonal unit vectors",
                received=f"direction {np.round(axes, 4).tolist()}",
                remedy="Resample a sheared (gantry-tilted) image to a rectangular grid first",
            )

    def __str__(self) -> str:
        """For error messages, rounded."""
        spacing, origin, *direction = (
            tuple(round(x, 4) for x in values) for values in (self.spacing_mm, self.origin_mm, *self.direction)
        )
        return f"shape {self.shape}, spacing {spacing} mm, origin {origin} mm, direction {tuple(direction)}"

    @property
    def voxel_volume_mm3(self) -> float:
        return float(np.prod(self.spacing_mm))

    @property
    def index_to_world(self) -> NDArray[np.float64]:
        """4 × 4 matrix from homogeneous (d, h, w, 1) indices to LPS millimetres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction, dtype=float) * np.asarray(self.spacing_mm, dtype=float)
        matrix[:3, 3] = self.origin_mm
        return matrix

    def matches(self, other: Geometry, *, tolerance_voxel: float = 0.1) -> bool:
        """True where both grids have the same shape and no corner voxel is off by more than the tolerance.

        Spacings rounded in a header add up over hundreds of voxels: 0.4883 for 0.48828125 mm to 0.03 voxels.
        """
        if self.shape != other.shape:
            return False
        last = np.asarray(self.shape) - 1
        corners = np.array([[d, h, w, 1] for d in (0, last[0]) for h in (0, last[1]) for w in (0, last[2])], float).T
        gap = (self.index_to_world @ corners - other.index_to_world @ corners)[:3]
        return bool(np.linalg.norm(gap, axis=0).max() <= tolerance_voxel * min(self.spacing_mm))

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Geometry:
        """The grid of the box of ``shape`` voxels that begins at index ``start`` (which may lie outside)."""
        origin = self.index_to_world @ np.array([*start, 1.0])
        return replace(self, shape=_ints(shape), origin_mm=_floats(origin[:3]))

    def with_spacing(self, spacing_mm: Sequence[float]) -> Geometry:
        """The grid of another spacing over the same extent: the outer *faces* of the first voxels coincide.

        The shape is rounded, at least 1, so that the far faces coincide to within half a new voxel.
        """
        new = np.asarray(spacing_mm, dtype=float)
        old = np.asarray(self.spacing_mm, dtype=float)
        shape = np.maximum(1, np.round(np.asarray(self.shape) * old / new)).astype(int)
        shift = (new - old) / 2 / old
        origin = self.index_to_world @ np.array([*shift, 1.0])
        return replace(self, shape=_ints(shape), spacing_mm=_floats(new), origin_mm=_floats(origin[:3]))


@dataclass(frozen=True, eq=False)
class Volume:
    """An image with one or more channels on one grid.

    Attributes:
        array: float32, (C, D, H, W), finite, in the file's own units (HU for CT).
        geometry: of (D, H, W).
    """

    array: FloatArray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[0] < 1 or self.array.shape[1:] != self.geometry.shape:
            raise ImageError(
                f"A volume is an array (C, D, H, W) on its geometry's grid {self.geometry.shape}",
                received=f"shape {self.array.shape}",
            )
        if self.array.dtype != np.float32:
            raise ImageError("A volume's array must be float32", received=self.array.dtype)
        if not np.isfinite(self.array).all():
            raise ImageError(
                "An image must not contain NaN or infinite values",
                received=f"{np.count_nonzero(~np.isfinite(self.array))} such voxels",
                remedy="Replace them, for example by the value of air, before segmenting",
            )


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One label value per voxel; in an annotation, ``UNLABELLED`` (255) marks voxels that nobody labelled.

    Attributes:
        array: uint8, (D, H, W); 0 is background.
        geometry: of (D, H, W).
    """

    array: LabelArray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise ImageError(
                f"A label map is an array on its geometry's grid {self.geometry.shape}",
                received=f"shape {self.array.shape}",
            )
        if self.array.dtype != np.uint8:
            raise ImageError("A label map's array must be uint8", received=self.array.dtype)


def _ints(values: Sequence[float] | NDArray[np.generic]) -> Shape:
    d, h, w = (int(value) for value in values)
    return d, h, w


def _floats(values: Sequence[float] | NDArray[np.generic]) -> Vector:
    d, h, w = (float(value) for value in values)
    return d, h, w
