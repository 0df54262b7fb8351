"""One property per thing that the panel shows, and one reason per button that may be grey."""

from __future__ import annotations

from collections.abc import Sequence

from slicer.i18n import tr as _

from unetseg.messages import Capabilities
from unetseg.suggestion import Suggestion

from . import slice_views
from .computation import Computation
from .correcting import Correcting
from .corrections import Corrections, SliceRow
from .offering import Offering
from .parameters import Budget, Parameters
from .project import Project
from .retraining import Retraining
from .segmenting import Segmenting
from .settings import Settings
from .state import Comparison, CurvePoint, JobStatus, Notice, VersionRow
from .version_actions import VersionActions
from .wording import contentTitle
from .workspace import Workspace


class PanelState:
    """Reads what the parts of the logic know, and makes them.

    Signals: ``changed()``, ``curveChanged()``, ``sectionRequested(name)``.
    """

    def __init__(self) -> None:
        workspace = self._workspace = Workspace()
        self._correcting = Correcting(workspace)
        self._segmenting = Segmenting(workspace, self._correcting)
        self._offering = Offering(workspace, self._correcting, self._segmenting)
        self._retraining = Retraining(workspace, self._correcting, self._offering)
        self._computation = Computation(workspace)
        self._versions = VersionActions(workspace, self._correcting, self._segmenting)
        self.changed = workspace.changed
        self.sectionRequested = workspace.sectionRequested
        self.curveChanged = self._retraining.curveChanged
        # Asked many times a second; another answer needs a view that has moved, or other choices.
        self._viewReasons: dict[str, str] = {}

    @property
    def parameters(self) -> Parameters | None:
        """The user's choices; None while the scene is being closed."""
        return self._workspace.parameters

    @property
    def project(self) -> Project:
        """The folder of models and corrections."""
        return self._workspace.project

    @property
    def settings(self) -> Settings:
        """What is set once per computer."""
        return self._workspace.settings

    @property
    def capabilities(self) -> Capabilities | None:
        """What the computation can do; None until it has been asked."""
        return self._workspace.capabilities

    @property
    def job(self) -> JobStatus | None:
        """The work on its way."""
        return self._workspace.jobs.status

    @property
    def notice(self) -> Notice | None:
        """The message to the user."""
        return self._workspace.notice

    @property
    def corrections(self) -> Corrections | None:
        """Of the chosen segmentation."""
        return self._correcting.corrections

    @property
    def rows(self) -> tuple[SliceRow, ...]:
        """The table of slices."""
        return self._correcting.rows

    @property
    def suggestion(self) -> Suggestion | None:
        """The slice that is worth checking next."""
        return self._correcting.suggestion

    @property
    def suggestionText(self) -> str:
        """Why the proposed slice is proposed; empty without one."""
        return self._correcting.suggestionText()

    @property
    def comparison(self) -> Comparison | None:
        """The offered version beside the one in use."""
        return self._offering.comparison

    @property
    def curve(self) -> list[CurvePoint]:
        """Of the training on its way, or of the last one."""
        return self._retraining.curve

    def modelChoices(self) -> tuple[tuple[str, str, str], ...]:
        """(id, title, tooltip) of every model that can be chosen."""
        return self._versions.choices()

    def deviceChoices(self) -> tuple[tuple[str, str], ...]:
        """(name, title) of every device, with its memory."""
        return self._computation.deviceChoices()

    def channelNames(self) -> tuple[str, ...]:
        """One name a volume that the chosen model takes."""
        return self._workspace.channelNames()

    def structures(self) -> dict[int, tuple[str, tuple[int, int, int]]]:
        """Name and colour by label value, as the slices' table shows them."""
        return {label.value: (label.name, label.color) for label in self._workspace.labels() if label.value}

    def sliceTitles(self, planes: Sequence[tuple[int, int]]) -> list[str]:
        """As “Axial 35”, for each (axis, index)."""
        return slice_views.sliceTitles(self.parameters.volume, planes)

    @property
    def pythonStatus(self) -> str:
        """What came of checking the Python for computation; empty before."""
        return self._computation.status

    def canInstallPyTorch(self) -> bool:
        """Whether Slicer's own Python is chosen and PyTorch is missing there."""
        return self._computation.canInstall()

    def versionRows(self) -> tuple[VersionRow, ...]:
        """The table of versions."""
        return self._versions.rows()

    def trainingSummary(self) -> str:
        """What a retraining would learn from."""
        return self._retraining.summary()

    def trainingWarnings(self) -> tuple[str, ...]:
        """What to know before starting one."""
        return self._retraining.warnings()

    def projectContents(self) -> tuple[tuple[str, str], ...]:
        """(what, size) of everything that “remove downloads and models” would remove."""
        return tuple(
            (contentTitle(kind), _("{size:.1f} MB").format(size=size / 1e6)) for kind, size in self.project.contents()
        )

    # ---- why a button is grey; empty where it is not ----

    def whyNotSegment(self) -> str:
        return self._busy() or self._segmenting.whyNot()

    def whyNotConfirm(self, viewName: str) -> str:
        if viewName not in self._viewReasons:
            self._viewReasons[viewName] = self._correcting.whyNotConfirm(viewName)
        return self._viewReasons[viewName]

    def whyNotNextSlice(self) -> str:
        if self.corrections is None:
            return _("Segment the volume first, or choose a segmentation")
        return (
            ""
            if self._correcting.suggestion is not None
            else _("Every part of the structures is close to a checked slice")
        )

    def whyNotTrain(self) -> str:
        return self._busy() or self._retraining.whyNot()

    def whyNotKeep(self) -> str:
        return self._offering.whyNotKeep()

    def whyNotUncertainty(self) -> str:
        return "" if self._segmenting.hasUncertainty() else _("Segment the volume to see where the network is unsure")

    def viewsTilted(self) -> bool:
        """Whether a view does not lie along the volume's slices."""
        volume = self.parameters.volume if self.parameters is not None else None
        if volume is None or self.corrections is None:
            return False
        return any(self.whyNotConfirm(view) for view in slice_views.VIEWS)

    def budgetSeconds(self, budget: Budget) -> float:
        """How long a retraining of this budget takes on the chosen device."""
        return self._retraining.seconds(budget)

    def _busy(self) -> str:
        return "" if self.job is None else _("Wait until the work on its way has ended")
