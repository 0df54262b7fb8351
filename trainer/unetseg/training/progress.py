"""What a training tells its observer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Dice = tuple[float | None, ...]
"""Dice per class value ≥ 1; None where the class is neither in the reference nor in the prediction."""

Stage = Literal["preparing", "training", "validating", "saving"]


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Attributes:
        fraction: 0 … 1 of the stage "preparing", else of the training budget.
        iteration: steps done.
        seconds_left: None while unknown.
        loss: value of each term of the loss at the last step.
        held_out_dice: set where this message reports a new validation.
    """

    stage: Stage
    fraction: float
    iteration: int = 0
    seconds_left: float | None = None
    loss: Mapping[str, float] = field(default_factory=dict)
    held_out_dice: Dice | None = None


Report = Callable[[Progress], None]


def mean_dice(dice: Dice) -> float:
    """Mean over the classes that have a value; 0 where none has."""
    known = [value for value in dice if value is not None]
    return sum(known) / len(known) if known else 0.0
