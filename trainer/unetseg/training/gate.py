"""Which weights a retraining hands over: those that did best on slices that no training had seen.

Between the start model's weights and the trained ones lie models that are often better than both (weight interpolation,
WiSE-FT, arXiv 2109.01903). What rehearsed pieces of earlier cases show to be forgotten is not handed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .progress import Dice, mean_dice
from .state import Tensors, TrainingState

MOST_FORGOTTEN = 0.005
"""Mean Dice that a new model may lose on pieces of earlier cases."""

Measure = Callable[[Tensors], Dice]


@dataclass(frozen=True)
class Candidate:
    """Weights start + ``share`` · (trained - start); trained are the averaged weights, or the last ones (student).

    Running statistics are interpolated like weights. ``share`` 0 is the start model itself.
    """

    share: float
    averaged: bool = True

    def weights(self, start: Tensors, state: TrainingState) -> Tensors:
        trained = state.average if self.averaged else state.network.state_dict()
        return {
            name: tensor.lerp(trained[name], self.share) if tensor.is_floating_point() else trained[name].clone()
            for name, tensor in start.items()
        }


START = Candidate(0.0)
AVERAGED = Candidate(1.0)
CANDIDATES = (START, Candidate(0.25), Candidate(0.5), Candidate(0.75), AVERAGED, Candidate(1.0, averaged=False))


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        before, after: Dice of the start model and of the candidate on the held-out slices; empty without any.
        remembered_before, remembered_after: their mean Dice on pieces of earlier cases; None without any.
    """

    candidate: Candidate
    before: Dice = ()
    after: Dice = ()
    remembered_before: float | None = None
    remembered_after: float | None = None


def judge(start: Tensors, state: TrainingState, *, held_out: Measure | None, remembered: Measure | None) -> Verdict:
    """The best candidate on the held-out slices among those that forget little; of equals the earliest.

    Without held-out slices the one that has moved farthest from the start model, the averaged weights at most.
    """
    known = None if remembered is None else mean_dice(remembered(start))
    before = () if held_out is None else held_out(start)
    best = Verdict(START, before, before, known, known)
    for candidate in CANDIDATES[1:] if held_out is not None else CANDIDATES[1:5]:
        weights = candidate.weights(start, state)
        after = () if held_out is None else held_out(weights)
        if held_out is not None and mean_dice(after) <= mean_dice(best.after):
            continue
        left = None if remembered is None else mean_dice(remembered(weights))
        if known is None or left is None or left >= known - MOST_FORGOTTEN:
            best = Verdict(candidate, before, after, known, left)
    return best
