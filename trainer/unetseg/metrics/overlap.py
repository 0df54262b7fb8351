"""Metrics that count voxels: how far prediction and reference cover each other.

Every function of the table takes the ``Counts`` of one structure. Where both masks are empty, the two agree:
Dice and IoU are 1. Other ratios with nothing to divide by (the precision of an empty prediction, the recall of an
empty reference) have no value: None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..volume import UNLABELLED, LabelArray

Mask = NDArray[np.bool_]

CUBIC_MM_PER_ML = 1000.0


@dataclass(frozen=True)
class Counts:
    """Voxels of one structure by agreement, of ``voxel_volume_mm3`` each."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    voxel_volume_mm3: float = 1.0


def count(prediction: Mask, reference: Mask, *, voxel_volume_mm3: float = 1.0) -> Counts:
    """Compare two masks (bool, same shape). Raises ``ImageError`` where the shapes differ."""
    check_same_shape(prediction, reference)
    both = int(np.count_nonzero(prediction & reference))
    predicted, present = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    return Counts(
        true_positives=both,
        false_positives=predicted - both,
        false_negatives=present - both,
        true_negatives=reference.size - predicted - present + both,
        voxel_volume_mm3=voxel_volume_mm3,
    )


def dice(prediction_mask: Mask, reference_mask: Mask) -> float:
    """2·|P ∩ R| / (|P| + |R|) of two masks (bool, same shape), 0–1; 1 where both are empty."""
    return dice_of_counts(count(prediction_mask, reference_mask))


def dice_per_class(prediction: LabelArray, annotation: LabelArray, classes: int) -> tuple[float | None, ...]:
    """Dice of the classes 1 … ``classes`` - 1 over the labelled voxels of an annotation.

    Args:
        prediction: uint8, (D, H, W).
        annotation: uint8, (D, H, W); voxels of 255 are not counted.

    Returns:
        One value a class; None where the class is neither in the annotation nor, at labelled voxels, in the prediction.
    """
    check_same_shape(prediction, annotation)
    labelled = annotation != UNLABELLED
    predicted, present = prediction[labelled], annotation[labelled]
    return tuple(_dice_or_none(count(predicted == value, present == value)) for value in range(1, classes))


def check_same_shape(prediction: NDArray[np.generic], reference: NDArray[np.generic]) -> None:
    """Raise ``ImageError`` unless both arrays have the same shape."""
    if prediction.shape != reference.shape:
        raise ImageError(
            "A prediction and its reference must have the same shape",
            received=f"{prediction.shape} and {reference.shape}",
        )


def dice_of_counts(counts: Counts) -> float:
    """2·TP / (2·TP + FP + FN), 0–1; 1 where both masks are empty."""
    return _ratio(2 * counts.true_positives, 2 * counts.true_positives + _errors(counts), empty=1.0)


def iou(counts: Counts) -> float:
    """Intersection over union (Jaccard), TP / (TP + FP + FN), 0–1; 1 where both masks are empty."""
    return _ratio(counts.true_positives, counts.true_positives + _errors(counts), empty=1.0)


def precision(counts: Counts) -> float | None:
    """TP / (TP + FP): the share of the prediction that is right, 0–1; None for an empty prediction."""
    return _ratio_or_none(counts.true_positives, counts.true_positives + counts.false_positives)


def recall(counts: Counts) -> float | None:
    """TP / (TP + FN), sensitivity: the share of the reference that is found, 0–1; None for an empty reference."""
    return _ratio_or_none(counts.true_positives, counts.true_positives + counts.false_negatives)


def specificity(counts: Counts) -> float | None:
    """TN / (TN + FP): the share of the outside left free, 0–1; None where the reference fills the image."""
    return _ratio_or_none(counts.true_negatives, counts.true_negatives + counts.false_positives)


def accuracy(counts: Counts) -> float | None:
    """(TP + TN) / all voxels, 0–1; high for any small structure, found or not. None without voxels."""
    right = counts.true_positives + counts.true_negatives
    return _ratio_or_none(right, right + _errors(counts))


def volume_difference_ml(counts: Counts) -> float:
    """Volume of the prediction minus volume of the reference, in millilitres; positive: too large."""
    return (counts.false_positives - counts.false_negatives) * counts.voxel_volume_mm3 / CUBIC_MM_PER_ML


OVERLAP_METRICS: dict[str, Callable[[Counts], float | None]] = {
    "dice": dice_of_counts,
    "iou": iou,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "accuracy": accuracy,
    "volume_difference_ml": volume_difference_ml,
}


def _dice_or_none(counts: Counts) -> float | None:
    return dice_of_counts(counts) if counts.true_positives + _errors(counts) else None


def _errors(counts: Counts) -> int:
    return counts.false_positives + counts.false_negatives


def _ratio(numerator: int, denominator: int, *, empty: float) -> float:
    return numerator / denominator if denominator else empty


def _ratio_or_none(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None
