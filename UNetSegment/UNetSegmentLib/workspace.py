"""What all actions share: the user's choices, the project, the worker, and the one message to the user."""

from __future__ import annotations

import itertools
import platform
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from unetseg.config import Label
from unetseg.errors import CancelledError, ImageError, InternalError, SettingsError, UnetsegError
from unetseg.messages import Capabilities, Describe

from .idle import IdleTasks
from .install import explainFailure, launchCommand
from .job import WorkerProcess
from .job_runner import JobRunner, Steps
from .parameters import Parameters
from .project import Project
from .segmentation_adapter import labelsOf
from .settings import Settings
from .signal import Signal
from .state import Notice
from .versions import Version

NEW = "new:"
"""Prefix of a model choice that is a network still to be trained."""
CHANNELS = ("volume", "channel2", "channel3", "channel4")
"""The parameters that hold the volumes, in the model's order."""
SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "Resources" / "Models"

_COLORS = ((230, 90, 60), (80, 170, 230), (120, 200, 80), (240, 190, 60), (170, 110, 220), (80, 200, 180))


class Workspace:
    """Signals: ``changed()`` for anything the panel shows; ``sectionRequested(name)`` to open a section."""

    def __init__(self) -> None:
        self.changed = Signal()
        self.sectionRequested = Signal()
        self.settings = Settings()
        self.tasks = IdleTasks()
        self.worker = WorkerProcess(lambda: launchCommand(self.settings.pythonPath))
        self.jobs = JobRunner(self.worker, self.tasks)
        self.jobs.changed.connect(self.changed.emit)
        self.project = Project(Path(self.settings.projectFolder), shippedFolder=SHIPPED_MODELS)
        self.parameters: Parameters | None = None
        self.capabilities: Capabilities | None = None
        self.notice: Notice | None = None
        self._requests = itertools.count(1)
        self.ask: Callable[[str, tuple[tuple[str, str], ...], str], str] = lambda text, choices, default: default

    def volumes(self) -> list[Any]:
        """The chosen volume nodes, one a channel of the model.

        Raises:
            ImageError: a channel has no volume.
        """
        found = self.chosenVolumes()
        for name, node in zip(self.channelNames(), found, strict=True):
            if node is None:
                raise ImageError(_("Each channel needs a volume"), received=_("none for {name}").format(name=name))
        return found

    def chosenVolumes(self) -> list[Any]:
        """As ``volumes``, with None for a channel that has none yet."""
        return [getattr(self.parameters, role) for role in CHANNELS[: len(self.channelNames())]]

    def channelNames(self) -> tuple[str, ...]:
        """One name a channel that the chosen model takes."""
        version = self.version()
        if version is None or version.channels == 1:
            return (_("Volume"),)
        return tuple(_("Channel {number}").format(number=n + 1) for n in range(version.channels))

    def version(self) -> Version | None:
        """The chosen version; None for a new network, and where the version is gone."""
        if self.parameters is None or not self.parameters.model or self.newNetwork():
            return None
        return self.project.find(self.parameters.model)

    def newNetwork(self) -> str:
        """Name of the new network that is chosen; empty where a version is."""
        model = self.parameters.model if self.parameters is not None else ""
        return model.removeprefix(NEW) if model.startswith(NEW) else ""

    def labels(self) -> tuple[Label, ...]:
        """The labels that the segments stand for: the version's, or for a new network the segmentation's."""
        version = self.version()
        if version is not None:
            return version.labels
        if self.parameters is not None and self.parameters.segmentation is not None:
            return labelsOf(self.parameters.segmentation)
        return ()

    def newLabels(self) -> tuple[Label, ...]:
        """The labels that the user has named for a new network.

        Raises:
            SettingsError: none is named, or two alike.
        """
        names = [name.strip() for name in self.parameters.structures.split(",") if name.strip()]
        if not names or len(set(names)) != len(names):
            raise SettingsError(
                _("A new network needs the names of the structures, separated by commas, each once"),
                received=self.parameters.structures or _("no name"),
                remedy=_("Type for example: Liver, Spleen"),
            )
        colored = ((name, _COLORS[n % len(_COLORS)]) for n, name in enumerate(names))
        background = Label(0, "Background", (0, 0, 0))
        return (background, *(Label(n, name, color) for n, (name, color) in enumerate(colored, start=1)))

    def startJob(
        self,
        kind: str,
        stage: str,
        steps: Steps,
        onDone: Callable[[Any], None],
        onError: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run a job; its failure becomes a notice, unless ``onError`` takes it."""
        self.dismissNotice()
        self.jobs.start(kind, stage, steps, onDone, onError or self.report)

    def describe(self, models: tuple[Path, ...] = ()) -> Steps:
        """Steps of a job: ask the worker what it can do, and for the descriptions of ``models``."""
        reply = yield Describe(self.requestId(), models=tuple(str(model) for model in models))
        self.capabilities = reply
        self.changed.emit()
        return reply

    def requestId(self) -> str:
        """A name that no other request of this session has."""
        return f"request-{next(self._requests)}"

    def say(self, kind: str, text: str, remedy: str = "", actions: tuple[tuple[str, str], ...] = ()) -> None:
        """Show one message; it replaces the one before."""
        self._show(Notice(kind, text, remedy, actions=actions))

    def report(self, error: Exception, actions: tuple[tuple[str, str], ...] = ()) -> None:
        """Show a failure: what, why and what to do. What the user cancelled is no failure."""
        if isinstance(error, CancelledError):
            self.dismissNotice()
            return
        details = getattr(error, "details", "") or "".join(traceback.format_exception(error))
        if isinstance(error, UnetsegError):
            error = explainFailure(details, error)
        if isinstance(error, UnetsegError) and error.code != InternalError.code:
            received = _(" ({received})").format(received=error.received) if error.received else ""
            text, remedy = error.rule + received + ".", error.remedy
        else:
            text = _("Something went wrong in UNetSegment; your volumes and segmentations are as they were.")
            remedy = _("Please copy the report and send it to the developers")
        parts = [text, remedy, "", self._environment(), "", *dict.fromkeys((details, self.worker.log()))]
        self._show(Notice("error", text, remedy, _withoutNames("\n".join(parts)), actions))

    def dismissNotice(self) -> None:
        """The user has read the message."""
        self._show(None)

    def _show(self, notice: Notice | None) -> None:
        if notice != self.notice:
            self.notice = notice
            self.changed.emit()

    def _environment(self) -> str:
        """Programs and versions, nothing about the patient."""
        versions = self.capabilities.versions if self.capabilities is not None else {}
        application = f"Slicer {slicer.app.majorVersion}.{slicer.app.minorVersion}"
        parts = [application, platform.platform(), f"Python {platform.python_version()}"]
        return "; ".join([*parts, *(f"{name} {version}" for name, version in versions.items())])


def _withoutNames(text: str) -> str:
    """What stands in quotation marks left out: the names of volumes are often those of patients."""
    return re.sub("“[^”]*”", "“…”", text)
