"""Confirmed slices of one volume among each other: where they cross, and which of them can be measured on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unetseg.labelled_slices import LabelledSlice, PlaneIndex, plane_index
from unetseg.suggestion import SlicePosition
from unetseg.volume import LabelArray

SLICES_TO_HOLD_OUT_ONE = 3


def crossing(labelled: LabelledSlice, other: LabelledSlice) -> PlaneIndex:
    """The line in the 2D labels of one slice along which another one, of another axis, crosses it."""
    return plane_index(other.axis - (other.axis > labelled.axis), other.index)


def composedPlane(slices: Sequence[LabelledSlice], labelled: LabelledSlice) -> LabelArray:
    """The labels of one of the slices, with those of slices confirmed later where they cross it."""
    labels = labelled.labels.copy()
    for later in slices[slices.index(labelled) + 1 :]:
        if later.axis != labelled.axis:
            labels[crossing(labelled, later)] = later.labels[crossing(later, labelled)]
    return labels


def heldOut(
    slices: Sequence[LabelledSlice], candidates: Sequence[LabelledSlice], round: int
) -> tuple[SlicePosition, ...]:
    """The (axis, index) of one of the candidates, to be measured on while the others are learned from.

    Another one every round. Empty with fewer than three slices, and where no candidate can be spared: one that shows
    a structure, and without which the others still show every value.
    """
    if len(slices) < SLICES_TO_HOLD_OUT_ONE:
        return ()
    planes = [composedPlane(slices, taken) for taken in slices]
    counts = [_valueCounts(plane) for plane in planes]
    total = np.sum(counts, axis=0)
    spared = []
    for candidate in candidates:
        left = total - counts[slices.index(candidate)]
        for taken, plane in zip(slices, planes, strict=True):
            if taken.axis != candidate.axis:
                left = left - _valueCounts(plane[crossing(taken, candidate)])
        if candidate.labels.any() and left[total > 0].all():
            spared.append(candidate)
    if not spared:
        return ()
    chosen = spared[round % len(spared)]
    return ((chosen.axis, chosen.index),)


def _valueCounts(labels: LabelArray) -> np.ndarray:
    return np.bincount(labels.ravel(), minlength=256)
