"""How good a segmentation is on the slices that nobody labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from annotator import shown_voxels, untouched_dice
from unetseg.data import Slice
from unetseg.metrics import dice_per_class
from unetseg.metrics.surface import hd95_mm, surface_dice, surface_distances
from unetseg.volume import LabelArray, LabelMap

SURFACE_TOLERANCE_MM = 1.0

Values = tuple[float | None, ...]
"""One of each class 1, 2, …; None of a class that is on no untouched voxel of either map."""


@dataclass(frozen=True)
class Figures:
    """Attributes:
    dice: on the voxels of no shown slice.
    hd95_mm, surface_dice: of the surface voxels on no shown slice, within 1 mm. Their nearest one may lie on a shown
        slice: without the shown slices every cut would be a surface.
    seam: see ``seam``.
    whole_dice: mean over the classes, on all voxels: what the user ends up with, the shown slices included.
    """

    dice: Values
    hd95_mm: Values
    surface_dice: Values
    seam: float | None
    whole_dice: float | None

    @property
    def mean_dice(self) -> float:
        """Over the classes of which there is one."""
        return float(np.mean([value for value in self.dice if value is not None]))


def measure(labels: LabelArray, truth: LabelMap, slices: Sequence[Slice], classes: int) -> Figures:
    """Compare a segmentation (uint8, (D, H, W)) with the truth, which is labelled throughout."""
    dice = untouched_dice(LabelMap(labels, truth.geometry), truth, slices, classes)
    counted = ~shown_voxels(truth.array.shape, slices)
    distances = [
        surface_distances(
            labels == value,
            truth.array == value,
            spacing_mm=truth.geometry.spacing_mm,
            tolerance_mm=SURFACE_TOLERANCE_MM,
            counted=counted,
        )
        if known is not None
        else None
        for value, known in enumerate(dice, start=1)
    ]
    return Figures(
        dice,
        tuple(None if one is None else hd95_mm(one) for one in distances),
        tuple(None if one is None else surface_dice(one) for one in distances),
        seam(labels, truth.array, slices, classes),
        mean_known(dice_per_class(labels, truth.array, classes)),
    )


def seam(labels: LabelArray, truth: LabelArray, slices: Sequence[Slice], classes: int) -> float | None:
    """How much more a segmentation changes from the shown slices to their neighbours than the truth does.

    The change is 1 - Dice of the two slices, mean over classes and over all pairs of a shown and an untouched slice.
    0: no visible jump; 1: nothing goes on beyond the shown slices. None without such a pair that shows a structure.
    """
    pairs = [
        (axis, index, neighbour)
        for axis, index in slices
        for neighbour in (index - 1, index + 1)
        if 0 <= neighbour < truth.shape[axis] and (axis, neighbour) not in slices
    ]
    own, true = (
        mean_known(
            mean_known(dice_per_class(array.take([one], axis), array.take([other], axis), classes))
            for axis, one, other in pairs
        )
        for array in (labels, truth)
    )
    return true - own if own is not None and true is not None else None


def mean_known(values: Iterable[float | None]) -> float | None:
    """The mean of those that are not None; None where there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
