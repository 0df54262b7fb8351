"""What a training has come to, before it is saved."""

from __future__ import annotations

from dataclasses import dataclass

from .progress import Dice


@dataclass(frozen=True)
class Outcome:
    """Figures of a training whose weights are in the network.

    Attributes:
        before, after: Dice on held-out data of the start model, and of the chosen weights before they have learned
            from it; empty without.
        remembered_before, remembered_after: mean Dice of both on pieces of earlier cases; None without.
        improved: False where the start model was left as it is.
    """

    iterations: int
    seconds: float
    before: Dice = ()
    after: Dice = ()
    remembered_before: float | None = None
    remembered_after: float | None = None
    improved: bool = True
