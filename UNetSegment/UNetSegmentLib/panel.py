"""The panel: the notice bar and five sections, each showing the logic's state and passing on what the user does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from .dialogs import askChoice
from .sections.compare import CompareSection
from .sections.correct import CorrectSection
from .sections.guard import makeGuard
from .sections.notice import NoticeSection
from .sections.retrain import RetrainSection
from .sections.segment import SegmentSection
from .sections.settings import SettingsSection

_SECTIONS = {
    "notice": NoticeSection,
    "segment": SegmentSection,
    "correct": CorrectSection,
    "retrain": RetrainSection,
    "compare": CompareSection,
    "settings": SettingsSection,
}


class Panel:
    """Puts itself into ``layout``; ``resourcePath`` turns a path relative to Resources into a full one.

    What the logic reports as changed is shown once per turn of the event loop, however often it is reported.

    Attributes:
        sections, uis: by name, the sections and their widgets.
    """

    def __init__(self, layout: Any, logic: Any, resourcePath: Callable[[str], str]) -> None:
        self._logic, self._resourcePath = logic, resourcePath
        self._guard = makeGuard(logic)
        self._connected: list[tuple[Any, Any]] = []
        self._hadCorrections = False
        self._sectionRoots: list[Any] = []
        self.root = slicer.util.loadUI(resourcePath("UI/UNetSegment.ui"))
        self._ui = slicer.util.childWidgetVariables(self.root)
        layout.addWidget(self.root)
        self.uis: dict[str, Any] = {}
        self.sections = {name: self._add(name, kind) for name, kind in _SECTIONS.items()}
        self._refreshTimer = qt.QTimer()
        self._refreshTimer.setSingleShot(True)
        self._refreshTimer.setInterval(0)
        self._refreshTimer.connect("timeout()", self._guard(self.refresh))
        logic.changed.connect(self._onChanged)
        logic.sectionRequested.connect(self.open)
        logic.ask = askChoice
        logic.saveUndoState = self.sections["correct"].saveUndoState
        self.refresh()

    def setParameters(self, parameters: Any) -> None:
        """Let the user choose in this parameter node, and the logic follow it."""
        self._disconnectGui()
        self._guard(self._logic.setParameterNode)(parameters)
        self._connectGui(parameters)

    def enter(self) -> None:
        """The module is opened; ``setParameters`` was called before."""
        self.sections["correct"].enter()
        self._guard(self._logic.enter)()
        self.refresh()

    def exit(self) -> None:
        """Another module is opened: nothing of the panel reacts any more, work on its way goes on."""
        self.sections["correct"].exit()
        self._disconnectGui()

    def releaseScene(self) -> None:
        """The scene is about to be closed."""
        self._disconnectGui()
        self.sections["correct"].releaseScene()
        self._guard(self._logic.closeScene)()

    def close(self) -> None:
        """Leave nothing behind."""
        self._refreshTimer.stop()
        self._logic.changed.disconnect(self._onChanged)
        self._logic.sectionRequested.disconnect(self.open)
        self._disconnectGui()
        for section in self.sections.values():
            section.close()
        for root in self._sectionRoots:
            root.setMRMLScene(None)
        self.root.deleteLater()

    def refresh(self) -> None:
        """Show the logic's state of now."""
        for section in self.sections.values():
            section.refresh()
        hasCorrections = self._logic.corrections is not None
        if hasCorrections and not self._hadCorrections:
            self.open("correct")
        self._hadCorrections = hasCorrections

    def open(self, name: str) -> None:
        """Unfold a section; none is ever folded but by the user."""
        self._place(name).collapsed = False

    def _onChanged(self) -> None:
        self._refreshTimer.start()

    def _place(self, name: str) -> Any:
        return getattr(self._ui, f"{name}Section")

    def _add(self, name: str, kind: type) -> Any:
        """The section comes before the scene: the Segment Editor needs its editor node first."""
        root = slicer.util.loadUI(self._resourcePath(f"UI/{name.capitalize()}.ui"))
        ui = self.uis[name] = slicer.util.childWidgetVariables(root)
        self._place(name).layout().addWidget(root)
        section = kind(ui, self._logic, self._guard)
        root.setMRMLScene(slicer.mrmlScene)
        self._sectionRoots.append(root)
        return section

    def _connectGui(self, parameters: Any) -> None:
        self._connected = [(parameters, parameters.connectGui(ui)) for ui in self.uis.values()]

    def _disconnectGui(self) -> None:
        for parameters, tag in self._connected:
            parameters.disconnectGui(tag)
        self._connected = []
