"""The way of a volume to the network, and what is needed to bring results back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Plan
from ..volume import FloatArray, Geometry, Volume
from .normalise import normalise
from .orient import Reorientation
from .resample import network_grid, positions, resample_image


@dataclass(frozen=True, eq=False)
class Prepared:
    """A volume on the network's grid.

    Attributes:
        image: float32, (C, d, h, w), normalised.
        geometry: of (d, h, w).
        source: of the volume it was made from.
    """

    image: FloatArray
    geometry: Geometry
    source: Geometry


@dataclass(frozen=True, eq=False)
class AxisMapping:
    """Where the voxels of the source lie on the network's grid, axis by axis.

    Three grids: the *source* (D, H, W), the *oriented* one, whose voxels are the source's, turned exactly, and
    the *prepared* one (d, h, w), which has the oriented one's axes and the network's spacing. A result on the
    prepared grid goes back by linear interpolation at ``positions`` (trilinear is the product of the three axes)
    and then ``reorient_back``:

        low = floor(positions[a]); high = min(low + 1, n - 1); t = positions[a] - low
        oriented[i] = (1 - t[i]) * prepared[low[i]] + t[i] * prepared[high[i]]      along each axis a

    Attributes:
        reorientation: from the source to the oriented grid.
        positions: per axis a of the prepared grid, float64 (oriented size,): the index on the prepared grid, of n
            voxels, of each oriented index. Rising, and clipped to [0, n - 1]: beyond the outermost centres the
            result continues unchanged.
    """

    reorientation: Reorientation
    positions: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    @property
    def is_identity(self) -> bool:
        """True where the prepared grid is the oriented one, so that nothing is interpolated."""
        return all(np.array_equal(axis, np.arange(len(axis))) for axis in self.positions)

    @property
    def oriented_shape(self) -> tuple[int, int, int]:
        d, h, w = (len(axis) for axis in self.positions)
        return d, h, w


def preprocess(volume: Volume, plan: Plan) -> Prepared:
    """Turn, resample and normalise a volume as the plan says; the volume is not changed.

    Raises ``ImageError`` where the channels do not fit the plan or the grid would become too large.
    """
    reorientation = Reorientation.towards(volume.geometry, plan.orientation)
    oriented = reorientation.apply_geometry(volume.geometry)
    grid = network_grid(oriented, plan.spacing_mm)
    turned = np.ascontiguousarray(reorientation.apply(volume.array))
    image = normalise(resample_image(turned, oriented, grid), plan.normalisation)
    return Prepared(image=image, geometry=grid, source=volume.geometry)


def axis_mapping(prepared: Prepared) -> AxisMapping:
    """How source and prepared grid of a preprocessed volume lie to each other."""
    reorientation = Reorientation.between(prepared.source, prepared.geometry)
    oriented = reorientation.apply_geometry(prepared.source)
    d, h, w = (
        np.clip(positions(count, own, new), 0, size - 1)
        for count, own, new, size in zip(
            oriented.shape, oriented.spacing_mm, prepared.geometry.spacing_mm, prepared.geometry.shape, strict=True
        )
    )
    return AxisMapping(reorientation, (d, h, w))


def reorient_back(array: NDArray[Any], prepared: Prepared) -> NDArray[Any]:
    """A result on the oriented grid (…, d', h', w') on the source's own grid (…, D, H, W), contiguous and exact."""
    return np.ascontiguousarray(Reorientation.between(prepared.source, prepared.geometry).invert(array))
