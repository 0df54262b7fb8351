"""Sums of losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import SettingsError
from .base import Loss
from .labelled import labelled
from .overlap import dice
from .pixelwise import cross_entropy


@dataclass(frozen=True)
class DiceCrossEntropy(Loss):
    """Cross-entropy + ``dice_weight`` · Dice loss, nnU-Net's sum; each by its own rule for sparse labels.

    Cross-entropy gives every labelled voxel a gradient, Dice a small structure as much say as a large one.

    Raises ``SettingsError`` where ``dice_weight`` is not a finite number ≥ 0.
    """

    dice_weight: float = 1.0

    def __post_init__(self) -> None:
        number = isinstance(self.dice_weight, (int, float)) and not isinstance(self.dice_weight, bool)
        if not number or not 0 <= self.dice_weight < math.inf:
            raise SettingsError("dice_weight must be a finite number, not below 0", received=self.dice_weight)

    def terms(self, logits: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and the weighted Dice loss; K ≥ 2."""
        voxels = labelled(logits, target, weight)
        return {"cross_entropy": cross_entropy(voxels), "dice": self.dice_weight * dice(voxels)}
