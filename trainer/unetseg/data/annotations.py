"""Sparse annotations: which slices they label, and whether they can be trained on.

An annotation is a uint8 label map in which ``UNLABELLED`` (255) marks the voxels that nobody labelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingsError, TrainingDataError
from ..volume import UNLABELLED, FloatArray, LabelArray, LabelMap, Vector
from .cases import Case

Slice = tuple[int, int]
"""(axis, index): axis 0, 1, 2 = D, H, W."""

FEW_SLICES = 3
PLANE_SHARE = 0.8
"""From which labelled share on a slice counts as a plane: held-out slices that cross it leave gaps."""

IMBALANCE_LIMIT = 256
"""Background voxels per foreground voxel that class weights ∝ 1/√frequency clipped to [0.25, 4] can even out."""


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """One case on the network's grid.

    Attributes:
        image: float32, (C, d, h, w), normalised.
        annotation: uint8, (d, h, w), 255 where unlabelled.
        edited: bool, (d, h, w), where the user changed the label; None where that is not known.
        spacing_mm: of the grid along d, h, w.
    """

    name: str
    image: FloatArray
    annotation: LabelArray
    edited: NDArray[np.bool_] | None
    spacing_mm: Vector


def annotated_slices(annotation: LabelMap) -> tuple[Slice, ...]:
    """The slices of which every voxel is labelled, sorted; of a fully labelled map those along D only."""
    if (annotation.array != UNLABELLED).all():
        return tuple((0, index) for index in range(annotation.array.shape[0]))
    return labelled_planes(annotation.array)


def keep_slices(annotation: LabelMap, slices: Iterable[Slice]) -> LabelMap:
    """The annotation on the given slices, unlabelled elsewhere. Raises ``SettingsError`` for a slice outside."""
    array = np.full_like(annotation.array, UNLABELLED)
    for axis, index in slices:
        if axis not in (0, 1, 2) or not 0 <= index < array.shape[axis]:
            raise SettingsError(f"A slice must lie in the image of shape {array.shape}", received=(axis, index))
        plane = (slice(None),) * axis + (index,)
        array[plane] = annotation.array[plane]
    return LabelMap(array, annotation.geometry)


def labelled_planes(annotation: LabelArray, *, least_share: float = 1.0) -> tuple[Slice, ...]:
    """Every (axis, index) of whose voxels at least this share is labelled, sorted."""
    labelled = annotation != UNLABELLED
    return tuple(
        (axis, int(index))
        for axis in range(3)
        for index in np.flatnonzero(labelled.mean(axis=tuple({0, 1, 2} - {axis})) >= least_share)
    )


def plane_axis(annotation: LabelArray) -> int | None:
    """The axis across the labelled slices of a sparse annotation: the one along which they are fewest.

    None where the annotation is dense: most labelled voxels have labelled neighbours on all six sides (the
    outside of the image counts as labelled), so that resampling does not tear it. An image of a single slice
    has that slice's axis.
    """
    if min(annotation.shape) == 1:
        return int(np.argmin(annotation.shape))
    labelled = annotation != UNLABELLED
    inner = labelled.copy()
    for axis in range(3):
        moved, source = np.moveaxis(inner, axis, 0), np.moveaxis(labelled, axis, 0)
        moved[1:] &= source[:-1]
        moved[:-1] &= source[1:]
    if 2 * np.count_nonzero(inner) >= np.count_nonzero(labelled):
        return None
    occupied = [np.count_nonzero(labelled.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return int(np.argmin(occupied))


def labelled_structures(annotation: LabelArray) -> NDArray[np.bool_]:
    """Where a structure is labelled: neither background nor unlabelled."""
    shown: NDArray[np.bool_] = (annotation != 0) & (annotation != UNLABELLED)
    return shown


def class_counts(cases: Iterable[PreparedCase], classes: int) -> NDArray[np.int64]:
    """Labelled voxels of each class over all cases, int64 (classes,)."""
    return sum((_value_counts(case.annotation)[:classes] for case in cases), np.zeros(classes, dtype=np.int64))


def check_annotations(cases: Sequence[Case], classes: int) -> tuple[str, ...]:
    """Refuse annotations that cannot be trained on; warn of those that train badly.

    Cases without annotation are passed over.

    Returns:
        Warnings for the user, one sentence each.

    Raises:
        TrainingDataError: a value outside 0 … classes - 1, no labelled voxel, or nothing but background.
    """
    counts = np.zeros(classes, dtype=np.int64)
    slices = 0
    warnings = []
    for case in cases:
        if case.annotation is None:
            continue
        values = _value_counts(case.annotation.array)
        _check_values(case.name, values, classes)
        if not values[:classes].any():
            warnings.append(f"{case.name} has no labelled voxel and is not trained on.")
        counts += values[:classes]
        slices += len(annotated_slices(case.annotation))
    _check_counts(counts)
    if 0 < slices < FEW_SLICES:
        warnings.append(f"Only {slices} slice(s) labelled: {FEW_SLICES} or more give a much better network.")
    return *warnings, *_count_warnings(counts)


def _value_counts(annotation: LabelArray) -> NDArray[np.int64]:
    """How often each of 0 … 255 occurs; slice by slice, as bincount makes an 8-byte copy of what it counts."""
    return sum((np.bincount(plane.ravel(), minlength=256) for plane in annotation), np.zeros(256, dtype=np.int64))


def _check_values(name: str, values: NDArray[np.int64], classes: int) -> None:
    outside = [int(value) for value in np.flatnonzero(values) if classes <= value < UNLABELLED]
    if outside:
        raise TrainingDataError(
            f"Labels must be 0 (background) … {classes - 1}, or {UNLABELLED} where nobody labelled",
            received=f"{', '.join(map(str, outside))} in {name}",
            remedy="Renumber the labels, or train with more classes",
        )


def _check_counts(counts: NDArray[np.int64]) -> None:
    if not counts.any():
        raise TrainingDataError(
            "Training needs labelled voxels",
            received="none in any case",
            remedy=f"Correct or confirm at least one slice ({UNLABELLED} in a label map means not labelled)",
        )
    if not counts[1:].any():
        raise TrainingDataError(
            "Training needs labelled voxels of a structure",
            received="only background",
            remedy="Correct or confirm a slice that shows a structure "
            f"({UNLABELLED} in a label map means not labelled: give a structure another value)",
        )


def _count_warnings(counts: NDArray[np.int64]) -> list[str]:
    """About classes that are missing or drowned; ``counts`` has foreground."""
    warnings = [
        f"No labelled voxel shows class {value}: the network will unlearn or never learn it."
        for value in range(1, len(counts))
        if counts[value] == 0
    ]
    if counts[0] == 0:
        warnings.append("No labelled voxel is background: the network cannot learn where structures end.")
    if counts[0] > IMBALANCE_LIMIT * counts[1:].sum():
        warnings.append(
            f"Background outweighs the structures {int(counts[0] // counts[1:].sum())} to 1: "
            "add slices that show more of them."
        )
    return warnings
