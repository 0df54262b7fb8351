"""Dice on held-out data during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..config import Plan
from ..data import PreparedCase
from ..data.annotations import labelled_structures
from ..inference import Engine, predict_labels
from ..metrics import dice_per_class
from ..networks import UNet
from ..volume import UNLABELLED, Shape
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
            engine = Engine(network, patch_size=plan.patch_size)
            per_case = [_case_dice(engine, case, classes) for case in cases]
        finally:
            network.load_state_dict(own)
        return tuple(_mean([dice[k] for dice in per_case]) for k in range(classes - 1))

    return validate


def labelled_part(case: PreparedCase, patch_size: Shape, size_multiple: Sequence[int]) -> PreparedCase:
    """The part of a case around its labelled structures, with about half a training patch of context.

    To measure a network on one slice of a large volume, the rest need not be segmented: one slice takes one layer of
    patches. Labelled background that lies farther away is left out, too. Where no structure is labelled, the part
    around the labelled background; without any label the whole case.

    Args:
        patch_size: (d, h, w).
        size_multiple: of the network; the part is pooled as the whole case is.
    """
    structures = labelled_structures(case.annotation)
    shown = structures if structures.any() else case.annotation != UNLABELLED
    if not shown.any():
        return case
    box = []
    for axis, (length, step) in enumerate(zip(patch_size, (1, *size_multiple)[-3:], strict=True)):
        found = np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis})))
        size = int(found[-1] - found[0]) + length
        start = (int(found[0]) - length // 2 + step // 2) // step * step
        stop = min(max(0, start) + size, shown.shape[axis])
        box.append(slice(max(0, min(start, (stop - size) // step * step)), stop))
    part = tuple(box)
    return replace(
        case,
        image=np.ascontiguousarray(case.image[(slice(None), *part)]),
        annotation=np.ascontiguousarray(case.annotation[part]),
        edited=None,
    )


def _case_dice(engine: Engine, case: PreparedCase, classes: int) -> Dice:
    labels = predict_labels(engine, torch.from_numpy(case.image))
    return dice_per_class(labels, case.annotation, classes)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
