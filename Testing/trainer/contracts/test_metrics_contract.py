"""What every metric of the table must do; its own values are worked out in the tests of ``metrics``."""

import numpy as np
import pytest

from unetseg.metrics import METRICS, evaluate
from unetseg.volume import Geometry, LabelMap

SHAPE = (4, 6, 5)
GEOMETRY = Geometry(SHAPE, (3.0, 0.5, 1.0))
ERRORS = {"volume_difference_ml", "hausdorff_mm", "hd95_mm", "average_surface_distance_mm"}
"""0 is perfect; of the others, 1."""


def label_map(array) -> LabelMap:
    return LabelMap(np.asarray(array, dtype=np.uint8), GEOMETRY)


def random_mask(seed: int, value: int = 1):
    return value * (np.random.default_rng(seed).random(SHAPE) < 0.4)


def figure(name, prediction, reference, value=1):
    (found,) = evaluate(label_map(prediction), label_map(reference), labels=[value])
    return found.figures[name]


@pytest.mark.parametrize("name", METRICS)
class TestEveryMetric:
    def test_is_perfect_for_equal_masks(self, name):
        mask = random_mask(0)
        assert figure(name, mask, mask) == (0.0 if name in ERRORS else 1.0)

    def test_is_a_finite_number_that_is_not_perfect_for_different_masks(self, name):
        prediction = random_mask(1)
        prediction[0, :2, :2] = 1
        value = figure(name, prediction, random_mask(2))
        assert np.isfinite(value)
        assert value != (0.0 if name in ERRORS else 1.0)

    def test_depends_on_its_own_label_only(self, name):
        prediction, reference = random_mask(1, value=3), random_mask(2, value=3)
        with_others = np.where(prediction == 0, random_mask(5, value=7), prediction)
        assert figure(name, with_others, reference, value=3) == figure(name, prediction, reference, value=3)

    def test_is_the_same_for_both_maps_mirrored(self, name):
        prediction, reference = random_mask(1), random_mask(2)
        expected = figure(name, prediction, reference)
        assert figure(name, prediction[::-1, :, ::-1], reference[::-1, :, ::-1]) == pytest.approx(expected)

    def test_has_no_nan_where_a_structure_is_missed_invented_or_absent(self, name):
        empty, mask = np.zeros(SHAPE), random_mask(1)
        for prediction, reference in ((empty, mask), (mask, empty), (empty, empty)):
            value = figure(name, prediction, reference)
            assert value is None or np.isfinite(value)
