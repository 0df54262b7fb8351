"""Retraining from corrected slices: a trial, the gate, and the final training on all slices.

The trial trains without one slice of each volume. On these slices the gate compares the start model, the trained one
and what lies between them, and so finds how far the network should move. The rest of the budget then trains on all
slices. It always begins with the model of the lineage that no correction has touched, with all slices so far: networks
retrained from retrained ones forget the slices of earlier rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ..config import NO_AUGMENTATION, AugmentationSettings, Plan
from ..data import PreparedCase, class_counts
from ..data.batches import BatchSource
from ..data.weight_maps import class_weights
from ..volume import UNLABELLED, Shape
from .checkpoint import CheckpointHeader
from .gate import AVERAGED, NEARLY_AS_GOOD, START, Measure, Verdict, confirm, judge
from .outcome import Outcome
from .prepare import PreparedCases
from .progress import Progress, mean_dice
from .rehearsal import Batches, Distillation, Rehearsal, frozen_teacher
from .replay import Replay
from .schedule import budget_fraction
from .state import Tensors, TrainingState, copied
from .stretch import Course
from .validation import labelled_part, validator

MOST_PATCH_VOXELS_ON_CPU = 2**17
"""Larger patches see no more of the labelled slices, and fewer of them fit into the time."""


GAIN_BEYOND_LABELS = 0.5
"""Of what is gained on the labelled slices, the share that others of the same volumes gain, roughly."""


class Retraining:
    """One retraining of ``course.request.start``."""

    def __init__(self, course: Course, cases: PreparedCases, replay: Replay) -> None:
        self._course = course
        self._cases = cases
        self._replay = replay
        self._start: Tensors = copied(course.network.state_dict())
        self._teacher = frozen_teacher(course.network)
        self._held_out = self._measure(cases.held_out)
        self._remembered = self._measure(replay.checked)

    def run(self, stored: CheckpointHeader | None) -> Outcome:
        """Train, and leave the chosen weights in the network.

        Args:
            stored: of the checkpoint to resume from.
        """
        request = self._course.request
        if not any((request.held_out_slices or {}).values()):
            return self._single(resume=stored is not None)
        if stored is not None and stored.verdict is not None:
            return self._final(stored.verdict)
        state = self._course.run(
            "trial", self._batches(self._cases.trained), until=request.settings.trial_share, resume=stored is not None
        )
        verdict = self._judge(state)
        if verdict.candidate == START or self._course.control.stop_requested:
            return self._finish(verdict, state)
        return self._final(verdict, state)

    def _single(self, *, resume: bool) -> Outcome:
        """Nothing is learned from what it is judged on: too few slices to spare one, or whole cases held out."""
        before = self._held_out(self._start) if self._held_out else ()
        state = self._course.run(
            "whole", self._batches(self._cases.complete), resume=resume, validate=self._held_out, known=before
        )
        if state.best is not None:
            state.average = copied(state.best)
        return self._finish(self._judge(state), state)

    def _final(self, verdict: Verdict, trial: TrainingState | None = None) -> Outcome:
        """Go on where the trial ended, or from the checkpoint, with all slices, as far as the gate found best."""
        state = self._course.run(
            "final", self._batches(self._cases.complete), state=trial, verdict=verdict, resume=trial is None
        )
        return self._finish(verdict, state)

    def _judge(self, state: TrainingState) -> Verdict:
        """On what is held out; where nothing is, the averaged weights."""
        settings, counters = self._course.request.settings, state.counters
        fraction = budget_fraction(settings, iteration=counters.iteration, seconds=counters.seconds)
        progress = Progress("validating", fraction, counters.iteration)
        self._course.report(progress)
        if self._held_out is None:
            return Verdict(AVERAGED)
        held_out_slices = sum(map(len, (self._course.request.held_out_slices or {}).values()))
        # What is handed over as it is must have been best: only a final training makes up for what a trial lacks.
        at_once = bool(self._course.request.validation) or self._course.control.stop_requested
        tolerance = 0.0 if at_once else NEARLY_AS_GOOD / math.sqrt(held_out_slices)
        verdict = judge(self._start, state, self._held_out, tolerance=tolerance)
        self._course.log(
            {"iteration": counters.iteration, "seconds": round(counters.seconds, 3), "held_out_dice": verdict.after}
        )
        self._course.report(replace(progress, held_out_dice=verdict.after))
        return verdict

    def _finish(self, wanted: Verdict, state: TrainingState) -> Outcome:
        """Hand the wanted weights over, as far as they do not forget earlier cases."""
        gained = partial(self._gained, wanted)
        verdict = confirm(self._start, state, wanted, remembered=self._remembered, gained=gained)
        self._course.network.load_state_dict(verdict.candidate.weights(self._start, state))
        return Outcome(
            iterations=state.counters.iteration,
            seconds=state.counters.seconds,
            before=verdict.before,
            after=verdict.after,
            remembered_before=verdict.remembered_before,
            remembered_after=verdict.remembered_after,
            improved=verdict.candidate != START,
        )

    def _gained(self, wanted: Verdict, weights: Tensors) -> float:
        """Mean Dice that the volumes gain: on whole cases as the gate found it, else as all labelled slices tell.

        The few slices that are held out misjudge it by points. Without any it is the user's to judge: infinity.
        """
        if self._course.request.validation:
            return mean_dice(wanted.after) - mean_dice(wanted.before)
        patch_size, size_multiple = self._course.blueprint.plan.patch_size, self._course.network.size_multiple
        labelled = [case for case in self._cases.complete if (case.annotation != UNLABELLED).any()]
        parts = [labelled_part(case, patch_size, size_multiple) for case in labelled]
        learned = self._measure(parts) if wanted.after else None
        if learned is None:
            return math.inf
        return GAIN_BEYOND_LABELS * (mean_dice(learned(weights)) - mean_dice(learned(self._start)))

    def _batches(self, cases: Sequence[PreparedCase]) -> Batches:
        settings = self._course.request.settings
        # Corrected slices are to serve the volumes that they are of, in which nothing looks otherwise.
        augmented = settings.augment_corrections or bool(self._course.request.validation)
        corrected = self._source(cases, cases, settings.augmentation if augmented else NO_AUGMENTATION)
        if self._replay.rehearsed and settings.replay_share:
            pieces = self._source(self._replay.rehearsed, cases, settings.augmentation)
            return Rehearsal(corrected, pieces, share=settings.replay_share, seed=settings.seed)
        if settings.distillation_weight:
            return Distillation(corrected, self._teacher, weight=settings.distillation_weight, seed=settings.seed)
        return corrected

    def _source(
        self, cases: Sequence[PreparedCase], weighed: Sequence[PreparedCase], augmentation: AugmentationSettings
    ) -> BatchSource:
        settings, plan = self._course.request.settings, self._course.blueprint.plan
        classes = len(self._course.request.labels)
        weights = class_weights(class_counts(weighed, classes), settings.class_weight_limits).tolist()
        network = self._course.network
        on_cpu = next(network.parameters()).device.type == "cpu"
        return BatchSource(
            cases,
            patch_size=smaller_patch(plan, network.size_multiple) if on_cpu else plan.patch_size,
            batch_size=plan.batch_size
            if plan.dimensions == 2
            else 1,  # a patch of a volume shows all there is to learn
            classes=classes,
            dimensions=plan.dimensions,
            augmentation=augmentation,
            class_weights=weights,
            edit_weight=settings.edit_weight,
            seed=settings.seed,
        )

    def _measure(self, cases: Sequence[PreparedCase]) -> Measure | None:
        if not cases:
            return None
        course = self._course
        return validator(course.network, cases, plan=course.blueprint.plan, classes=len(course.request.labels))


def smaller_patch(plan: Plan, size_multiple: Sequence[int]) -> Shape:
    """The plan's patch, its longest axis halved, as the pooling allows, down to ``MOST_PATCH_VOXELS_ON_CPU``."""
    size = list(plan.patch_size)
    steps = (1, *size_multiple)[-3:]
    while math.prod(size) > MOST_PATCH_VOXELS_ON_CPU:
        longer = [axis for axis in range(3) if size[axis] > steps[axis]]
        if not longer:
            break
        axis = max(longer, key=size.__getitem__)
        size[axis] = -(-size[axis] // (2 * steps[axis])) * steps[axis]
    d, h, w = size
    return d, h, w
