"""What computing in 8 bit needs to know of a network, and what it costs: measured on images like those to come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrainingDataError
from ..metrics import dice_per_class
from ..networks import UNet
from ..volume import LabelArray, Shape
from .engine import Engine
from .fused import FusedUNet
from .layout import plan_layout
from .memory import Attempt, default_budget
from .precision import INT8, check_int8
from .predict import predict_labels
from .quantised import activations
from .streaming import stream

CPU = torch.device("cpu")
COVERED = 0.99995
"""Share of an activation's values within its range. Cutting off the others leaves finer steps for the rest."""
LEAST_RANGE = 1e-6
"""For an activation that is zero everywhere."""
PATTERNS = 2**15
"""Of the bits of a bfloat16 that is not negative; in the order of the numbers, a step of 0.4 % or less apart."""


@torch.inference_mode()
def calibrate(
    network: UNet, images: Iterable[Tensor], *, check_cancel: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """The ranges of a network's activations: the 99.995th percentile over all voxels of some prepared images.

    Args:
        images: float32 (C, d, h, w), as ``preprocess`` prepares them; a few training cases do.
        check_cancel: is called before each image.

    Raises:
        SettingsError: the network cannot compute in 8 bit here.
    """
    check_int8(network, CPU)
    fused = FusedUNet(network)
    counts = {name: torch.zeros(PATTERNS, dtype=torch.long) for name in activations(fused)}
    for name, layer in activations(fused).items():
        layer.register_forward_hook(partial(_count, counts[name]))
    attempt = Attempt(CPU, default_budget(CPU))
    for image in images:
        check_cancel()
        layout = plan_layout(network, (image.shape[1], image.shape[2], image.shape[3]), attempt)
        slabs = stream(
            fused, image, layout, first_slice=0, storage=attempt.storage, compute=_call, progress=lambda share: None
        )
        for _ in slabs:
            pass
    return {name: max(LEAST_RANGE, _percentile(each)) for name, each in counts.items()}


def _call(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    return function(*tensors)


def _count(counts: Tensor, layer: nn.Module, inputs: Any, output: Tensor) -> None:
    """A forward hook. The values are behind a ReLU; their sign bit may be set for a zero."""
    counts += torch.bincount(output.bfloat16().abs().view(torch.int16).flatten(), minlength=PATTERNS)


def _percentile(counts: Tensor) -> float:
    share = counts.cumsum(0).double() / counts.sum()
    pattern = int(torch.searchsorted(share, COVERED))
    return float(torch.tensor(pattern, dtype=torch.int16).view(torch.bfloat16))


def int8_dice_loss(
    network: UNet,
    cases: Iterable[tuple[Tensor, LabelArray]],
    ranges: Mapping[str, float],
    *,
    patch_size: Shape,
    check_cancel: Callable[[], None] | None = None,
) -> float:
    """By how much Dice falls when the network computes in 8 bit instead of float32, for the class that loses most.

    Args:
        cases: prepared images (C, d, h, w) and their labels (d, h, w), 255 where nobody labelled.

    Returns:
        The loss of a class is the mean over the cases in which it has a Dice; negative where every class gains.

    Raises:
        SettingsError: int8 cannot be had here.
        TrainingDataError: no structure is labelled.
    """
    losses: dict[int, list[float]] = {}
    engines = {name: Engine(network, patch_size=patch_size, ranges=ranges) for name in ("float32", INT8)}
    for image, labels in cases:
        exact, rounded = (
            predict_labels(engine, image, device=CPU, precision=precision, check_cancel=check_cancel)
            for precision, engine in engines.items()
        )
        pairs = zip(*(dice_per_class(each, labels, network.classes) for each in (exact, rounded)), strict=True)
        for value, (before, after) in enumerate(pairs, start=1):
            if before is not None and after is not None:
                losses.setdefault(value, []).append(before - after)
    if not losses:
        raise TrainingDataError("Cases to measure on must show a labelled structure")
    return max(sum(each) / len(each) for each in losses.values())
