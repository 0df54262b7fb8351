"""The training loop, to be read top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..config import TrainingSettings
from ..errors import TrainingDivergedError
from ..losses import Loss
from .control import Control
from .progress import Dice, Progress, Report, Stage, mean_dice
from .rehearsal import Batches
from .schedule import budget_fraction, learning_rate_factor
from .state import Tensors, TrainingState, copied
from .step import StepResult, training_step

SKIPS_BEFORE_RETREAT = 3
RETREATS_BEFORE_GIVING_UP = 4
GOOD_STEPS = 20
"""How often the weights to go back to are renewed, so that little is lost also where nothing is validated."""
REPORT_INTERVAL_SECONDS = 0.25


@dataclass(frozen=True)
class Tools:
    """What the loop uses and does not make.

    Attributes:
        validate: held-out Dice of the network with the given weights; None where nothing is held out.
        write_checkpoint: called between steps only, so that what it stores resumes exactly.
        log: receives one JSON-ready record a step and a validation, for the curve beside the model.
    """

    batches: Batches
    loss: Loss
    validate: Callable[[Tensors], Dice] | None
    write_checkpoint: Callable[[TrainingState], None]
    log: Callable[[Mapping[str, object]], None]
    report: Report
    control: Control


class TrainingLoop:
    """Trains ``state`` in place; ``notes`` says afterwards, in sentences, what the user should know.

    Args:
        precision: of the convolutions (autocast); losses are always float32.
        statistics_share: of the budget, in which batch norm uses each batch's statistics; then it uses their average.
        until: share of the budget at which to end, but for the first step of all, which is always made; the learning
            rate follows the whole budget.
    """

    def __init__(
        self,
        state: TrainingState,
        tools: Tools,
        *,
        settings: TrainingSettings,
        precision: torch.dtype,
        statistics_share: float,
        until: float = 1.0,
    ) -> None:
        self.state = state
        self.tools = tools
        self.settings = settings
        self.precision = precision
        self.statistics_share = statistics_share
        self.until = until
        # Monotonic, so that a changed wall clock or daylight saving does not end a training.
        self._start = time.monotonic() - state.counters.seconds
        self.notes: list[str] = []
        self._reported = 0.0
        self._skipped = 0
        self._retreats = 0

    def run(self) -> Tensors:
        """Train until the budget is used, a stop is asked for, or held-out Dice no longer rises (``patience``).

        Returns the averaged weights that did best on the held-out data (of equals the last), or the last ones where
        nothing is held out. Raises ``CancelledError`` on abort and ``TrainingDivergedError`` where non-finite numbers
        persist.
        """
        self._good = copied(self.state.tensors())
        self._checkpoint()
        while self._is_due() and not self.tools.control.stop_requested:
            self.tools.control.check()
            rate = self._learning_rate()
            # Dropout draws from it: by iteration, so that a resumed training draws what the whole one does.
            torch.manual_seed(_seed(self.settings.seed, self.state.counters.iteration))
            result = training_step(
                self.state,
                self.tools.batches.batch(self.state.counters.iteration),
                self.tools.loss,
                settings=self.settings,
                learning_rate=rate,
                precision=self.precision,
                freeze_statistics=self.fraction >= self.statistics_share,
            )
            self._accept(result)
            self._count(iteration=self.state.counters.iteration + 1)
            self._tell(result, rate)
            if self._validation_is_due():
                self._validate()
                if 0 < self.settings.patience <= self.state.counters.without_gain:
                    break
            if self._seconds() - self._checkpointed >= self.settings.checkpoint_seconds:
                self._checkpoint()
        if self.tools.control.stop_requested:
            self._checkpoint()
            if self.tools.validate is not None:
                self._validate()
        return self.state.best or self.state.average

    @property
    def fraction(self) -> float:
        """0 … 1 of the budget."""
        return budget_fraction(self.settings, iteration=self.state.counters.iteration, seconds=self._seconds())

    def _is_due(self) -> bool:
        return self.fraction < self.until or self.state.counters.iteration == 0

    def _seconds(self) -> float:
        return time.monotonic() - self._start

    def _count(self, **changes: object) -> None:
        self.state.counters = replace(self.state.counters, seconds=self._seconds(), **changes)  # type: ignore[arg-type]

    def _learning_rate(self) -> float:
        factor = learning_rate_factor(self.fraction, warmup_fraction=self.settings.warmup_fraction)
        return self.settings.learning_rate * self.state.counters.learning_rate_scale * factor

    def _accept(self, result: StepResult) -> None:
        """Against NaN: skip the step; after several in a row go back to good weights, slower and in float32."""
        if result.finite:
            self._skipped = 0
            self.state.update_average()
            if (self.state.counters.iteration + 1) % GOOD_STEPS == 0:
                self._good = copied(self.state.tensors())
            return
        self._skipped += 1
        if self._skipped < SKIPS_BEFORE_RETREAT:
            return
        self._skipped = 0
        self._retreats += 1
        if self._retreats > RETREATS_BEFORE_GIVING_UP:
            raise TrainingDivergedError(
                "Training met numbers that are not finite again and again and was stopped",
                received=f"{self._retreats * SKIPS_BEFORE_RETREAT} such steps",
                remedy="Train with a smaller learning rate, and look for extreme values in the images",
            )
        self.state.load_tensors(self._good)
        self._count(learning_rate_scale=self.state.counters.learning_rate_scale / 2)
        self.precision = torch.float32

    def _validation_is_due(self) -> bool:
        """Evenly over the budget; the last one falls on its end."""
        if self.tools.validate is None:
            return False
        return int(self.fraction * self.settings.validations + 1e-9) > self.state.counters.validations_done

    def _validate(self) -> None:
        if self.tools.validate is None:
            return
        self._report("validating")
        dice = self.tools.validate(self.state.average)
        score = mean_dice(dice)
        counters = self.state.counters
        done = max(counters.validations_done + 1, int(self.fraction * self.settings.validations + 1e-9))
        without_gain = 0 if score > counters.best_score else counters.without_gain + 1
        if score >= counters.best_score:  # of equals the later: held-out data without a structure tells nothing
            self.state.set_best(dice)
        self._count(without_gain=without_gain, validations_done=done)
        self._good = copied(self.state.tensors())
        self.tools.log({"iteration": counters.iteration, "seconds": round(self._seconds(), 3), "held_out_dice": dice})
        self._report("validating", held_out_dice=dice)

    def _checkpoint(self) -> None:
        """A disk that is full for a while must not end a long training; at its start it is told at once."""
        self._count()
        try:
            self.tools.write_checkpoint(self.state)
        except OSError as error:
            if self.state.counters.iteration == 0:
                raise
            self.notes.append(f"At iteration {self.state.counters.iteration} no checkpoint could be written: {error}.")
        self._checkpointed = self._seconds()

    def _tell(self, result: StepResult, rate: float) -> None:
        counters = self.state.counters
        record = {"iteration": counters.iteration, "seconds": round(counters.seconds, 3), "learning_rate": rate}
        self.tools.log(record | {"loss": dict(result.loss)})
        if self._seconds() - self._reported >= REPORT_INTERVAL_SECONDS:
            self._reported = self._seconds()
            self._report("training", loss=result.loss)

    def _report(
        self, stage: Stage, *, loss: Mapping[str, float] | None = None, held_out_dice: Dice | None = None
    ) -> None:
        fraction = self.fraction
        left = self._seconds() * (1.0 - fraction) / fraction if fraction > 0 else None
        iteration = self.state.counters.iteration
        self.tools.report(Progress(stage, fraction, iteration, left, loss or {}, held_out_dice))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
