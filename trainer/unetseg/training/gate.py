"""Which weights a retraining hands over, decided on slices that no training had seen.

Between the start model's weights and the trained ones lie models that are often better than both (weight interpolation,
WiSE-FT, arXiv 2109.01903). What rehearsed pieces of earlier cases show to be forgotten is not handed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .progress import Dice, mean_dice
from .state import Tensors, TrainingState

MOST_FORGOTTEN = 0.005
"""Mean Dice that a new model may lose on pieces of earlier cases."""

NEARLY_AS_GOOD = 0.005
"""Mean Dice by which candidates cannot be told apart on a slice or two."""

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
STEPS = (Candidate(0.25), Candidate(0.5), Candidate(0.75), AVERAGED)
STUDENT = Candidate(1.0, averaged=False)


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


def judge(
    start: Tensors, state: TrainingState, *, held_out: Measure, remembered: Measure | None, tolerance: float = 0.0
) -> Verdict:
    """The best candidate on the held-out slices among those that forget little.

    Of those that are worse than it by less than ``tolerance`` (mean Dice), the one farthest from the start model: the
    trial has seen fewer slices than the final training will, and so learns less from going far.
    """
    known = None if remembered is None else mean_dice(remembered(start))
    before = held_out(start)
    fit = [Verdict(START, before, before, known, known)]
    for candidate in (*STEPS, STUDENT):
        weights = candidate.weights(start, state)
        left = None if remembered is None else mean_dice(remembered(weights))
        if not _forgotten(known, left):
            fit.append(Verdict(candidate, before, held_out(weights), known, left))
    best = max(fit, key=lambda verdict: mean_dice(verdict.after))
    near = [verdict for verdict in fit if mean_dice(verdict.after) > mean_dice(best.after) - tolerance]
    return near[-1] if near else best


def confirm(start: Tensors, state: TrainingState, wanted: Verdict, *, remembered: Measure | None) -> Verdict:
    """The wanted candidate, now with these weights, or the farthest one below it that forgets little."""
    if remembered is None:
        return wanted
    known = mean_dice(remembered(start))
    for candidate in (wanted.candidate, *(step for step in reversed(STEPS) if step.share < wanted.candidate.share)):
        left = mean_dice(remembered(candidate.weights(start, state)))
        if not _forgotten(known, left):
            return replace(wanted, candidate=candidate, remembered_before=known, remembered_after=left)
    return Verdict(START, wanted.before, wanted.before, known, known)


def _forgotten(before: float | None, after: float | None) -> bool:
    return before is not None and after is not None and after < before - MOST_FORGOTTEN
