"""Section 3: what would be learned from, how long it may take, and the training while it runs."""

from __future__ import annotations

from functools import partial
from typing import Any

from slicer.i18n import tr as _

from ..parameters import Budget
from ..plot import LiveCurve
from ..state import JobStatus
from .guard import Guard
from .widgets import showText, timeLeft


class RetrainSection:
    """Start becomes Stop while a training runs. What is learned from is shown as it was at the start."""

    def __init__(self, ui: Any, logic: Any, guard: Guard) -> None:
        self._ui, self._logic = ui, logic
        self._curve = LiveCurve(ui.curveFrame, guard)
        self._radios = {
            Budget.quick: ui.quickRadio,
            Budget.thorough: ui.thoroughRadio,
            Budget.minutes: ui.minutesRadio,
        }
        for budget, radio in self._radios.items():
            radio.connect("clicked()", guard(partial(self._chooseBudget, budget)))
        ui.trainButton.connect("clicked()", guard(self._startOrStop))
        ui.abortButton.connect("clicked()", guard(logic.abortTraining))
        self._showCurve = guard(lambda: self._curve.show(logic.curve))
        logic.curveChanged.connect(self._showCurve)
        self._showCurve()

    def refresh(self) -> None:
        """Show the logic's state of now."""
        job = self._logic.job
        running = job is not None and job.kind in ("train", "compare")
        if running:
            self._showTraining(job)
        else:
            self._showPlan()
        for widget in (self._ui.trainProgressBar, self._ui.abortButton):
            widget.setVisible(running)
        self._showBudget(running)

    def close(self) -> None:
        """Leave no node and no connection to the logic behind."""
        self._logic.curveChanged.disconnect(self._showCurve)
        self._curve.close()

    def _showPlan(self) -> None:
        reason = self._logic.whyNotTrain()
        ui = self._ui
        showText(ui.trainSummaryLabel, self._logic.trainingSummary())
        showText(ui.trainWarningsLabel, "\n".join(f"• {warning}" for warning in self._logic.trainingWarnings()))
        showText(ui.trainReasonLabel, reason)
        showText(ui.trainStageLabel, "")
        tip = _("Learns from every slice that you have confirmed. You can go on correcting meanwhile.")
        ui.trainButton.setText(_("Start retraining"))
        ui.trainButton.setToolTip(reason or tip)
        ui.trainButton.setEnabled(not reason)

    def _showTraining(self, job: JobStatus) -> None:
        ui = self._ui
        stage = _("Stopping") if job.stopping else job.stage
        showText(ui.trainReasonLabel, "")
        showText(ui.trainStageLabel, " – ".join(filter(None, (stage, timeLeft(job.secondsLeft)))))
        ui.trainProgressBar.setValue(round(100 * job.fraction))
        ui.trainButton.setText(_("Stop and keep the best so far"))
        ui.trainButton.setToolTip(_("Ends the retraining now and offers the best version that it has found until now."))
        ui.trainButton.setEnabled(job.kind == "train" and not job.stopping)

    def _showBudget(self, running: bool) -> None:
        ui, parameters = self._ui, self._logic.parameters
        ui.budgetBox.setEnabled(parameters is not None and not running)
        if parameters is None:
            return
        for budget, title in ((Budget.quick, _("Quick ({time})")), (Budget.thorough, _("Thorough ({time})"))):
            self._radios[budget].setText(title.format(time=_about(self._logic.budgetSeconds(budget))))
        self._radios[parameters.budget].setChecked(True)
        ui.minutesSpinBox.setEnabled(parameters.budget == Budget.minutes)

    def _chooseBudget(self, budget: Budget) -> None:
        self._logic.parameters.budget = budget
        self._showBudget(False)

    def _startOrStop(self) -> None:
        if self._logic.job is None:
            self._logic.startTraining()
        else:
            self._logic.stopTraining()


def _about(seconds: float) -> str:
    if seconds < 60:
        return _("about {seconds} seconds").format(seconds=round(seconds))
    return _("about {minutes} min").format(minutes=round(seconds / 60))
