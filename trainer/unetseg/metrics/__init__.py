"""How well a segmentation agrees with a reference: the table METRICS, and ``evaluate``, which fills a row per label."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ImageError, SettingsError
from ..volume import UNLABELLED, LabelMap
from .overlap import OVERLAP_METRICS, Mask, count, dice, dice_per_class
from .surface import SURFACE_METRICS, surface_distances

__all__ = ["METRICS", "LabelFigures", "dice", "dice_per_class", "evaluate"]

METRICS: dict[str, Callable[[Any], float | None]] = {**OVERLAP_METRICS, **SURFACE_METRICS}
"""Every metric by name. Those of ``OVERLAP_METRICS`` take ``Counts``, of ``SURFACE_METRICS`` ``SurfaceDistances``."""


@dataclass(frozen=True)
class LabelFigures:
    """The metrics of one label; None where a metric has no value."""

    value: int
    figures: Mapping[str, float | None]


def evaluate(
    prediction: LabelMap, reference: LabelMap, *, labels: Sequence[int] | None = None, tolerance_mm: float = 1.0
) -> tuple[LabelFigures, ...]:
    """Compare a segmentation with its reference, label by label.

    Args:
        prediction: labels 0–254.
        reference: on the same grid; voxels of 255 are unlabelled and count for nothing. A reference with such
            voxels has no complete surfaces: all surface metrics are None then.
        labels: values to compare; None: all but background that occur at labelled voxels of either map, ascending.
        tolerance_mm: of the surface Dice.

    Returns:
        One record per label with every metric of ``METRICS``; conventions for empty masks: see ``overlap``
        and ``surface``. Empty where ``labels`` is None and neither map has a structure.

    Raises:
        ImageError: the grids differ, the prediction has unlabelled voxels, or the reference has no others.
        SettingsError: a label outside 0–254, or a negative or infinite tolerance.
    """
    _check_maps(prediction, reference)
    if not 0 <= tolerance_mm < math.inf:
        raise SettingsError("The tolerance must be a number of millimetres, 0 or more", received=tolerance_mm)
    labelled = reference.array != UNLABELLED
    if labels is None:
        labels = sorted({*np.unique(prediction.array[labelled]), *np.unique(reference.array[labelled])} - {0})
    for value in labels:
        if not 0 <= value < UNLABELLED:
            raise SettingsError(f"A label to compare must be 0–{UNLABELLED - 1}", received=value)
    return tuple(
        _figures(int(value), prediction, reference, labelled=labelled, tolerance_mm=tolerance_mm) for value in labels
    )


def _figures(
    value: int, prediction: LabelMap, reference: LabelMap, *, labelled: Mask, tolerance_mm: float
) -> LabelFigures:
    predicted, present = prediction.array == value, reference.array == value
    geometry = reference.geometry
    counts = count(predicted[labelled], present[labelled], voxel_volume_mm3=geometry.voxel_volume_mm3)
    figures: dict[str, float | None] = {name: metric(counts) for name, metric in OVERLAP_METRICS.items()}
    if not labelled.all():
        return LabelFigures(value, figures | dict.fromkeys(SURFACE_METRICS))
    distances = surface_distances(predicted, present, spacing_mm=geometry.spacing_mm, tolerance_mm=tolerance_mm)
    return LabelFigures(value, figures | {name: metric(distances) for name, metric in SURFACE_METRICS.items()})


def _check_maps(prediction: LabelMap, reference: LabelMap) -> None:
    if not prediction.geometry.matches(reference.geometry):
        raise ImageError(
            "A prediction and its reference must lie on the same grid",
            received=f"{prediction.geometry} and {reference.geometry}",
            remedy="Resample one of them to the other (nearest neighbour)",
        )
    if (prediction.array == UNLABELLED).any():
        raise ImageError(
            f"A prediction must have a label at every voxel ({UNLABELLED} means not labelled)",
            received=f"{np.count_nonzero(prediction.array == UNLABELLED)} voxels of {UNLABELLED}",
            remedy=f"Give the structure a value from 1 to {UNLABELLED - 1}",
        )
    if (reference.array == UNLABELLED).all():
        raise ImageError("A reference must have at least one labelled voxel", received=f"{UNLABELLED} everywhere")
