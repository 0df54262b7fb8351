"""One method per thing that the user does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from unetseg.volume import LabelArray

from . import slice_views
from .corrections import SliceRow
from .panel_state import PanelState
from .parameters import Parameters
from .project import Project
from .segmentation_adapter import setShow3D
from .workspace import SHIPPED_MODELS


class SegmentationLogic(PanelState, VTKObservationMixin):
    """What the panel calls. Signals: ``changed()``, ``curveChanged()``, ``sectionRequested(name)``.

    A script can use it as the panel does: ``logic.segment()``, ``logic.wait()``, ``logic.labels()``. The panel
    brings ``ask(text, choices, default)`` and ``saveUndoState()``; without it the default answer is taken, and there
    is nothing to undo.
    """

    def __init__(self) -> None:
        super().__init__()
        VTKObservationMixin.__init__(self)
        self.report = self._workspace.report
        self._showed3D = False
        self._viewTimer = qt.QTimer()
        self._viewTimer.setSingleShot(True)
        self._viewTimer.setInterval(100)
        self._viewTimer.connect("timeout()", self.changed.emit)

    # ---- what the panel brings ----

    @property
    def ask(self) -> Callable[[str, tuple[tuple[str, str], ...], str], str]:
        """Puts a question with a few answers to the user."""
        return self._workspace.ask

    @ask.setter
    def ask(self, ask: Callable[[str, tuple[tuple[str, str], ...], str], str]) -> None:
        self._workspace.ask = ask

    @property
    def saveUndoState(self) -> Callable[[], None]:
        """The Segment Editor's, called before a result is written."""
        return self._segmenting.saveUndoState

    @saveUndoState.setter
    def saveUndoState(self, save: Callable[[], None]) -> None:
        self._segmenting.saveUndoState = save

    # ---- segment ----

    def segment(self) -> None:
        self._segmenting.segment()

    def cancel(self) -> None:
        """End the work on its way and keep nothing of it."""
        self._workspace.jobs.cancel()

    def fitRegion(self, region: Any) -> None:
        """Make a new region of interest cover the volume."""
        slice_views.fitRegion(region, self.parameters.volume)

    # ---- correct ----

    def confirmSlice(self, viewName: str) -> None:
        self._correcting.confirmView(viewName)

    def confirmRows(self, rows: list[SliceRow]) -> None:
        self._correcting.confirm([(row.axis, row.index) for row in rows])

    def removeSlice(self, axis: int, index: int) -> None:
        self._correcting.remove(axis, index)

    def jumpTo(self, axis: int, index: int) -> None:
        self._correcting.jumpTo(axis, index)

    def nextSlice(self) -> None:
        """Show the slice that is worth checking next."""
        suggestion = self._correcting.suggestion
        if suggestion is not None:
            self._correcting.jumpTo(suggestion.axis, suggestion.index)

    def skipSuggestion(self) -> None:
        self._correcting.skipSuggestion()

    def alignViews(self) -> None:
        """Turn the views along the volume's slices."""
        slice_views.alignViews(self.parameters.volume)

    # ---- retrain, compare, keep ----

    def startTraining(self) -> None:
        self._retraining.start()

    def stopTraining(self) -> None:
        """End the training and offer the best so far."""
        self._workspace.jobs.cancel(keep=True)

    def abortTraining(self) -> None:
        self._workspace.jobs.cancel()

    def keep(self) -> None:
        self._offering.keep()

    def tryAgain(self) -> None:
        """Reject what is offered, and train anew with the settings of now."""
        self._offering.reject()
        self._retraining.start()

    def back(self) -> None:
        self._offering.reject()

    # ---- versions ----

    def useVersion(self, versionId: str) -> None:
        if self.comparison is not None and self.comparison.versionId == versionId:
            self._offering.keep()
        else:
            self._versions.use(versionId)

    def renameVersion(self, versionId: str, name: str) -> None:
        self._versions.rename(versionId, name)

    def exportVersion(self, versionId: str, path: str) -> None:
        self._versions.export(versionId, path)

    def importModel(self, path: str) -> None:
        self._versions.importModel(path)

    def deleteVersion(self, versionId: str) -> None:
        self._versions.delete(versionId)
        if self.comparison is not None and self.comparison.versionId == versionId:
            self._offering.reject()

    def openModelFolder(self) -> None:
        """Show the project's folder in the computer's file manager."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.project.folder)))

    # ---- settings ----

    def checkPython(self) -> None:
        self._computation.check()

    def installPyTorch(self) -> None:
        self._computation.install()

    def setPython(self, path: str) -> None:
        self._computation.setPython(path)

    def setMemoryLimit(self, memoryGb: float | None) -> None:
        self.settings.memoryGb = memoryGb
        self.changed.emit()

    def setProjectFolder(self, path: str) -> None:
        """Work in another folder; what lies in the old one stays there."""
        self._workspace.project = Project(Path(path), shippedFolder=SHIPPED_MODELS)
        self.settings.projectFolder = path
        self._correcting.introduce()
        self.changed.emit()

    def removeEverything(self) -> None:
        """Remove all models and stored corrections of the project; the scene keeps its own."""
        left = self.project.removeEverything()
        if left:
            text = _("{count} files stay because UNetSegment has not made them, or another Slicer uses them.")
            self._workspace.say("info", text.format(count=len(left)), _("Open the folder to look at them"))
        self.changed.emit()

    def dismissNotice(self) -> None:
        self._workspace.dismissNotice()

    def noticeAction(self, code: str) -> None:
        """A button of the notice was pressed."""
        self._workspace.dismissNotice()
        {
            "wait": lambda: None,
            "stop": self._workspace.worker.kill,
            "settings": lambda: self.sectionRequested.emit("settings"),
            "install": self._computation.install,
            "resume": self._retraining.resume,
            "discard": self._retraining.discardStopped,
        }[code]()

    # ---- for scripts ----

    def wait(self, seconds: float = float("inf")) -> None:
        """Return once the work on its way has ended, and what was left for idle time is done.

        Raises:
            TimeoutError: it takes longer than ``seconds``.
        """
        end = time.monotonic() + seconds
        while self.job is not None:
            slicer.app.processEvents()
            time.sleep(0.002)
            if time.monotonic() > end:
                raise TimeoutError(f"{self.job.stage} after {seconds:.0f} s")
        self._correcting.settle()
        self._workspace.tasks.drain()

    def labels(self) -> LabelArray:
        """The chosen segmentation as it is now: uint8 (D, H, W), the model's label values."""
        return self._correcting.reader().all()

    # ---- the scene ----

    def setParameterNode(self, parameters: Parameters | None) -> None:
        """Follow another parameter node, or none."""
        self.removeObservers()
        self._workspace.parameters = parameters
        if parameters is not None:
            self.addObserver(parameters.parameterNode, "ModifiedEvent", self._onParameters)
            for view in slice_views.VIEWS:
                node = slicer.mrmlScene.GetFirstNodeByName(view)
                if node is not None:
                    self.addObserver(node, "ModifiedEvent", self._onViewMoved)
        self._onParameters()

    def enter(self) -> None:
        """The panel was opened: look what can be computed, and what has happened in the project meanwhile."""
        self.project.cleanJobs()
        self._computation.prepare()
        problems = self.project.problems()
        if problems:
            self._workspace.say("warning", "\n".join(problems))
        if not self._retraining.offerResume():  # the offer would be lost among the messages of another job
            self._versions.takeIn()

    def closeScene(self) -> None:
        """The scene is being closed: a training saves what it has; the rest ends, and nothing is left behind."""
        if self.job is not None and self.job.kind in ("train", "compare"):
            self._workspace.jobs.cancel(keep=self.job.kind == "train")
        elif self.job is not None and self.job.kind == "segment":
            self._workspace.jobs.close()
            self._workspace.worker.shutdown()
        self._correcting.release()
        self._offering.forget()
        self._segmenting.forget()
        self.setParameterNode(None)

    def close(self) -> None:
        """The module is being unloaded: end the worker. A training's last checkpoint stays and can be resumed."""
        self._viewTimer.stop()
        # Before the job: what its worker still writes must be there when the job looks what is worth keeping.
        self._workspace.worker.close()
        self._workspace.jobs.close()
        self.closeScene()
        self._workspace.tasks.close()
        self.project.release()

    def _onParameters(self, caller: Any = None, event: Any = None) -> None:
        if slicer.mrmlScene.IsImporting():
            return  # the data of its nodes are read later; the module is told of the end
        self._correcting.bind()
        self._viewReasons.clear()
        parameters = self.parameters
        if parameters is not None:
            self._segmenting.refreshUncertainty()
            self._offering.refreshDifference()
            # Surfaces that the user has made elsewhere are not to be dropped.
            if parameters.segmentation is not None and (parameters.show3D or self._showed3D):
                setShow3D(parameters.segmentation, parameters.show3D)
            self._showed3D = parameters.show3D
        self.changed.emit()

    def _onViewMoved(self, caller: Any, event: Any) -> None:
        self._viewReasons.clear()
        self._viewTimer.start()
