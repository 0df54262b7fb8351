"""Restriction of a batch to its labelled voxels, through which every loss goes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SettingsError


@dataclass(frozen=True, eq=False)
class Labelled:
    """The M voxels of a batch whose weight is above 0, of all samples, in order.

    Attributes:
        logits: float32 (K, M).
        target: int64 (M,), each 0 … K - 1, or 0 … 1 where K = 1.
        weight: float32 (M,), each above 0.
    """

    logits: Tensor
    target: Tensor
    weight: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Σ w·v / Σ w of one value a voxel, (M,); 0 with gradient 0 where there is no voxel."""
        smallest = torch.finfo(torch.float32).tiny
        return (self.weight * values).sum() / self.weight.sum().clamp_min(smallest)

    def one_hot(self) -> Tensor:
        """float32 (K, M): 1 where the voxel's target is the class; with K = 1 where it is class 1."""
        channels = self.logits.shape[0]
        classes = torch.arange(channels, device=self.target.device) if channels > 1 else self.target.new_ones(1)
        return (self.target == classes[:, None]).float()


def labelled(logits: Tensor, target: Tensor, weight: Tensor, *, min_channels: int = 2) -> Labelled:
    """Leave out every voxel of weight 0.

    What stands there, label or logit, be it 255 or NaN, is never read: the loss cannot depend on it, and its
    gradient is exactly 0. To set the *logits* there to 0 instead would turn them into probabilities of 1/K,
    which fill the denominator of Dice.

    Args:
        logits: float16, bfloat16 or float32, (N, K, *s); the loss is computed in float32.
        target: int64 (N, *s); 0 … K - 1 where the weight is above 0, anything elsewhere.
        weight: floating point (N, *s), finite and not negative.
        min_channels: smallest K that the loss is defined for.

    Raises ``SettingsError`` where shapes, types or values break these rules.
    """
    _check(logits, target, weight, min_channels)
    channels = logits.shape[1]
    index = weight.reshape(-1).nonzero().squeeze(1)
    chosen = Labelled(
        logits.movedim(1, 0).reshape(channels, -1).index_select(1, index).float(),
        target.reshape(-1).index_select(0, index),
        weight.reshape(-1).index_select(0, index).float(),
    )
    last = max(channels - 1, 1)
    if index.numel() and not bool(((chosen.target >= 0) & (chosen.target <= last)).all()):
        raise SettingsError(
            f"Labels must be 0 to {last} wherever the weight is above 0",
            received=f"{int(chosen.target.min())} to {int(chosen.target.max())}",
        )
    return chosen


def _check(logits: Tensor, target: Tensor, weight: Tensor, min_channels: int) -> None:
    voxels = (logits.shape[0], *logits.shape[2:])
    if logits.ndim not in (4, 5) or not logits.is_floating_point():
        raise SettingsError(
            "Logits must be floating point (N, K, H, W) or (N, K, D, H, W)",
            received=f"{logits.dtype} {tuple(logits.shape)}",
        )
    if logits.shape[1] < min_channels:
        raise SettingsError(
            f"This loss needs at least {min_channels} classes",
            received=logits.shape[1],
            remedy="For a single logit use the loss binary_cross_entropy",
        )
    if target.dtype != torch.int64 or tuple(target.shape) != voxels:
        raise SettingsError(
            f"The target must be int64 of shape {voxels}", received=f"{target.dtype} {tuple(target.shape)}"
        )
    if not weight.is_floating_point() or tuple(weight.shape) != voxels:
        raise SettingsError(
            f"The weight must be floating point of shape {voxels}", received=f"{weight.dtype} {tuple(weight.shape)}"
        )
    if not bool((torch.isfinite(weight) & (weight >= 0)).all()):
        raise SettingsError("Every weight must be a finite number, not below 0", received="one that is not")
