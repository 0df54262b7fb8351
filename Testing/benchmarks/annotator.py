"""The simulated radiologist: looks at a few slices and labels all of each one from the truth.

Which slices is decided without a look at where the network errs, as a user could not know that beforehand: evenly
strided through a structure's extent. The figure reported afterwards is the Dice on the slices that were never shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetseg.data import Slice, keep_slices
from unetseg.data.annotations import labelled_structures
from unetseg.errors import ImageError, SettingsError
from unetseg.metrics import dice_per_class
from unetseg.volume import UNLABELLED, LabelArray, LabelMap


@dataclass(frozen=True, eq=False)
class Correction:
    """What the annotator hands over.

    Attributes:
        slices: those shown.
        annotation: the truth on these slices, background included; 255 elsewhere.
        edited: bool, (D, H, W); the voxels of these slices where the prediction was wrong.
    """

    slices: tuple[Slice, ...]
    annotation: LabelMap
    edited: NDArray[np.bool_]


def strided_slices(label_map: LabelMap, *, axis: int, count: int) -> tuple[Slice, ...]:
    """``count`` slices across ``axis``, evenly spread over the extent of the foreground of ``label_map``.

    Each lies in the middle of one of ``count`` equal parts, so that none touches only the end of a structure. In an
    extent of fewer slices there are all of these. Raises ``SettingsError`` without foreground.
    """
    first, last = foreground_extent(label_map.array, axis)
    extent = last + 1 - first
    count = min(count, extent)
    return tuple((axis, first + (2 * part + 1) * extent // (2 * count)) for part in range(count))


def orthogonal_slices(label_map: LabelMap, counts: tuple[int, int, int]) -> tuple[Slice, ...]:
    """Strided slices across D, H and W; (2, 2, 1) are two, two and one (Çiçek 2016, table 2)."""
    return tuple(
        one for axis, count in enumerate(counts) if count for one in strided_slices(label_map, axis=axis, count=count)
    )


def growing_rounds(
    label_map: LabelMap, *, axis: int, counts: Sequence[int] = (1, 3, 5)
) -> tuple[tuple[Slice, ...], ...]:
    """Slices of each round of corrections; a round keeps all slices of the one before it and adds to them.

    Each new slice is the one of the foreground's extent farthest from those chosen and from the extent's ends: the
    middle first, then the middles of the gaps. ``counts`` ascend; an extent of fewer slices ends the growth.
    """
    first, last = foreground_extent(label_map.array, axis)
    taken: list[int] = []
    while len(taken) < min(max(counts), last + 1 - first):
        taken.append(_farthest_from(first - 1, last + 1, taken))
    return tuple(tuple((axis, index) for index in sorted(taken[:count])) for count in counts)


def correct(truth: LabelMap, prediction: LabelMap, slices: Sequence[Slice]) -> Correction:
    """Label every voxel of the ``slices`` with the truth. Raises ``ImageError`` where the grids differ."""
    if not truth.geometry.matches(prediction.geometry):
        raise ImageError(
            "The truth and the prediction must lie on the same grid",
            received=f"{truth.geometry} and {prediction.geometry}",
        )
    shown = shown_voxels(truth.array.shape, slices)
    return Correction(tuple(slices), keep_slices(truth, slices), shown & (truth.array != prediction.array))


def untouched_dice(
    prediction: LabelMap, truth: LabelMap, slices: Sequence[Slice], classes: int
) -> tuple[float | None, ...]:
    """Dice of the classes 1 … ``classes`` - 1 on the voxels of no shown slice; None where a class is in neither."""
    shown = shown_voxels(truth.array.shape, slices)
    return dice_per_class(prediction.array, np.where(shown, UNLABELLED, truth.array).astype(np.uint8), classes)


def shown_voxels(shape: Sequence[int], slices: Sequence[Slice]) -> NDArray[np.bool_]:
    """True at the voxels of the given slices."""
    shown = np.zeros(tuple(shape), dtype=bool)
    for axis, index in slices:
        np.moveaxis(shown, axis, 0)[index] = True
    return shown


def foreground_extent(array: LabelArray, axis: int) -> tuple[int, int]:
    """First and last index along ``axis`` of a slice with foreground. Raises ``SettingsError`` where there is none."""
    indices = np.flatnonzero(labelled_structures(array).any(axis=tuple({0, 1, 2} - {axis})))
    if not indices.size:
        raise SettingsError("The annotator needs a structure to look at", received="background only")
    return int(indices[0]), int(indices[-1])


def _farthest_from(before: int, behind: int, taken: Sequence[int]) -> int:
    """The index between two bounds that is farthest from them and from all taken; the lowest of equals."""
    fixed = sorted([before, behind, *taken])
    start, end = max(itertools.pairwise(fixed), key=lambda gap: (gap[1] - gap[0]) // 2)
    return (start + end) // 2
