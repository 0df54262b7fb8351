"""Losses that add up over voxels: Σ w·ℓ / Σ w."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Loss
from .labelled import Labelled, labelled


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Weighted softmax cross-entropy, ℓ = -ln softmax(logits)[target] (U-Net 2015, eq. 1; 3D U-Net 2016).

    0 for a perfect prediction, ln K for equal logits; 0 where no voxel has a weight.
    """

    def terms(self, logits: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """One term; K ≥ 2."""
        return {"cross_entropy": cross_entropy(labelled(logits, target, weight))}


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Weighted sigmoid cross-entropy: with K = 1 of the single logit of class 1, else one class against the rest.

    ℓ = -ln σ(z) where the voxel is of the class and -ln(1 - σ(z)) where not; with K ≥ 2 the mean over the K
    classes, background included. 0 for a perfect prediction, ln 2 for logits 0; 0 where no voxel has a weight.
    """

    def terms(self, logits: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """One term; K ≥ 1."""
        voxels = labelled(logits, target, weight, min_channels=1)
        losses = F.binary_cross_entropy_with_logits(voxels.logits, voxels.one_hot(), reduction="none")
        return {"binary_cross_entropy": voxels.mean(losses.mean(dim=0))}


def cross_entropy(voxels: Labelled) -> Tensor:
    """Σ w·ℓ / Σ w of softmax cross-entropy over the labelled voxels."""
    log_probability = torch.log_softmax(voxels.logits, dim=0)
    return voxels.mean(-log_probability.gather(0, voxels.target[None])[0])
