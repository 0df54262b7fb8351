"""From confirmed slices to a new version that is offered beside the one in use."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from unetseg.config import Label
from unetseg.errors import CancelledError, SettingsError, TrainingDataError, UnetsegError
from unetseg.labelled_slices import LabelledSlice, load_slices
from unetseg.messages import Epoch, Train, Trained, TrainingCase
from unetseg.protocol import decode, encode
from unetseg.records import from_json, to_json
from unetseg.suggestion import SlicePosition

from .comparison import meanDice
from .confirmed import heldOut
from .correcting import Correcting
from .job_runner import Steps, WorkerLostError
from .offering import Offering
from .parameters import Budget
from .segmenting import Prediction
from .signal import Signal
from .state import CurvePoint
from .training_check import TrainingCheck, checkTraining
from .trial import Trial, readTrial
from .versions import Version, utcNow
from .wording import listed
from .workspace import Workspace

BUDGET_SECONDS = {Budget.quick: {"cpu": 120.0, "gpu": 20.0}, Budget.thorough: {"cpu": 600.0, "gpu": 150.0}}
"""Seconds of training. With all around it, segmenting included, quick shall take at most 180 s, on a GPU 30 s."""

MOST_POINTS = 2000
"""Of the curve, beyond which every other one is left out: drawn live, it must not grow for hours."""

LARGEST_NEW_BYTES = 35_000_000
"""A new network is one of the compact ones; their files, with the pieces of images beside them, stay below this."""


class Retraining:
    """Signals: ``curveChanged()`` when ``curve`` has grown or begun anew."""

    def __init__(self, workspace: Workspace, correcting: Correcting, offering: Offering) -> None:
        self.curveChanged = Signal()
        self.curve: list[CurvePoint] = []
        self._workspace = workspace
        self._correcting = correcting
        self._offering = offering
        self._stopped: Path | None = None
        self._checked: tuple[tuple[Any, ...], TrainingCheck] | None = None
        workspace.jobs.epoch.connect(self._onEpoch)

    def whyNot(self) -> str:
        """Why no retraining can be started now; empty where one can."""
        if self._workspace.parameters is None:
            return _("The scene is being closed")
        if self._offering.comparison is not None:
            return _("Decide first about the version that is offered under Compare and keep")
        return self._check().problem

    def warnings(self) -> tuple[str, ...]:
        """What the user should know before starting."""
        return () if self.whyNot() else self._check().warnings

    def summary(self) -> str:
        """What a retraining would learn from, and where it would start."""
        return self._check().summary

    def start(self) -> None:
        """Train on all confirmed slices of all volumes of the project, from the base of the chosen version.

        Always from the base: a network retrained from retrained ones forgets the slices of earlier rounds.

        Raises:
            TrainingDataError: the slices do not allow it.
        """
        problem = self.whyNot()
        if problem:
            raise TrainingDataError(problem)
        self._begin(self._steps())

    def resume(self) -> None:
        """Go on with the training that was interrupted last, once nothing else is on its way."""
        if self._workspace.jobs.status is not None:
            self._onFailed(SettingsError(_("The training can go on when the work on its way has ended")))
            return
        folder, self._stopped = self._stopped, None
        self._begin(self._resumed(folder))

    def seconds(self, budget: Budget) -> float:
        """How long a retraining of this budget takes on the chosen device."""
        if budget == Budget.minutes:
            return self._workspace.parameters.minutes * 60
        return BUDGET_SECONDS[budget]["cpu" if self._onCpu() else "gpu"]

    def offerResume(self) -> bool:
        """Whether an earlier session was interrupted while training; the user is told."""
        folders = self._workspace.project.unfinishedTrainings()
        if folders:
            self._stopped = folders[-1]
            self._workspace.say(
                "info",
                _("A training was interrupted before it was finished."),
                _("It can go on where it stood"),
                (("resume", _("Go on with it")), ("discard", _("Discard it"))),
            )
        return bool(folders)

    def discardStopped(self) -> None:
        """Forget the training that was interrupted."""
        if self._stopped is not None:
            shutil.rmtree(self._stopped, ignore_errors=True)
            self._stopped = None

    def _check(self) -> TrainingCheck:
        """Looked up again when something that it depends on is another; the panel asks many times a second."""
        workspace, correcting = self._workspace, self._correcting
        slices = correcting.corrections.slices if correcting.corrections is not None else ()
        version = workspace.version()
        state = (version, workspace.labels(), slices, correcting.changes, workspace.capabilities, workspace.project)
        if self._checked is None or any(a is not b and a != b for a, b in zip(state, self._checked[0], strict=True)):
            self._checked = (state, checkTraining(workspace, correcting))
        return self._checked[1]

    def _begin(self, steps: Steps) -> None:
        self.curve = []
        self.curveChanged.emit()
        self._workspace.startJob("train", _("Preparing the slices"), steps, self._onTrained, self._onFailed)

    def _steps(self) -> Steps:
        """Steps of a job: the slices as they are now, the training, and the new version on the open volume."""
        workspace, correcting = self._workspace, self._correcting
        if correcting.corrections is not None and correcting.corrections.slices:
            yield from correcting.store.images.steps(workspace.project, correcting.store.caseId, workspace.volumes())
        while correcting.store.saving:
            yield
        self._checked = None
        base = self._base()
        workspace.project.checkSpaceForTraining(base.path.stat().st_size if base is not None else LARGEST_NEW_BYTES)
        folder = workspace.project.newJobFolder()
        request = yield from self._withHeldOut(self._request(folder))
        (folder / "request.json").write_text(encode(request), encoding="ascii")
        return (yield from self._train(request, folder))

    def _resumed(self, folder: Path) -> Steps:
        request = decode((folder / "request.json").read_text(encoding="ascii"))
        request = replace(request, id=self._workspace.requestId(), folder=str(folder), resume=True)
        return (yield from self._train(request, folder))

    def _train(self, request: Train, folder: Path) -> Steps:
        keep = False
        try:
            trained = yield request
            record = self._record(request, trained, folder)
            used = self._workspace.version()
            trial = readTrial(request, trained, used.id if used is not None else "", record.labels)
            version = yield from _toItsEnd(self._workspace.project.addInSteps(folder / request.output, record))
        except (WorkerLostError, GeneratorExit):
            keep = any(folder.glob("*.checkpoint.safetensors"))
            raise
        finally:
            if keep:
                self._stopped = folder
            else:
                shutil.rmtree(folder, ignore_errors=True)
        self._workspace.jobs.update(kind="compare", stage=_("Segmenting with the new version"))
        # What the worker warns of was said before the start, in the user's words.
        notes: tuple[str, ...] = ()
        try:
            prediction = yield from self._offering.steps(version)
        except CancelledError:
            prediction = None  # the comparison is given up, not the version
        except UnetsegError as error:
            prediction, notes = None, (f"{error.rule}. {error.remedy}.",)
        return version, prediction, trial, notes

    def _withHeldOut(self, request: Train) -> Generator[None, None, Train]:
        """The request with the slices that each volume holds out; one volume between two yields."""
        base, cases = self._base(), []
        for case in request.cases:
            _shape, slices = load_slices(Path(request.folder, case.annotation))
            cases.append(replace(case, held_out_slices=self._heldOut(slices, base)))
            yield
        return replace(request, cases=tuple(cases))

    def _heldOut(self, slices: tuple[LabelledSlice, ...], base: Version | None) -> tuple[SlicePosition, ...]:
        """At most one slice of a volume: one that the base has not learned from, else it would flatter everything.

        Those are the slices that the base, or a version made from it, has segmented before they were confirmed. One
        that the version in use has segmented comes first, so that the two can be compared.
        """
        used, unseen = self._workspace.version(), slices
        if base is not None and base.status != "shipped":
            family = {base.id, *(version.id for version in self._workspace.project.descendants(base.id))}
            unseen = tuple(taken for taken in slices if taken.version in family)
        byUsed = tuple(taken for taken in unseen if used is not None and taken.version == used.id)
        number = self._round(base)
        return heldOut(slices, byUsed, number) or heldOut(slices, unseen, number)

    def _request(self, folder: Path) -> Train:
        workspace, base = self._workspace, self._base()
        cases = []
        for case in self._check().cases:
            snapshot = folder / f"{case.id}.json"
            shutil.copyfile(case.annotation, snapshot)
            images = tuple(str(path) for path in workspace.project.imagePaths(case.id, len(workspace.channelNames())))
            cases.append(TrainingCase(case.id, images, snapshot.name))
        return Train(
            workspace.requestId(),
            folder=str(folder),
            cases=tuple(cases),
            output="model.safetensors",
            labels=() if base is not None else tuple(to_json(label) for label in workspace.labels()),
            start_from=None if base is None else str(base.path),
            network=workspace.newNetwork() or "unet_3d",
            settings={"seconds": self.seconds(workspace.parameters.budget), "seed": self._round(base)},
            device=workspace.parameters.device,
            memory_gb=workspace.settings.memoryGb,
        )

    def _record(self, request: Train, trained: Trained, folder: Path) -> Version:
        """From the request alone: the scene may have been closed meanwhile, or the program started anew."""
        project = self._workspace.project
        base = None if request.start_from is None else project.find(Path(request.start_from).stem)
        labels = base.labels if base is not None else tuple(from_json(Label, dict(label)) for label in request.labels)
        name = listed([label.name for label in labels if label.value])
        if base is not None:
            name = _("{name}, round {number}").format(name=base.name, number=self._round(base))
        network = base.network if base is not None else request.network
        return Version(
            id="",
            name=name,
            status="offered",
            createdUtc=utcNow(),
            parent=base.id if base is not None else "",
            labels=labels,
            channels=len(request.cases[0].images),
            network=network,
            dimensions=2 if network == "unet_2d" else 3,
            modality=base.modality if base is not None else "",
            volumes=len(request.cases),
            slices=sum(len(load_slices(folder / case.annotation)[1]) for case in request.cases),
            heldOut=(trained.dice_before, trained.dice_after),
            seconds=trained.seconds,
        )

    def _base(self) -> Version | None:
        """Where the lineage of the chosen version began; None for a new network."""
        version = self._workspace.version()
        return None if version is None else self._workspace.project.base(version.id)

    def _round(self, base: Version | None) -> int:
        return 1 + (len(self._workspace.project.descendants(base.id)) if base is not None else 0)

    def _onCpu(self) -> bool:
        """``auto`` takes the first device that the worker names."""
        device, known = self._workspace.parameters.device, self._workspace.capabilities
        if device == "auto":
            device = known.devices[0].name if known is not None and known.devices else "cpu"
        return device == "cpu"

    def _onTrained(self, result: tuple[Version, Prediction | None, Trial, tuple[str, ...]]) -> None:
        self._offering.offer(*result)

    def _onFailed(self, error: Exception) -> None:
        if self._stopped is not None:
            self._workspace.report(error, (("resume", _("Go on with it")), ("discard", _("Discard it"))))
        else:
            self._workspace.report(error)

    def _onEpoch(self, epoch: Epoch) -> None:
        losses = [value for value in epoch.loss.values() if value is not None]
        heldOut = meanDice(epoch.held_out_dice) if epoch.held_out_dice is not None else None
        loss = sum(losses) if losses else None
        self.curve.append(CurvePoint(epoch.iteration, epoch.fraction, loss, heldOut))
        if len(self.curve) > MOST_POINTS:
            self.curve = [point for n, point in enumerate(self.curve) if n % 2 == 0 or point.heldOut is not None]
        self.curveChanged.emit()


def _toItsEnd(steps: Generator[None, None, Version]) -> Generator[None, None, Version]:
    """``steps``, whatever is cancelled meanwhile: what was learned is there, and a late Stop means to keep it."""
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value
        with contextlib.suppress(CancelledError):
            yield
