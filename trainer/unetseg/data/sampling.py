"""Where training patches are taken: on labelled voxels, balanced over the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..volume import UNLABELLED, LabelArray, Shape
from .annotations import PreparedCase

MAX_VOXELS_PER_CLASS = 20_000
"""Positions kept per class and case; a dense case has millions, which would not make better patches."""

BACKGROUND_SHARE = 0.5
"""How often a class-balanced sample shows background, relative to each foreground class."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledVoxels:
    """The labelled voxels of one case, from which the centres of its patches are drawn.

    Attributes:
        shape: (d, h, w) of the case.
        counts: labelled voxels of each class that occurs.
        of_class: flat indices per class that occurs, sorted; a random subset of ``MAX_VOXELS_PER_CLASS``.
        edited: the same for labelled voxels that the user changed; may be empty.
        balanced_shares: chance of each class that occurs in a class-balanced draw.
    """

    shape: Shape
    counts: NDArray[np.int64]
    of_class: tuple[Indices, ...]
    edited: Indices
    balanced_shares: NDArray[np.float64]

    def draw_balanced(self, generator: np.random.Generator) -> Shape:
        """A voxel of a class drawn uniformly among those that occur, background at a lower share."""
        return self._voxel(generator, self.of_class[generator.choice(len(self.of_class), p=self.balanced_shares)])

    def draw_any(self, generator: np.random.Generator) -> Shape:
        """Any labelled voxel with equal chance; where the user changed some, one of those half of the time."""
        if len(self.edited) and generator.random() < 0.5:
            return self._voxel(generator, self.edited)
        return self._voxel(
            generator, self.of_class[generator.choice(len(self.of_class), p=self.counts / self.counts.sum())]
        )

    def _voxel(self, generator: np.random.Generator, indices: Indices) -> Shape:
        d, h, w = np.unravel_index(indices[generator.integers(len(indices))], self.shape)
        return int(d), int(h), int(w)


def find_labelled_voxels(case: PreparedCase, *, classes: int) -> LabelledVoxels:
    """Scan one case; it must have at least one labelled voxel. The same case always gives the same subsets."""
    generator = np.random.default_rng(0)
    flat = case.annotation.reshape(-1)
    counts = np.array([np.count_nonzero(flat == value) for value in range(classes)])
    present = np.flatnonzero(counts)
    edited: NDArray[np.bool_] = (
        np.zeros(0, dtype=bool) if case.edited is None else case.edited.reshape(-1) & (flat != UNLABELLED)
    )
    shares = np.where(present == 0, BACKGROUND_SHARE, 1.0)
    return LabelledVoxels(
        shape=_shape(case.annotation),
        counts=counts[present],
        of_class=tuple(_subset(flat == value, generator) for value in present),
        edited=_subset(edited, generator),
        balanced_shares=shares / shares.sum(),
    )


def _subset(mask: NDArray[np.bool_], generator: np.random.Generator) -> Indices:
    indices = np.flatnonzero(mask)
    if len(indices) <= MAX_VOXELS_PER_CLASS:
        return indices
    return np.sort(generator.choice(indices, MAX_VOXELS_PER_CLASS, replace=False, shuffle=False))


def _shape(annotation: LabelArray) -> Shape:
    d, h, w = annotation.shape
    return d, h, w


def place_patch(
    generator: np.random.Generator, *, voxel: Shape, shape: Shape, patch_size: Shape, free_axis: int | None
) -> Shape:
    """Where in the patch the ``voxel`` of an image of ``shape`` comes to lie.

    It is off the patch's centre by up to a third of the patch along each axis. The patch is then moved into the
    image; where it is larger than the image, the whole image lies in it.

    Along ``free_axis``, the one across a labelled plane, the voxel comes to lie anywhere in the patch, which may
    reach beyond the image. Otherwise, in images not much larger than the patch, the planes would always lie at the
    same distance from the patch's borders, which a network sees by its zero padding: it could learn where labels
    are given instead of what is there.

    Returns:
        The voxel's index in the patch, 0 … patch_size - 1 per axis.
    """
    d, h, w = (
        int(generator.integers(patch_size[axis]))
        if axis == free_axis
        else _place_along(generator, voxel=voxel[axis], size=shape[axis], patch_size=patch_size[axis])
        for axis in range(3)
    )
    return d, h, w


def _place_along(generator: np.random.Generator, *, voxel: int, size: int, patch_size: int) -> int:
    jitter = patch_size // 3
    start = voxel - patch_size // 2 + int(generator.integers(-jitter, jitter + 1))
    room = size - patch_size
    return voxel - min(max(start, min(0, room)), max(0, room))
