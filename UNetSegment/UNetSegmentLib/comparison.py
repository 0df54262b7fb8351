"""Figures that set a new version beside the one in use; plain numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unetseg.config import Label
from unetseg.labelled_slices import LabelledSlice
from unetseg.messages import Dice
from unetseg.volume import LabelArray

from .confirmed import crossing
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


def predictedDice(
    volumes: Sequence[tuple[Sequence[LabelledSlice], Sequence[LabelledSlice]]], labels: Sequence[Label]
) -> Dice:
    """Dice of each foreground label on slices as they were predicted before the user corrected them.

    The mean over the volumes that have a figure. Each volume is given as all of its confirmed slices and as those of
    them that are measured, whose ``before`` must be known.
    """
    found = []
    for slices, measured in volumes:
        pairs = [_predictedAndRight(slices, taken) for taken in measured]
        found.append(dicePerLabel([pair[0] for pair in pairs], [pair[1] for pair in pairs], labels))
    return tuple(meanDice(ofLabel) for ofLabel in zip(*found, strict=True))


def compare(
    labels: Sequence[Label],
    *,
    shownBefore: LabelArray,
    shownAfter: LabelArray,
    heldOut: tuple[Dice, Dice],
    checked: Dice,
    voxelMl: float,
) -> tuple[ComparisonRow, ...]:
    """One row a structure.

    ``shown…`` are what the user sees, confirmed slices pasted in. ``heldOut`` are the figures of the version in use and
    of the new one, ``checked`` those of the version in use alone; empty where nothing is known.
    """
    foreground = [label for label in labels if label.value != 0]
    before, after, free = (figures or (None,) * len(foreground) for figures in (*heldOut, checked))
    changed = [_changedMl(shownBefore, shownAfter, label.value, voxelMl) for label in foreground]
    return tuple(
        ComparisonRow(label.name, label.color, *figures)
        for label, *figures in zip(foreground, before, after, free, changed, strict=True)
    )


def meanDice(values: Sequence[float | None]) -> float | None:
    """Mean over the labels that have a figure; None where none has."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _predictedAndRight(
    slices: Sequence[LabelledSlice], taken: LabelledSlice
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Without the lines where slices of other rounds may have been pasted into the prediction: those the user drew."""
    alone = np.ones(taken.labels.shape, dtype=bool)
    for other in slices:
        if other.axis != taken.axis and other.version != taken.version:
            alone[crossing(taken, other)] = False
    return taken.before[alone], taken.labels[alone]


def _changedMl(before: NDArray[np.uint8], after: NDArray[np.uint8], value: int, voxelMl: float) -> float:
    return float(np.count_nonzero((before == value) != (after == value)) * voxelMl)
