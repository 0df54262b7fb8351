"""A new version beside the one in use: compared, then kept or rejected. Nothing is used before it is kept."""

from __future__ import annotations

from collections.abc import Sequence

from slicer.i18n import tr as _

from .comparison import compare, meanDice, predictedDice
from .correcting import Correcting
from .job_runner import Steps
from .mrml_adapter import volumeGeometry
from .overlays import DIFFERENCE, Overlay, showDifference
from .segmenting import Prediction, Segmenting
from .state import Comparison
from .trial import Trial
from .versions import Version
from .wording import decimal, sliceCount
from .workspace import Workspace


class Offering:
    """``comparison`` is None while nothing is offered."""

    def __init__(self, workspace: Workspace, correcting: Correcting, segmenting: Segmenting) -> None:
        self.comparison: Comparison | None = None
        self._workspace = workspace
        self._correcting = correcting
        self._segmenting = segmenting
        self._version: Version | None = None
        self._prediction: Prediction | None = None
        self._difference = Overlay(DIFFERENCE, showDifference)

    def steps(self, version: Version) -> Steps:
        """Steps of a job: what the new version says about the open volume. Returns None where no volume is open."""
        parameters = self._workspace.parameters
        if parameters is None or parameters.volume is None:
            return None
        return (yield from self._segmenting.steps(self._segmenting.target(version)))

    def offer(self, version: Version, prediction: Prediction | None, trial: Trial, notes: Sequence[str]) -> None:
        """Show the new version beside the one in use; where its volume is gone, only tell how good it is.

        ``notes`` are what else the user should know.
        """
        if prediction is None or prediction.target.caseId != self._correcting.store.caseId:
            ready = _("The new version “{name}” is ready.").format(name=version.name)
            remedy = _("Choose it in the list of versions to use it")
            figures = (trialText(trial),) if trial.slices or not trial.improved else ()
            self._workspace.say("warning" if notes else "info", " ".join((ready, *notes, *figures)), remedy)
            return
        self._version, self._prediction = version, prediction
        self.comparison = self._compare(prediction, trial)
        self.refreshDifference()
        self._workspace.sectionRequested.emit("compare")
        self._workspace.changed.emit()
        if notes:
            self._workspace.say("warning", " ".join(notes))

    def whyNotKeep(self) -> str:
        """Why there is nothing to decide; empty where there is."""
        if self.comparison is None:
            return _("Nothing is offered now: retrain first")
        return ""

    def keep(self) -> None:
        """Use the new version from now on, and put its result into the segmentation as one undo step."""
        version, prediction = self._version, self._prediction
        if self._workspace.project.find(version.id) is None:
            self._close()  # deleted meanwhile: nothing is left to decide about
        self._workspace.project.setStatus(version.id, "kept")
        self._close()
        self._workspace.parameters.model = version.id
        self._segmenting.apply(prediction)

    def reject(self) -> None:
        """Go on with the version in use; the rejected one stays in the list until it is deleted."""
        if self._workspace.project.find(self._version.id) is not None:
            self._workspace.project.setStatus(self._version.id, "rejected")
        self._close()

    def forget(self) -> None:
        """The scene is being closed: the version stays offered in the project's list."""
        self.comparison = self._version = self._prediction = self._difference.content = None
        self._difference.refresh(None, False)

    def refreshDifference(self) -> None:
        """Show or hide what the new version would change, as the user has chosen."""
        parameters = self._workspace.parameters
        if parameters is not None:
            self._difference.refresh(parameters.volume, parameters.showDifference)

    def _compare(self, prediction: Prediction, trial: Trial) -> Comparison:
        corrections, version, used = self._correcting.corrections, self._version, self._workspace.version()
        shownBefore = self._correcting.reader().all()
        shownAfter = corrections.merge(prediction.withinRegion(shownBefore), shownBefore, True)
        volume = prediction.target.volumes[0]
        self._difference.content = (volume, shownBefore, shownAfter)
        known = [taken for taken in corrections.slices if taken.before is not None]
        checked = [taken for taken in known if used is not None and taken.version == used.id]
        rows = compare(
            version.labels,
            shownBefore=shownBefore,
            shownAfter=shownAfter,
            heldOut=(trial.before, trial.after),
            checked=predictedDice([(corrections.slices, checked)], version.labels),
            voxelMl=volumeGeometry(volume).voxel_volume_mm3 / 1000,
        )
        counts = (trial.slices, trial.volumes, len(checked))
        return Comparison(version.id, version.name, rows, *counts, trialText(trial))

    def _close(self) -> None:
        self.forget()
        self._workspace.changed.emit()


def trialText(trial: Trial) -> str:
    """What the figures of a trial mean, in one to three sentences."""
    sentences = [_heldOutText(trial)]
    if trial.earlierBefore is not None and trial.earlierAfter is not None:
        text = _("On earlier cases: {before} before and {after} after.")
        sentences.append(text.format(before=decimal(trial.earlierBefore), after=decimal(trial.earlierAfter)))
    if not trial.improved:
        sentences.append(
            _("Nothing that it learned beats the version that it started from: press “Back”, and correct more slices.")
        )
    return " ".join(sentences)


def _heldOutText(trial: Trial) -> str:
    start, before, after = (meanDice(figures) for figures in (trial.start, trial.before, trial.after))
    if not trial.slices or after is None:
        return (
            _("No slice was held out, so look at the difference yourself.")
            + " "
            + _("Three confirmed slices in one volume, one of them new, give a figure.")
        )
    if before is not None:
        text = _("Tried on {slices} still unknown to it: overlap {before} before and {after} after, {verdict}.")
    elif start is not None:
        text = _("Tried on {slices} still unknown to it: overlap {after}; the version that it started from: {start}.")
    else:
        text = _("Tried on {slices} still unknown to it: overlap {after}.")
    return text.format(
        slices=sliceCount(trial.slices),
        start=decimal(start),
        before=decimal(before),
        after=decimal(after),
        verdict=_("better") if decimal(after) > decimal(before) else _("not better"),
    )
