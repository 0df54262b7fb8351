"""A stretch of a training's budget: the loop with its tools, from one checkpoint to the next stretch."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from .. import losses
from ..networks import UNet
from .blueprint import Blueprint
from .checkpoint import CheckpointHeader, checkpoint_path, load_checkpoint, write_checkpoint
from .control import Control
from .curve import Curve
from .gate import Measure, Verdict
from .loop import Tools, TrainingLoop
from .precision import training_precision
from .progress import Report
from .rehearsal import Batches
from .request import TrainingRequest
from .state import Counters, TrainingState

Name = Literal["whole", "trial", "final"]


class Course:
    """What all stretches of one training share. ``notes`` says, in sentences, what the user should know."""

    def __init__(
        self,
        request: TrainingRequest,
        blueprint: Blueprint,
        network: UNet,
        *,
        curve: Curve,
        control: Control,
        report: Report,
    ) -> None:
        self.request = request
        self.blueprint = blueprint
        self.network = network
        self.control = control
        self.notes: list[str] = []
        self.log = curve.append
        self.report = report

    def run(
        self,
        name: Name,
        batches: Batches,
        *,
        statistics_share: float = 0.0,
        until: float = 1.0,
        state: TrainingState | None = None,
        verdict: Verdict | None = None,
        resume: bool,
        validate: Measure | None = None,
        known: tuple[float | None, ...] = (),
    ) -> TrainingState:
        """Train the network, until this share of the budget is used.

        Args:
            statistics_share: of the budget, in which batch norm uses each batch's statistics.
            state: of the stretch before, to go on from; None for the first, or to ``resume``.
            verdict: of the gate, on the stretch before; None for the first.
            resume: go on from the checkpoint of this stretch.
            validate: measures averaged weights on the way, of which the best are kept.
            known: held-out Dice of the weights to begin with, which then are the ones to beat.

        Returns:
            The state at the end.
        """
        settings = self.request.settings
        if self.request.start is not None:
            settings = replace(settings, learning_rate=settings.fine_tuning_rate)
        state = state or TrainingState(self.network, settings=settings)
        if known:
            state.set_best(known)
        header = self._header(name, verdict)
        path = checkpoint_path(self.request.output)
        if resume:
            load_checkpoint(path, state, header)
        device = next(self.network.parameters()).device
        # A training that has met numbers that are not finite goes on in float32.
        retreated = state.counters.learning_rate_scale < 1
        loop = TrainingLoop(
            state,
            Tools(
                batches=batches,
                loss=losses.build(settings.loss, **dict(settings.loss_arguments)),
                validate=validate,
                write_checkpoint=lambda current: write_checkpoint(path, current, header),
                log=self.log,
                report=self.report,
                control=self.control,
            ),
            settings=settings,
            precision=training_precision("float32" if retreated else settings.precision, self.network, device),
            statistics_share=statistics_share,
            until=until,
        )
        loop.run()
        self.notes.extend(loop.notes)
        return state

    def _header(self, name: Name, verdict: Verdict | None) -> CheckpointHeader:
        request = self.request
        return CheckpointHeader(
            network=self.blueprint.network,
            plan=self.blueprint.plan,
            settings=request.settings,
            parent_sha256=request.start_sha256,
            cases=tuple(case.name for case in request.cases),
            validation_cases=tuple(request.validation),
            held_out_slices={name: tuple(slices) for name, slices in (request.held_out_slices or {}).items()},
            stretch=name,
            verdict=verdict,
            counters=Counters(),
        )
