"""The losses by name. Each is called as ``loss(logits, target, weight)`` and returns a scalar."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..errors import SettingsError, unknown_name
from .base import Loss
from .combined import DiceCrossEntropy
from .overlap import Dice
from .pixelwise import BinaryCrossEntropy, CrossEntropy

__all__ = ["LOSSES", "BinaryCrossEntropy", "CrossEntropy", "Dice", "DiceCrossEntropy", "Loss", "build"]

LOSSES: dict[str, Callable[..., Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "dice": Dice,
    "dice_cross_entropy": DiceCrossEntropy,
}


def build(name: str, **arguments: Any) -> Loss:
    """The loss of that name. Raises ``SettingsError`` for an unknown name or argument or an unfit value."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    known = inspect.signature(LOSSES[name]).parameters
    for argument in arguments:
        if not known:
            raise SettingsError(f"The loss {name} has no arguments", received=argument)
        if argument not in known:
            raise unknown_name(f"argument of {name}", argument, known)
    return LOSSES[name](**arguments)
