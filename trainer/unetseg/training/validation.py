"""Dice on held-out data during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..config import Plan
from ..data import PreparedCase
from ..inference import predict_labels
from ..metrics import dice_per_class
from ..networks import UNet
from .progress import Dice
from .state import Tensors, copied


def validator(network: UNet, cases: Sequence[PreparedCase], *, plan: Plan, classes: int) -> Callable[[Tensors], Dice]:
    """A function that measures ``network`` with other weights on ``cases``.

    Only labelled voxels count. The value of a class is the mean over the cases in which it has one. The
    network's own weights and mode are left as they were.
    """

    def validate(weights: Tensors) -> Dice:
        own = copied(network.state_dict())
        network.load_state_dict(weights)
        try:
            per_case = [_case_dice(network, case, plan, classes) for case in cases]
        finally:
            network.load_state_dict(own)
        return tuple(_mean([dice[k] for dice in per_case]) for k in range(classes - 1))

    return validate


def _case_dice(network: UNet, case: PreparedCase, plan: Plan, classes: int) -> Dice:
    labels = predict_labels(network, torch.from_numpy(case.image), patch_size=plan.patch_size)
    return dice_per_class(labels, case.annotation, classes)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
