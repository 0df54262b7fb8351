"""Losses that compare whole regions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Loss
from .labelled import Labelled, labelled


@dataclass(frozen=True)
class Dice(Loss):
    """1 - mean over the foreground classes of 2·Σ p·t / (Σ p + Σ t), p = softmax, t = one-hot target.

    The sums run over the labelled voxels (weight above 0) of all samples together ("batch Dice"), in the
    intersection and in both sums of the denominator; probabilities are left out, never logits set to 0.
    The size of a weight does not count: Dice balances the classes itself, and weights of the *true* class,
    clipped to [¼, 4], would make a false positive in the background up to 16 times as cheap as a miss.

    Classes that no labelled voxel has are left out of the mean: their Dice is 0 whatever the prediction,
    without a useful gradient; cross-entropy corrects them. Every class in the mean has Σ t ≥ 1, so
    nothing needs smoothing. 0 where no foreground is labelled. Background (class 0) never counts.
    """

    def terms(self, logits: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """One term, 0 … 1; K ≥ 2."""
        return {"dice": dice(labelled(logits, target, weight))}


def dice(voxels: Labelled) -> Tensor:
    """1 - mean foreground Dice of the labelled voxels."""
    truth = voxels.one_hot()[1:]
    probability = torch.softmax(voxels.logits, dim=0)[1:]
    size = truth.sum(dim=1)
    present = size > 0
    scores = 2 * (probability * truth).sum(dim=1) / (probability.sum(dim=1) + size).clamp_min(1)
    return ((1 - scores) * present).sum() / present.sum().clamp_min(1)
