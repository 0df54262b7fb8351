import dataclasses

import numpy as np
import pytest

from unetseg.config import AugmentationSettings, TrainingSettings
from unetseg.data import PreparedCase
from unetseg.errors import SettingsError
from unetseg.training.schedule import budget_fraction, check_settings, learning_rate_factor, statistics_share
from unetseg.volume import UNLABELLED


def test_warm_up_is_linear_and_cosine_ends_at_zero():
    factors = [learning_rate_factor(f, warmup_fraction=0.2) for f in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert factors == pytest.approx([0.01, 0.5, 1.0, 0.5, 0.0])


def test_without_warm_up_the_peak_comes_first():
    assert learning_rate_factor(0.0, warmup_fraction=0.0) == 1.0


def test_iterations_decide_the_fraction_whatever_the_time():
    settings = TrainingSettings(iterations=10)
    assert budget_fraction(settings, iteration=5, seconds=1e6) == 0.5
    assert budget_fraction(settings, iteration=12, seconds=0.0) == 1.0


def test_seconds_decide_the_fraction_whatever_the_steps():
    settings = TrainingSettings(seconds=8.0)
    assert budget_fraction(settings, iteration=10**6, seconds=2.0) == 0.25


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"iterations": None}, "exactly one budget"),
        ({"seconds": 5.0}, "exactly one budget"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"warmup_fraction": 1.0}, r"warmup_fraction must lie in \[0, 1\)"),
        ({"ema_decay": 1.0}, r"ema_decay must lie in \[0, 1\)"),
        ({"class_weight_limits": (2.0, 1.0)}, "lower <= upper"),
        ({"seed": -1}, "seed must be 0 to 18446744073709551615"),
        ({"seed": 2**64}, "seed must be 0 to 18446744073709551615"),
    ],
)
def test_unusable_settings_are_refused_with_the_rule_and_the_value(changes, told):
    settings = dataclasses.replace(TrainingSettings(iterations=3), **changes)
    with pytest.raises(SettingsError, match=told):
        check_settings(settings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"flip_axes": (3,)}, "flip_axes must be among 0, 1 and 2"),
        ({"noise_probability": 1.5}, r"noise_probability must lie in \[0, 1\]"),
        ({"noise_std": -0.1}, "noise_std must not be negative"),
        ({"scale": (1.2, 0.8)}, "scale must be 0 < lower <= upper"),
        ({"elastic_grid_voxels": 1}, "elastic_grid_voxels must be at least 2"),
    ],
)
def test_unusable_augmentation_is_refused_with_the_rule_and_the_value(changes, told):
    settings = TrainingSettings(iterations=3, augmentation=AugmentationSettings(**changes))
    with pytest.raises(SettingsError, match=told):
        check_settings(settings)


def test_default_settings_with_a_budget_are_usable():
    check_settings(TrainingSettings(seconds=1.0))
    check_settings(TrainingSettings(iterations=1))


@pytest.mark.parametrize(
    ("labelled", "dimensions", "share"),
    [
        (np.s_[:], 3, 1.0),
        (np.s_[:3], 3, 1.0),
        (np.s_[:2], 3, 0.5),
        (np.s_[:1], 3, 0.5),
        (np.s_[:1], 2, 1.0),
        (np.s_[:, :3], 2, 1.0),
        (np.s_[:, :2], 2, 0.5),
    ],
)
def test_statistics_are_learned_for_half_of_the_budget_where_most_of_what_is_seen_is_unlabelled(
    labelled, dimensions, share
):
    """Of 4 slices; a network in 2D sees those only that show a label."""
    annotation = np.full((4, 4, 5), UNLABELLED, np.uint8)
    annotation[labelled] = 0
    case = PreparedCase("", np.zeros((1, 4, 4, 5), np.float32), annotation, None, (1.0, 1.0, 1.0))
    settings = TrainingSettings(iterations=1)
    assert statistics_share(settings, [case, case], dimensions) == share
    assert statistics_share(dataclasses.replace(settings, statistics_share=0.2), [case], dimensions) == 0.2
