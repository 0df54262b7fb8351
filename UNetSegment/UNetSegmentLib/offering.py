"""A new version beside the one in use: compared, then kept or rejected. Nothing is used before it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from slicer.i18n import tr as _

from unetseg.labelled_slices import LabelledSlice
from unetseg.volume import LabelArray

from .comparison import compare, inRegion, meanDice
from .correcting import Correcting
from .job_runner import Steps
from .mrml_adapter import volumeGeometry
from .overlays import DIFFERENCE, Overlay, showDifference
from .project import Version
from .segmenting import Prediction, Segmenting
from .state import Comparison, ComparisonRow
from .wording import decimal, sliceCount
from .workspace import Workspace

Planes = Sequence[tuple[int, int]]


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
        """Steps of a job: what the new version and the one in use say about the open volume by themselves.

        Returns None where no volume is open.
        """
        parameters = self._workspace.parameters
        if parameters is None or parameters.volume is None:
            return None
        target = self._segmenting.target(version)
        prediction = yield from self._segmenting.steps(target)
        corrections = self._correcting.corrections
        used = self._workspace.project.find(corrections.version) if corrections is not None else None
        if used is None or not self._segmenting.hasStored(replace(target, version=used)):
            return prediction, None
        before = yield from self._segmenting.stored(replace(target, version=used))
        return prediction, before.labels

    def offer(
        self,
        version: Version,
        predictions: tuple[Prediction, LabelArray | None] | None,
        heldOut: Mapping[str, Planes],
        notes: Sequence[str],
    ) -> None:
        """Show the new version beside the one in use; where its volume is gone, only tell that it is there.

        ``heldOut`` are the slices that it has not learned from, by case; ``notes`` what else the user should know.
        """
        if predictions is None or predictions[0].target.caseId != self._correcting.caseId:
            ready = _("The new version “{name}” is ready.").format(name=version.name)
            remedy = _("Choose it in the list of versions to use it")
            self._workspace.say("warning" if notes else "info", " ".join((ready, *notes)), remedy)
            return
        prediction, predictedBefore = predictions
        self._version, self._prediction = version, prediction
        self.comparison = self._compare(prediction, predictedBefore, heldOut.get(prediction.target.caseId, ()))
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

    def _compare(self, prediction: Prediction, predictedBefore: LabelArray | None, heldOut: Planes) -> Comparison:
        corrections, version = self._correcting.corrections, self._version
        shownBefore = self._correcting.reader().all()
        shownAfter = corrections.merge(prediction.withinRegion(shownBefore), shownBefore, True)
        volume = prediction.target.volumes[0]
        self._difference.content = (volume, shownBefore, shownAfter)
        # Outside the region of interest nothing was asked for, so that nothing can be judged there.
        region = prediction.target.region or ((0, 0, 0), corrections.shape)
        box = tuple(slice(*bounds) for bounds in zip(*region, strict=True))
        held = inRegion([taken for taken in corrections.slices if (taken.axis, taken.index) in heldOut], region)
        # A slice that the version in use has learned from would flatter it.
        unseen = all(taken.version == corrections.version for taken in held)
        known = [taken for taken in corrections.slices if taken.before is not None]
        checked = [taken for taken in known if taken.version == corrections.version]
        rows = compare(
            version.labels,
            shownBefore=shownBefore,
            shownAfter=shownAfter,
            predictedBefore=predictedBefore[box] if predictedBefore is not None and unseen else None,
            predictedAfter=prediction.labels[box],
            heldOut=held,
            checked=checked,
            voxelMl=volumeGeometry(volume).voxel_volume_mm3 / 1000,
        )
        return Comparison(version.id, version.name, rows, len(held), len(checked), _summary(rows, held))

    def _close(self) -> None:
        self.forget()
        self._workspace.changed.emit()


def _summary(rows: Sequence[ComparisonRow], heldOut: Sequence[LabelledSlice]) -> str:
    before, after = (meanDice([getattr(row, name) for row in rows]) for name in ("heldOutBefore", "heldOutAfter"))
    if not heldOut or after is None:
        return _("No slice was held out, so look at the difference yourself. Confirm three slices to get a figure.")
    slices = sliceCount(len(heldOut))
    if before is None:
        text = _("On {slices} it has not learned from, its overlap is {after}; that of the one in use is unknown.")
        return text.format(slices=slices, after=decimal(after))
    text = _("On {slices} it has not learned from, the overlap is {before} before and {after} after: {verdict}.")
    verdict = _("better") if after > before else _("not better")
    return text.format(slices=slices, before=decimal(before), after=decimal(after), verdict=verdict)
