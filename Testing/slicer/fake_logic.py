"""Stands in for the logic: the panel's tests set what it shows and read what the panel asked for.

Every action is recorded in ``calls`` as (name, arguments); an exception put into ``raises`` under an action's
name is raised by it. What the logic answers is set as plain attributes before ``changed`` is emitted.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import SimpleNamespace

from UNetSegmentLib.parameters import Budget
from UNetSegmentLib.signal import Signal
from UNetSegmentLib.state import Notice, VersionRow

ACTIONS = {
    "segment": 0, "cancel": 0, "confirmSlice": 1, "confirmRows": 1, "removeSlice": 2, "jumpTo": 2, "nextSlice": 0,
    "skipSuggestion": 0, "alignViews": 0, "fitRegion": 1, "startTraining": 0, "stopTraining": 0, "abortTraining": 0,
    "keep": 0, "tryAgain": 0, "back": 0, "useVersion": 1, "renameVersion": 2, "exportVersion": 2, "importModel": 1,
    "deleteVersion": 1, "openModelFolder": 0, "checkPython": 0, "installPyTorch": 0, "removeEverything": 0,
    "setPython": 1, "setMemoryLimit": 1, "setProjectFolder": 1, "dismissNotice": 0, "noticeAction": 1, "close": 0,
    "setParameterNode": 1, "enter": 0, "closeScene": 0,
}  # fmt: skip
"""Every action of the logic and how many arguments it takes."""
FOR_TESTS = (
    "called", "calls", "raises", "reported", "reasons", "confirmReasons", "tilted", "warnings", "models", "devices",
    "channels", "summary", "seconds", "versions", "contents", "canInstall", "structuresByValue",
)  # fmt: skip
"""What the real logic does not have."""


class FakeLogic:
    """The attributes, reasons, questions and actions of ``SegmentationLogic``, without any work behind them."""

    def __init__(self, parameters=None) -> None:
        self.changed = Signal()
        self.curveChanged = Signal()
        self.sectionRequested = Signal()
        self.parameters = parameters
        self.project = None
        self.capabilities = None
        self.job = None
        self.notice = None
        self.rows = ()
        self.comparison = None
        self.curve = []
        self.corrections = None
        self.suggestion = None
        self.suggestionText = ""
        self.ask = None
        self.saveUndoState = None
        self.calls: list[tuple[str, tuple]] = []
        self.raises: dict[str, Exception] = {}
        self.reported: list[Exception] = []
        self.reasons = {"segment": "", "nextSlice": "", "train": "", "keep": "", "uncertainty": ""}
        self.confirmReasons = {"Red": "", "Green": "", "Yellow": ""}
        self.tilted = False
        self.warnings: tuple[str, ...] = ()
        self.models = (("m1", "Knee 1", "Shipped with UNetSegment"), ("new:unet_2d", "New: 2D U-Net", "Learns slices"))
        self.devices = (("auto", "Automatic"), ("cpu", "Processor"))
        self.channels: tuple[str, ...] = ("Volume",)
        self.summary = "6 confirmed slices in 2 volumes, starting from “Knee 1”"
        self.seconds = {Budget.quick: 30.0, Budget.thorough: 600.0}
        self.versions: tuple[VersionRow, ...] = ()
        self.contents: tuple[tuple[str, str], ...] = ()
        self.canInstall = False
        self.pythonStatus = ""
        self.settings = SimpleNamespace(pythonPath="", memoryGb=None, projectFolder="/data/knees")
        self.structuresByValue = {1: ("Bone", (220, 200, 150)), 2: ("Cartilage", (80, 160, 220))}

    def __getattr__(self, name):
        if name not in ACTIONS:
            raise AttributeError(f"the logic has no '{name}'")
        return _Action(self, name, ACTIONS[name])

    def called(self, name: str) -> list[tuple]:
        """The arguments of every call of this action."""
        return [arguments for called, arguments in self.calls if called == name]

    def report(self, error: Exception) -> None:
        self.reported.append(error)
        notice = Notice("error", str(error), "", "report")
        if notice != self.notice:
            self.notice = notice
            self.changed.emit()

    def whyNotSegment(self) -> str:
        return self.reasons["segment"]

    def whyNotConfirm(self, viewName: str) -> str:
        return self.confirmReasons[viewName]

    def whyNotNextSlice(self) -> str:
        return self.reasons["nextSlice"]

    def whyNotTrain(self) -> str:
        return self.reasons["train"]

    def whyNotKeep(self) -> str:
        return self.reasons["keep"]

    def whyNotUncertainty(self) -> str:
        return self.reasons["uncertainty"]

    def trainingWarnings(self) -> tuple[str, ...]:
        return self.warnings

    def trainingSummary(self) -> str:
        return self.summary

    def budgetSeconds(self, budget: Budget) -> float:
        return self.seconds[budget]

    def versionRows(self) -> tuple[VersionRow, ...]:
        return self.versions

    def projectContents(self) -> tuple[tuple[str, str], ...]:
        return self.contents

    def canInstallPyTorch(self) -> bool:
        return self.canInstall

    def viewsTilted(self) -> bool:
        return self.tilted

    def modelChoices(self) -> tuple[tuple[str, str, str], ...]:
        return self.models

    def deviceChoices(self) -> tuple[tuple[str, str], ...]:
        return self.devices

    def channelNames(self) -> tuple[str, ...]:
        return self.channels

    def structures(self) -> dict[int, tuple[str, tuple[int, int, int]]]:
        return self.structuresByValue

    def sliceTitles(self, planes: Sequence[tuple[int, int]]) -> list[str]:
        return [f"{('Axial', 'Coronal', 'Sagittal')[axis]} {index + 1}" for axis, index in planes]


class _Action:
    """One recorded method; refuses a wrong number of arguments as the real one would."""

    def __init__(self, logic: FakeLogic, name: str, count: int) -> None:
        self.logic, self.name, self.count = logic, name, count
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(f"argument{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(count)]
        )

    def __call__(self, *arguments) -> None:
        if len(arguments) != self.count:
            raise TypeError(f"{self.name} takes {self.count} arguments, received {arguments}")
        self.logic.calls.append((self.name, arguments))
        if self.name in self.logic.raises:
            raise self.logic.raises[self.name]
