from __future__ import annotations

import numpy as np
import pytest

from unetseg.errors import ImageError
from unetseg.metrics import dice, dice_per_class
from unetseg.metrics.overlap import OVERLAP_METRICS, Counts, count

# Prediction and reference of ten voxels: TP 3, FP 1, FN 2, TN 4.
PREDICTION = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
REFERENCE = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], dtype=bool)
EMPTY = np.zeros(10, dtype=bool)
FULL = np.ones(10, dtype=bool)


def test_counts_by_hand() -> None:
    assert count(PREDICTION, REFERENCE) == Counts(3, 1, 2, 4)


@pytest.mark.parametrize(
    ("name", "mixed", "both_empty", "missed", "invented", "full_and_full"),
    [
        ("dice", 6 / 9, 1.0, 0.0, 0.0, 1.0),
        ("iou", 3 / 6, 1.0, 0.0, 0.0, 1.0),
        ("precision", 3 / 4, None, None, 0.0, 1.0),
        ("recall", 3 / 5, None, 0.0, None, 1.0),
        ("specificity", 4 / 5, 1.0, 1.0, 6 / 10, None),
        ("accuracy", 7 / 10, 1.0, 5 / 10, 6 / 10, 1.0),
        ("volume_difference_ml", -0.5, 0.0, -2.5, 2.0, 0.0),
    ],
)
def test_values_by_hand(
    name: str,
    mixed: float,
    both_empty: float | None,
    missed: float | None,
    invented: float | None,
    full_and_full: float | None,
) -> None:
    metric = OVERLAP_METRICS[name]

    def value(prediction: np.ndarray, reference: np.ndarray) -> float | None:
        return metric(count(prediction, reference, voxel_volume_mm3=500.0))

    assert value(PREDICTION, REFERENCE) == pytest.approx(mixed)
    assert value(EMPTY, EMPTY) == both_empty
    assert value(EMPTY, REFERENCE) == missed
    assert value(PREDICTION, EMPTY) == invented
    assert value(FULL, FULL) == full_and_full


def test_the_table_above_is_complete() -> None:
    tested = test_values_by_hand.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {row[0] for row in tested} == set(OVERLAP_METRICS)


def test_dice_and_iou_agree_by_their_identity() -> None:
    counts = count(PREDICTION, REFERENCE)
    iou = OVERLAP_METRICS["iou"](counts)
    assert iou is not None
    assert OVERLAP_METRICS["dice"](counts) == pytest.approx(2 * iou / (1 + iou))
    assert OVERLAP_METRICS["dice"](counts) == dice(PREDICTION, REFERENCE)


def test_dice_per_class_counts_labelled_voxels_only() -> None:
    annotation = np.array([[[1, 1, 0, 255, 255, 2]]], dtype=np.uint8)
    prediction = np.array([[[1, 0, 0, 1, 2, 2]]], dtype=np.uint8)
    assert dice_per_class(prediction, annotation, 4) == (pytest.approx(2 / 3), 1.0, None)


def test_dice_per_class_of_a_missed_and_an_invented_class_is_0() -> None:
    annotation = np.array([[[1, 1, 0]]], dtype=np.uint8)
    prediction = np.array([[[0, 0, 2]]], dtype=np.uint8)
    assert dice_per_class(prediction, annotation, 3) == (0.0, 0.0)


def test_dice_per_class_of_an_unlabelled_annotation_is_none() -> None:
    unlabelled = np.full((1, 2, 2), 255, dtype=np.uint8)
    assert dice_per_class(np.ones((1, 2, 2), dtype=np.uint8), unlabelled, 3) == (None, None)


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ImageError, match="same shape"):
        dice(EMPTY, EMPTY[:5])
    with pytest.raises(ImageError, match="same shape"):
        dice_per_class(np.zeros((1, 2, 2), np.uint8), np.zeros((2, 2, 1), np.uint8), 2)
