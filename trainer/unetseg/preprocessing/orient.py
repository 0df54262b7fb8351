"""Turning arrays so that anatomy lies the same way in all of them: permutations and flips, exact both ways."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Orientation
from ..volume import Geometry

CANONICAL_AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Column *a* is the LPS direction of canonical axis *a*: superior, posterior, left."""

SPACING_TOLERANCE = 0.01
"""Spacings closer than this fraction count as equal when the thickest axis is sought: headers are rounded."""


def thickest_axis(shape: Sequence[int], spacing_mm: Sequence[float]) -> int:
    """The first axis of the largest spacing.

    An axis of one voxel counts as thicker than any other: a single slice is a slice whatever its header says.
    """
    thickness = [spacing if size > 1 else math.inf for size, spacing in zip(shape, spacing_mm, strict=True)]
    return next(axis for axis in range(3) if thickness[axis] >= max(thickness) * (1 - SPACING_TOLERANCE))


@dataclass(frozen=True)
class Reorientation:
    """A permutation and flips of the last three axes.

    Attributes:
        axes: ``axes[a]`` is the source axis that becomes axis *a*.
        flips: ``flips[a]`` tells that axis *a* then runs the other way.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def towards(cls, geometry: Geometry, orientation: Orientation) -> Reorientation:
        """How an image on ``geometry`` is turned by a plan of this orientation (see ``config.Plan``).

        Each canonical axis takes the image axis that points most along it. For ``thickest_first``, the
        ``thickest_axis`` then goes to the front.
        """
        cosines = CANONICAL_AXES.T @ np.asarray(geometry.direction, dtype=float)
        axes = max(itertools.permutations(range(3)), key=lambda axes: np.abs(cosines[range(3), axes]).sum())
        order = [0, 1, 2]
        if orientation == "thickest_first":
            thickest = thickest_axis([geometry.shape[a] for a in axes], [geometry.spacing_mm[a] for a in axes])
            order.sort(key=lambda a: a != thickest)
        d, h, w = ((axes[a], bool(cosines[a, axes[a]] < 0)) for a in order)
        return cls((d[0], h[0], w[0]), (d[1], h[1], w[1]))

    @classmethod
    def between(cls, source: Geometry, turned: Geometry) -> Reorientation:
        """The one that turns ``source`` to axes parallel to those of ``turned``, which came from it."""
        cosines = np.asarray(source.direction, dtype=float).T @ np.asarray(turned.direction, dtype=float)
        d, h, w = (int(axis) for axis in np.abs(cosines).argmax(axis=0))
        return cls((d, h, w), (bool(cosines[d, 0] < 0), bool(cosines[h, 1] < 0), bool(cosines[w, 2] < 0)))

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of ``array`` (…, D, H, W) as (…, d, h, w)."""
        return np.flip(np.moveaxis(array, [axis - 3 for axis in self.axes], (-3, -2, -1)), self._flipped)

    def invert(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of ``array`` (…, d, h, w) as (…, D, H, W): undoes ``apply``."""
        return np.moveaxis(np.flip(array, self._flipped), (-3, -2, -1), [axis - 3 for axis in self.axes])

    def apply_geometry(self, geometry: Geometry) -> Geometry:
        """The geometry of what ``apply`` returns: every voxel keeps its place in the patient."""
        d, h, w = self.axes
        signs = np.where(self.flips, -1.0, 1.0)
        columns = np.asarray(geometry.direction, dtype=float)[:, self.axes] * signs
        corner = [0.0, 0.0, 0.0]
        for axis, flipped in zip(self.axes, self.flips, strict=True):
            corner[axis] = geometry.shape[axis] - 1.0 if flipped else 0.0
        x, y, z = (float(value) for value in (geometry.index_to_world @ [*corner, 1.0])[:3])
        rows = tuple((float(row[0]), float(row[1]), float(row[2])) for row in columns)
        return replace(
            geometry,
            shape=(geometry.shape[d], geometry.shape[h], geometry.shape[w]),
            spacing_mm=(geometry.spacing_mm[d], geometry.spacing_mm[h], geometry.spacing_mm[w]),
            origin_mm=(x, y, z),
            direction=(rows[0], rows[1], rows[2]),
        )

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis - 3 for axis in range(3) if self.flips[axis])
