"""Figures that set a new version beside the one in use; plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unetseg.config import Label
from unetseg.labelled_slices import LabelledSlice
from unetseg.messages import Box
from unetseg.volume import LabelArray

from .state import ComparisonRow


def dicePerLabel(
    predicted: Sequence[LabelArray], right: Sequence[LabelArray], labels: Sequence[Label]
) -> list[float | None]:
    """Dice of each foreground label over all slices together; None where no slice has it, on either side."""
    first, second = (np.concatenate([np.zeros(0, np.uint8), *map(np.ravel, slices)]) for slices in (predicted, right))
    found: list[float | None] = []
    for label in labels:
        if label.value != 0:
            inFirst, inSecond = first == label.value, second == label.value
            size = np.count_nonzero(inFirst) + np.count_nonzero(inSecond)
            found.append(float(2 * np.count_nonzero(inFirst & inSecond) / size) if size else None)
    return found


def inRegion(slices: Sequence[LabelledSlice], region: Box) -> list[LabelledSlice]:
    """What of the slices lies in a region, on the region's own grid."""
    found = []
    for taken in slices:
        bounds = list(zip(*region, strict=True))
        start, stop = bounds.pop(taken.axis)
        if start <= taken.index < stop:
            inside = tuple(slice(*bound) for bound in bounds)
            before = None if taken.before is None else taken.before[inside]
            found.append(replace(taken, index=taken.index - start, labels=taken.labels[inside], before=before))
    return found


def compare(
    labels: Sequence[Label],
    *,
    shownBefore: LabelArray,
    shownAfter: LabelArray,
    predictedBefore: LabelArray | None,
    predictedAfter: LabelArray,
    heldOut: Sequence[LabelledSlice],
    checked: Sequence[LabelledSlice],
    voxelMl: float,
) -> tuple[ComparisonRow, ...]:
    """One row a structure.

    ``shown…`` are what the user sees, confirmed slices pasted in; ``predicted…`` what the versions said by
    themselves, which alone says something about the versions; None where the old one said nothing. ``heldOut``
    are confirmed slices that the new version has not learned from, ``checked`` those whose ``before`` the old
    version has predicted.
    """
    right = [taken.labels for taken in heldOut]
    said = heldOut if predictedBefore is not None else ()
    before = dicePerLabel([predictedBefore[taken.plane] for taken in said], right[: len(said)], labels)
    after = dicePerLabel([predictedAfter[taken.plane] for taken in heldOut], right, labels)
    known = [taken for taken in checked if taken.before is not None]
    free = dicePerLabel([taken.before for taken in known], [taken.labels for taken in known], labels)
    foreground = [label for label in labels if label.value != 0]
    changed = [_changedMl(shownBefore, shownAfter, label.value, voxelMl) for label in foreground]
    return tuple(
        ComparisonRow(label.name, label.color, *figures)
        for label, *figures in zip(foreground, before, after, free, changed, strict=True)
    )


def meanDice(values: Sequence[float | None]) -> float | None:
    """Mean over the labels that have a figure; None where none has."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _changedMl(before: NDArray[np.uint8], after: NDArray[np.uint8], value: int, voxelMl: float) -> float:
    return float(np.count_nonzero((before == value) != (after == value)) * voxelMl)
