"""Finds what was changed since the program last wrote the labels, and the fewest slices that explain it.

Only the labels themselves are compared, so that every way to change them counts: brushes, undo, scripts.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unetseg.errors import ImageError
from unetseg.labelled_slices import LabelledSlice, PlaneIndex, plane_index
from unetseg.suggestion import ForegroundCounts, SlicePosition
from unetseg.volume import LabelArray, Shape, Vector

VOXELS_PER_STEP = 2**18
"""A slice of 512 × 512: a step then takes a few milliseconds."""

_Mask = NDArray[np.bool_]
_Counts = NDArray[np.int64]


class SlabReader(Protocol):
    """Reads the labels as they are now."""

    def slab(self, start: int, stop: int) -> LabelArray:
        """Slices start … stop - 1 along D, uint8 (stop - start, H, W)."""


@dataclass(frozen=True)
class EditedPlane:
    """A slice that explains changed voxels.

    Attributes:
        values: structures (from 1 on) that gained or lost voxels on it.
        voxels: changed ones on it, all of them outside confirmed slices.
    """

    axis: int
    index: int
    values: tuple[int, ...]
    voxels: int


@dataclass(frozen=True, eq=False)
class Changes:
    """What a look through the labels has found.

    Attributes:
        edited: slices that together hold every changed voxel outside confirmed slices, by axis and index.
        changedSince: (axis, index) of confirmed slices that differ from what was confirmed.
        foreground: voxels that are not background, in every slice along each axis.
        editedVoxels: changed voxels outside confirmed slices.
    """

    edited: tuple[EditedPlane, ...]
    changedSince: tuple[SlicePosition, ...]
    foreground: ForegroundCounts
    editedVoxels: int


def scanChanges(
    reader: SlabReader,
    shape: Shape,
    spacing_mm: Vector,
    baseline: LabelArray | None,
    slices: Sequence[LabelledSlice],
) -> Generator[None, None, Changes]:
    """Compare the labels with the baseline and the confirmed slices, in steps of a few milliseconds.

    Takes one byte a voxel at most. ``baseline`` None: nothing is known to be changed.

    Raises:
        ImageError: the reader's labels are not of ``shape``.
    """
    foreground, edits, changedSince = _zeroCounts(shape), _Edits(shape), set()
    for start, stop in slabs(shape):
        labels = reader.slab(start, stop)
        _checkSlab(labels, (stop - start, *shape[1:]))
        _add(foreground, labels != 0, start)
        expected = labels.copy() if baseline is None else baseline[start:stop].copy()
        parts = list(partsInSlab(slices, start, stop))
        for _labelled, plane, stored in parts:
            expected[plane] = stored
        changed = labels != expected
        if changed.any():
            changedSince |= {(part.axis, part.index) for part, plane, _stored in parts if changed[plane].any()}
            for _labelled, plane, _stored in parts:
                changed[plane] = False
            yield
            yield from edits.add(changed, labels, expected, start)
        yield
    planes = yield from edits.explain(spacing_mm)
    return Changes(
        edited=tuple(edits.plane(axis, index) for axis, index in sorted(planes)),
        changedSince=tuple(sorted(changedSince)),
        foreground=foreground,
        editedVoxels=edits.voxels,
    )


def slabs(shape: Shape) -> Iterator[tuple[int, int]]:
    """Start and stop along D of the parts that a volume is worked through in: about ``VOXELS_PER_STEP`` each."""
    step = max(1, VOXELS_PER_STEP // (shape[1] * shape[2]))
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def partsInSlab(
    slices: Iterable[LabelledSlice], start: int, stop: int
) -> Iterator[tuple[LabelledSlice, PlaneIndex, LabelArray]]:
    """What of each slice lies in slices start … stop - 1 along D: its index in that slab, and its labels there."""
    for labelled in slices:
        if labelled.axis != 0:
            yield labelled, labelled.plane, labelled.labels[start:stop]
        elif start <= labelled.index < stop:
            yield labelled, plane_index(0, labelled.index - start), labelled.labels


class _Edits:
    """Where voxels are changed, and for every slice along every axis how many and of which values."""

    def __init__(self, shape: Shape) -> None:
        self._masks: dict[int, _Mask] = {}
        self._counts = _zeroCounts(shape)
        self._touched = tuple(np.zeros((length, 256), dtype=np.bool_) for length in shape)

    @property
    def voxels(self) -> int:
        return int(self._counts[0].sum())

    def add(self, changed: _Mask, labels: LabelArray, expected: LabelArray, start: int) -> Generator[None, None, None]:
        """Take in the changes in one slab that begins at slice ``start``."""
        _add(self._counts, changed, start)
        self._masks.update((start + i, mask) for i, mask in enumerate(changed) if mask.any())
        values = np.union1d(labels[changed], expected[changed])
        for value in values[values > 0]:
            yield
            ofValue = changed & ((labels == value) | (expected == value))
            rows = ofValue.any(axis=2)
            self._touched[0][start : start + len(changed), value] |= rows.any(axis=1)
            self._touched[1][:, value] |= rows.any(axis=0)
            self._touched[2][:, value] |= ofValue.any(axis=(0, 1))

    def plane(self, axis: int, index: int) -> EditedPlane:
        values = tuple(int(value) for value in np.flatnonzero(self._touched[axis][index]))
        return EditedPlane(axis, index, values, int(self._counts[axis][index]))

    def explain(self, spacing_mm: Vector) -> Generator[None, None, list[SlicePosition]]:
        """The fewest slices that hold all changes: of one axis, or of several where that takes fewer.

        Among axes that take equally many, the one of the largest spacing is meant: users scroll along it.
        """
        single = min(
            ([(axis, int(index)) for index in np.flatnonzero(self._counts[axis])] for axis in _bySpacing(spacing_mm)),
            key=len,
        )
        mixed = yield from self._mixed(spacing_mm, len(single) - 1)
        return mixed or single

    def _mixed(self, spacing_mm: Vector, most: int) -> Generator[None, None, list[SlicePosition]]:
        """At most so many slices that hold all changes, the fullest first; empty where these are not enough.

        Uses up the masks.
        """
        left = tuple(counts.copy() for counts in self._counts)
        chosen: list[SlicePosition] = []
        while len(chosen) < most and left[0].any():
            axis = max(_bySpacing(spacing_mm), key=lambda axis: left[axis].max())
            index = int(np.argmax(left[axis]))
            self._takeOut(axis, index, left)
            chosen.append((axis, index))
            yield
        return [] if left[0].any() else chosen

    def _takeOut(self, axis: int, index: int, left: tuple[_Counts, ...]) -> None:
        """Count the changes of one slice as explained, and no longer on the slices that cross it."""
        if axis == 0:
            mask = self._masks.pop(index)
            left[1][:] -= _sum(mask, 1)
            left[2][:] -= _sum(mask, 0)
        else:
            for d, mask in self._masks.items():
                line = mask[plane_index(axis - 1, index)]
                left[0][d] -= np.count_nonzero(line)
                left[3 - axis][:] -= line
                line[:] = False
        left[axis][index] = 0


def _bySpacing(spacing_mm: Vector) -> list[int]:
    """Axes by falling spacing, D first among equals."""
    return sorted(range(3), key=lambda axis: -spacing_mm[axis])


def _zeroCounts(shape: Shape) -> tuple[_Counts, _Counts, _Counts]:
    d, h, w = (np.zeros(length, dtype=np.int64) for length in shape)
    return d, h, w


def _add(counts: tuple[_Counts, _Counts, _Counts], slab: _Mask, start: int) -> None:
    rows = _sum(slab, 2)
    counts[0][start : start + len(slab)] += rows.sum(axis=1)
    counts[1][:] += rows.sum(axis=0)
    counts[2][:] += _sum(slab, 0).sum(axis=0)


def _sum(mask: _Mask, axis: int) -> _Counts:
    # Bytes added up as 32-bit numbers: several times faster than numpy's sum of bool, which goes through 64 bits.
    return np.add.reduce(mask.view(np.uint8), axis=axis, dtype=np.uint32).astype(np.int64)


def _checkSlab(labels: LabelArray, shape: Shape) -> None:
    if labels.shape != shape:
        raise ImageError(
            "The segmentation must have the size of its volume",
            received=f"slices of {labels.shape[1:]} instead of {shape[1:]} voxels",
            remedy="Choose the volume that this segmentation was made for",
        )
