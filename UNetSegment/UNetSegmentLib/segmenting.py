"""From the chosen volume and version to a segmentation node."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from unetseg.array_file import load_array_in_steps
from unetseg.errors import SettingsError
from unetseg.messages import Box, Segment
from unetseg.volume import LabelArray

from .correcting import Correcting
from .job_runner import Steps
from .mrml_adapter import regionBox
from .overlays import UNCERTAINTY, Overlay, showUncertainty
from .segmentation_adapter import LabelReader, createSegmentation, prepareSegmentation, setShow3D, writeLabels
from .slice_views import showVolume
from .versions import Version
from .workspace import Workspace


@dataclass(frozen=True)
class Target:
    """What a job was started for: the choices at that moment, whatever the user chooses meanwhile."""

    volumes: tuple[Any, ...]
    segmentation: Any
    version: Version
    caseId: str
    region: Box | None


@dataclass(frozen=True, eq=False)
class Prediction:
    """What came of it, on the grid of the first volume: labels, and uncertainty from 0 to 255 where it is known."""

    target: Target
    labels: LabelArray
    uncertainty: LabelArray | None
    notes: tuple[str, ...]

    def withinRegion(self, before: LabelArray) -> LabelArray:
        """The labels in the region of interest, and ``before`` outside, where nothing was asked for."""
        region = self.target.region
        if region is None:
            return self.labels
        result = before.copy()
        box = tuple(slice(start, stop) for start, stop in zip(*region, strict=True))
        result[box] = self.labels[box]
        return result


class Segmenting:
    """``saveUndoState`` is the Segment Editor's; the panel sets it."""

    def __init__(self, workspace: Workspace, correcting: Correcting) -> None:
        self.saveUndoState: Callable[[], None] = lambda: None
        self._uncertainty = Overlay(UNCERTAINTY, showUncertainty)
        self._workspace = workspace
        self._correcting = correcting

    def whyNot(self) -> str:
        """Why the volume cannot be segmented now; empty where it can."""
        parameters = self._workspace.parameters
        if parameters is None:
            return _("The scene is being closed")
        if parameters.volume is None:
            return _("Choose a volume first, or load one under Sample Data")
        if self._workspace.newNetwork():
            return "" if parameters.structures.strip() else _("Name the structures that the new network shall learn")
        version = self._workspace.version()
        if version is None:
            return _("Choose a model")
        return self._correcting.whyNotSegmentWith(version.labels)

    def segment(self) -> None:
        """Segment the chosen volume with the chosen version; with a new network, make the empty segmentation.

        Raises:
            UnetsegError: a choice is missing or cannot be used.
        """
        if self._workspace.newNetwork():
            self._beginNew()
            return
        target = self.target()
        self._workspace.startJob("segment", _("Preparing the volume"), self.steps(target), self.apply)

    def target(self, version: Version | None = None) -> Target:
        """The choices of now, with ``version`` instead of the chosen one where it is given."""
        workspace, parameters = self._workspace, self._workspace.parameters
        volumes = tuple(workspace.volumes())
        region = None if parameters.region is None else regionBox(parameters.region, volumes[0])
        version = version or workspace.version()
        if version is None:
            raise SettingsError(_("A model has to be chosen"), remedy=_("Choose one under Model"))
        caseId = self._correcting.store.caseId or workspace.project.newCaseId()
        return Target(volumes, parameters.segmentation, version, caseId, region)

    def steps(self, target: Target) -> Steps:
        """Steps of a job that returns a ``Prediction``; of a whole volume the project's folder keeps the label map.

        The confirmed slices are handed to the worker, so that the prediction joins them without a step.
        """
        workspace = self._workspace
        images = yield from self._correcting.store.images.steps(workspace.project, target.caseId, target.volumes)
        while self._correcting.store.saving:
            yield
        confirmed = next((str(case.annotation) for case in workspace.project.cases() if case.id == target.caseId), None)
        folder = workspace.project.newJobFolder()
        try:
            reply = yield Segment(
                workspace.requestId(),
                folder=str(folder),
                model=str(target.version.path),
                images=images,
                label_map="labels.npz",
                uncertainty="uncertainty.npz",
                confirmed=confirmed,
                region=target.region,
                device=workspace.parameters.device if workspace.parameters is not None else "auto",
                memory_gb=workspace.settings.memoryGb,
            )
            labels, _geometry = yield from load_array_in_steps(folder / "labels.npz")
            uncertainty, _geometry = yield from load_array_in_steps(folder / "uncertainty.npz")
            if target.region is None:
                (folder / "labels.npz").replace(workspace.project.resultFile(target.caseId, target.version.id))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        # The first note says why this device, which Settings show already.
        return Prediction(target, labels, uncertainty, reply.notes[1:])

    def hasStored(self, target: Target) -> bool:
        """Whether the version has left a label map for this case."""
        return self._workspace.project.resultFile(target.caseId, target.version.id).is_file()

    def stored(self, target: Target) -> Steps:
        """As ``steps``, from the label map that the version has left for this case: of the whole volume."""
        path = self._workspace.project.resultFile(target.caseId, target.version.id)
        labels, _geometry = yield from load_array_in_steps(path)
        return Prediction(replace(target, region=None), labels, None, ())

    def apply(self, prediction: Prediction) -> None:
        """Write a prediction into its segmentation, as one undo step; confirmed slices and edits stay."""
        target, volume = prediction.target, prediction.target.volumes[0]
        if not _present(volume) or (target.segmentation is not None and not _present(target.segmentation)):
            self._workspace.say(
                "info",
                _("The volume or its segmentation was removed meanwhile, so the result is not shown."),
                _("It is kept in the project: load the volume again and press Apply"),
            )
            return
        segmentation = target.segmentation
        if segmentation is None:
            segmentation = createSegmentation(volume, target.version.labels, _resultName(volume))
            self._correcting.store.begin(segmentation, volume, target.caseId)
        prepareSegmentation(segmentation, volume, target.version.labels)
        self._choose(target, segmentation)
        self._write(prediction, segmentation)
        if prediction.notes:
            self._workspace.say("info", " ".join(prediction.notes))

    def _write(self, prediction: Prediction, segmentation: Any) -> None:
        correcting, target = self._correcting, prediction.target
        volume, answer = target.volumes[0], "keep"
        before = LabelReader(segmentation, volume, target.version.labels).all()
        if correcting.editedNow():
            answer = self._askAboutEdits()
        elif correcting.corrections.baseline is None and before.any():
            answer = self._askAboutUnknown()
        if answer == "discard":
            return
        corrections = correcting.corrections
        predicted = prediction.withinRegion(before)
        merged = corrections.merge(predicted, before, answer == "keep")
        self.saveUndoState()
        writeLabels(segmentation, volume, target.version.labels, merged)
        setShow3D(segmentation, self._workspace.parameters.show3D)
        baseline = corrections.merge(predicted, None, False)
        correcting.setPrediction(merged, before, baseline, target.version.id, prediction.uncertainty)
        known = prediction.uncertainty is not None
        self._uncertainty.content = (volume, prediction.uncertainty) if known else None
        self.refreshUncertainty()

    def hasUncertainty(self) -> bool:
        """Whether it is known where the network was unsure in the chosen volume."""
        parameters = self._workspace.parameters
        return parameters is not None and self._uncertainty.isOf(parameters.volume)

    def refreshUncertainty(self) -> None:
        """Show or hide where the network was unsure, as the user has chosen."""
        parameters = self._workspace.parameters
        if parameters is not None:
            self._uncertainty.refresh(parameters.volume, parameters.showUncertainty)

    def forget(self) -> None:
        """The scene is being closed."""
        self._uncertainty.content = None
        self._uncertainty.refresh(None, False)

    def _beginNew(self) -> None:
        parameters, labels = self._workspace.parameters, self._workspace.newLabels()
        volume = self._workspace.volumes()[0]
        if parameters.segmentation is None:
            parameters.segmentation = createSegmentation(volume, labels, _resultName(volume))
        prepareSegmentation(parameters.segmentation, volume, labels)
        showVolume(volume)
        self._correcting.bind()
        self._workspace.say(
            "info",
            _("The empty segmentation is ready."),
            _("Paint the structures on a few slices, confirm each slice, then press “Start retraining”"),
        )

    def _choose(self, target: Target, segmentation: Any) -> None:
        """Make the result the chosen segmentation, and show it where the user has turned to another volume."""
        parameters = self._workspace.parameters
        with slicer.util.NodeModify(parameters):
            parameters.volume = target.volumes[0]
            parameters.segmentation = segmentation
        if target.segmentation is None:
            showVolume(target.volumes[0])
        self._correcting.bind()

    def _askAboutEdits(self) -> str:
        return self._workspace.ask(
            _("You have changed this segmentation without confirming the slices. What shall happen to these changes?"),
            (
                ("keep", _("Keep my changes")),
                ("replace", _("Replace them by the new result")),
                ("discard", _("Leave everything as it is")),
            ),
            "keep",
        )

    def _askAboutUnknown(self) -> str:
        return self._workspace.ask(
            _("This segmentation was loaded without what was predicted, so that your changes cannot be told apart.")
            + " "
            + _("What shall happen to it?"),
            (
                ("replace", _("Replace all but the confirmed slices by the new result")),
                ("discard", _("Leave everything as it is")),
            ),
            "discard",
        )


def _resultName(volume: Any) -> str:
    return _("{volume} segmentation").format(volume=volume.GetName())


def _present(node: Any) -> bool:
    return bool(slicer.mrmlScene.IsNodePresent(node))
