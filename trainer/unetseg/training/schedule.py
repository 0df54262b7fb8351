"""The training budget, and what follows it: the learning rate and the norms' statistics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..config import AugmentationSettings, TrainingSettings
from ..data import PreparedCase
from ..errors import SettingsError
from ..volume import UNLABELLED

MAX_SEED = 2**64 - 1
"""The largest that torch takes."""
SPARSE_STATISTICS_SHARE = 0.5
"""``TrainingSettings.statistics_share`` where most voxels are unlabelled."""


def budget_fraction(settings: TrainingSettings, *, iteration: int, seconds: float) -> float:
    """How much of the budget is used, 0 … 1, after ``iteration`` steps and ``seconds`` of training.

    With a budget of iterations the value depends on nothing else, so that a resumed run repeats exactly.
    """
    if settings.iterations is not None:
        return min(1.0, iteration / settings.iterations)
    if settings.seconds is not None:
        return min(1.0, seconds / settings.seconds)
    raise SettingsError("A training needs a budget", remedy="Give either seconds or iterations")


def learning_rate_factor(fraction: float, *, warmup_fraction: float) -> float:
    """Linear warm-up to 1, then a half cosine to 0 at fraction 1 (Loshchilov & Hutter 2017, eq. 5, one cycle).

    >>> [round(learning_rate_factor(f, warmup_fraction=0.1), 3) for f in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if fraction < warmup_fraction:
        # Never exactly 0: the first step of a run would be wasted.
        return max(0.01, fraction / warmup_fraction)
    return 0.5 * (1.0 + math.cos(math.pi * (fraction - warmup_fraction) / (1.0 - warmup_fraction)))


def statistics_share(settings: TrainingSettings, cases: Sequence[PreparedCase], dimensions: int) -> float:
    """As set, or as the cases are labelled: patches around a few slices are not what the network meets in a volume.

    A network in 2D sees nothing but slices, of which those count that show a label.
    """
    if settings.statistics_share is not None:
        return settings.statistics_share
    labelled = voxels = 0
    for case in cases:
        known = case.annotation != UNLABELLED
        seen = known[known.any(axis=(1, 2))] if dimensions == 2 else known
        labelled, voxels = labelled + int(np.count_nonzero(seen)), voxels + seen.size
    return 1.0 if 2 * labelled > voxels else SPARSE_STATISTICS_SHARE


def check_settings(settings: TrainingSettings) -> None:
    """Raises ``SettingsError`` for the first setting that cannot be used."""
    if (settings.seconds is None) == (settings.iterations is None):
        raise SettingsError(
            "A training has exactly one budget",
            received=f"seconds {settings.seconds}, iterations {settings.iterations}",
            remedy="Give either seconds or iterations",
        )
    rules = {
        "iterations must be at least 1": settings.iterations is None or settings.iterations >= 1,
        "seconds must be positive": settings.seconds is None or settings.seconds > 0,
        "learning_rate must be positive": settings.learning_rate > 0,
        "fine_tuning_rate must be positive": settings.fine_tuning_rate > 0,
        "weight_decay must not be negative": settings.weight_decay >= 0,
        "warmup_fraction must lie in [0, 1)": 0 <= settings.warmup_fraction < 1,
        "clip_norm must be positive": settings.clip_norm > 0,
        "ema_decay must lie in [0, 1)": 0 <= settings.ema_decay < 1,
        "class_weight_limits must be 0 < lower <= upper": 0
        < settings.class_weight_limits[0]
        <= settings.class_weight_limits[1],
        "edit_weight must be positive": settings.edit_weight > 0,
        "replay_share must lie in [0, 1)": 0 <= settings.replay_share < 1,
        "distillation_weight must not be negative": settings.distillation_weight >= 0,
        "statistics_share must lie in [0, 1]": settings.statistics_share is None or 0 <= settings.statistics_share <= 1,
        "trial_share must lie in (0, 1)": 0 < settings.trial_share < 1,
        "validations must not be negative": settings.validations >= 0,
        "patience must not be negative": settings.patience >= 0,
        "checkpoint_seconds must be positive": settings.checkpoint_seconds > 0,
        f"seed must be 0 to {MAX_SEED}": 0 <= settings.seed <= MAX_SEED,
    }
    _check_rules("training", rules, settings)
    _check_augmentation(settings.augmentation)


def _check_augmentation(settings: AugmentationSettings) -> None:
    values = dataclasses.asdict(settings)
    rules = {
        f"{name} must lie in [0, 1]": 0 <= value <= 1 for name, value in values.items() if name.endswith("_probability")
    }
    rules |= {
        f"{name} must not be negative": value >= 0
        for name, value in values.items()
        if name.endswith(("_std", "_strength"))
    }
    for name in ("scale", "gamma", "contrast", "blur_sigma_voxels", "low_resolution_zoom"):
        rules[f"{name} must be 0 < lower <= upper"] = 0 < values[name][0] <= values[name][1]
    rules |= {
        "flip_axes must be among 0, 1 and 2": set(settings.flip_axes) <= {0, 1, 2},
        "rotation_degrees must lie in [0, 180]": 0 <= settings.rotation_degrees <= 180,
        "elastic_grid_voxels must be at least 2": settings.elastic_grid_voxels >= 2,
    }
    _check_rules("augmentation", rules, settings)


def _check_rules(kind: str, rules: Mapping[str, bool], settings: TrainingSettings | AugmentationSettings) -> None:
    for rule, holds in rules.items():
        if not holds:
            raise SettingsError(f"The {kind} setting {rule}", received=getattr(settings, rule.split()[0]))
