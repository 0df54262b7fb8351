"""Which weights a retraining hands over, decided on slices that no training had seen.

Between the start model's weights and the trained ones lie models that are often better than both (weight interpolation,
WiSE-FT, arXiv 2109.01903). What rehearsed pieces of earlier cases show to be forgotten is not handed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .progress import Dice, mean_dice
from .state import Tensors, TrainingState

MOST_FORGOTTEN = 0.01
"""Mean Dice that a new model may lose on a few pieces of earlier cases; on many cases it then loses less."""
FORGOTTEN_FOR_GAIN = 0.25
"""It may lose this share of what its volumes gain besides: who adapts a network that fails on the images of another
scanner wants that, and the start model remains for the others."""
NEARLY_AS_GOOD = 0.04
"""Mean Dice on one held-out slice by which candidates cannot be told apart (it misjudges by up to 3.6 points);
of n slices, 1/√n of it. The trial has learned from fewer slices than the final training will: what it seems to lose by
a little is gained in the end."""

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
        of_steps: Dice of each of ``STEPS`` on the held-out slices; empty without any.
    """

    candidate: Candidate
    before: Dice = ()
    after: Dice = ()
    remembered_before: float | None = None
    remembered_after: float | None = None
    of_steps: tuple[Dice, ...] = ()


def judge(start: Tensors, state: TrainingState, held_out: Measure, *, tolerance: float = 0.0) -> Verdict:
    """The best candidate on the held-out slices; of equals the nearest to the start model.

    Of those that are worse than it by less than ``tolerance`` (mean Dice), the one farthest from the start model: the
    trial has seen fewer slices than the final training will, and so learns less from going far.
    """
    before = held_out(start)
    found = [Verdict(START, before, before)]
    found += [Verdict(each, before, held_out(each.weights(start, state))) for each in (*STEPS, STUDENT)]
    best = max(found, key=lambda verdict: mean_dice(verdict.after))
    near = [verdict for verdict in found if mean_dice(verdict.after) > mean_dice(best.after) - tolerance]
    return replace(near[-1] if near else best, of_steps=tuple(verdict.after for verdict in found[1:-1]))


def confirm(
    start: Tensors,
    state: TrainingState,
    wanted: Verdict,
    *,
    remembered: Measure | None,
    gained: Callable[[Tensors], float],
) -> Verdict:
    """The wanted candidate, now with these weights, or the farthest one below it that forgets little.

    Only what is handed over is looked at: what a trial has forgotten, the final training can rehearse.

    Args:
        remembered: measures on pieces of earlier cases; None where there are none.
        gained: mean Dice that the volumes gain with these weights; infinity where that is the user's to judge.
    """
    if remembered is None:
        return wanted
    judged = zip(STEPS, wanted.of_steps or [wanted.after] * len(STEPS), strict=True)
    below = [(step, after) for step, after in judged if step.share < wanted.candidate.share]
    candidates = [] if wanted.candidate == START else [(wanted.candidate, wanted.after), *reversed(below)]
    known, allowed = mean_dice(remembered(start)), MOST_FORGOTTEN
    for candidate, after in candidates:
        weights = candidate.weights(start, state)
        left = mean_dice(remembered(weights))
        if left < known - allowed and candidate == wanted.candidate:  # it takes time to measure the gain
            allowed += FORGOTTEN_FOR_GAIN * max(0.0, gained(weights))
        if left >= known - allowed:
            return replace(wanted, candidate=candidate, after=after, remembered_before=known, remembered_after=left)
    return replace(wanted, candidate=START, after=wanted.before, remembered_before=known, remembered_after=known)
