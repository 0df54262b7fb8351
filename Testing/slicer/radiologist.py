"""A simulated radiologist at the panel: presses its buttons, paints what the truth says, and waits as a person would.

Nothing here reaches past the widgets but for painting, which needs a mouse: a stroke is given to the Segment
Editor's own logic, with its overwrite rules and its undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import slicer
from numpy.typing import NDArray

from unetseg.data import Case
from unetseg.metrics import dice_per_class
from unetseg.volume import UNLABELLED
from UNetSegmentLib import dialogs
from UNetSegmentLib.sample_data import ijkToRas
from UNetSegmentLib.slice_views import viewForAxis

SECONDS_TO_WAIT = 600.0


def doctorOf(widget: Any, case: Case) -> Radiologist:
    """A radiologist who knows the labels of a case, whose first channel becomes a volume of the scene."""
    node = slicer.util.addVolumeFromArray(case.volume.array[0], ijkToRas(case.volume.geometry), case.name)
    return Radiologist(widget, node, case.annotation.array)


class Radiologist:
    """Works at ``widget``, the module's, on a volume node whose ``truth`` (D, H, W) the radiologist knows."""

    def __init__(self, widget, volumeNode, truth: NDArray[np.uint8]) -> None:
        self.widget = widget
        self.logic = widget.logic.segmentation
        self.volume = volumeNode
        self.truth = truth
        self.parameters.volume = volumeNode

    @property
    def parameters(self):
        return self.logic.parameters

    @property
    def editor(self):
        return self.widget.panel.sections["correct"].editor.widget

    def ui(self, section: str):
        """The widgets of a section by their names."""
        return self.widget.panel.uis[section]

    def labels(self) -> NDArray[np.uint8]:
        """What the segmentation holds now."""
        return self.logic.labels()

    def press(self, section: str, button: str) -> None:
        """Click a button that is there and not grey, and wait for what it does; no error may come of it."""
        self.settle()
        widget = getattr(self.ui(section), button)
        assert widget.enabled, f"{button} is grey: {widget.toolTip}"
        widget.click()
        self.settle()
        notice = self.logic.notice
        assert notice is None or notice.kind != "error", notice.report

    def settle(self) -> None:
        """Let the edits and events that are waiting take effect."""
        slicer.app.processEvents()
        self.logic.wait(SECONDS_TO_WAIT)
        slicer.app.processEvents()

    def choose(self, model: str) -> None:
        """Choose a model of the list: the id of a version, or ``new:`` and the name of a network."""
        self.settle()
        chooser = self.ui("segment").modelChooser
        index = chooser.findData(model)
        assert index >= 0, f"no model {model}"
        chooser.setCurrentIndex(index)
        chooser.activated.emit(index)
        self.settle()

    def importModel(self, path: Path) -> None:
        """Take a model file into the project, and choose it."""
        with mock.patch.object(dialogs, "askOpenFile", return_value=str(path)):
            self.press("compare", "importVersionButton")
        self.choose(self.logic.versionRows()[0].id)

    def segment(self) -> None:
        self.press("segment", "applyButton")

    def correctNext(self, count: int) -> list[tuple[int, int]]:
        """Go to the slice that the panel proposes and correct it, ``count`` times; returns these slices."""
        planes = []
        for _ in range(count):
            self.press("correct", "nextButton")
            planes.append((self.logic.suggestion.axis, self.logic.suggestion.index))
            self.correct(*planes[-1])
        return planes

    def correct(self, axis: int, index: int) -> None:
        """Paint one slice as the truth has it, and confirm it."""
        self.paint(axis, index)
        self.confirm(axis, index)

    def paint(self, axis: int, index: int) -> None:
        """Make one slice what the truth says, one stroke a structure, and leave it at that."""
        plane = [slice(None)] * 3
        plane[axis] = index
        on_slice = np.zeros(self.truth.shape, bool)
        on_slice[tuple(plane)] = True
        self.logic.jumpTo(axis, index)
        for value in range(1, int(self.truth.max()) + 1):
            now = self.labels()
            self.editor.setCurrentSegmentID(f"UNetSegment_{value}")
            missing = on_slice & (self.truth == value) & (now != value)
            if missing.any():
                self.editor.paintArray(missing, "Add")
            wrong = on_slice & (self.truth == 0) & (now == value)
            if wrong.any():
                self.editor.paintArray(wrong, "Remove")
        self.settle()

    def confirm(self, axis: int, index: int) -> None:
        """Press “This slice is right” of the view that shows the slice."""
        view = viewForAxis(self.volume, axis)
        self.press("correct", f"confirm{view}Button")

    def retrain(self) -> None:
        self.press("retrain", "trainButton")

    def keep(self) -> None:
        self.press("compare", "keepButton")

    def useVersion(self, versionId: str) -> None:
        """Choose a row of the table of versions, and go to that version."""
        self.settle()
        row = [version.id for version in self.logic.versionRows()].index(versionId)
        self.ui("compare").versionsTable.selectRow(row)
        self.press("compare", "useVersionButton")

    def dice(self, shown: Sequence[tuple[int, int]]) -> float:
        """Mean Dice over the structures on all voxels outside the slices that were shown."""
        annotation = self.truth.copy()
        for axis, index in shown:
            plane = [slice(None)] * 3
            plane[axis] = index
            annotation[tuple(plane)] = UNLABELLED
        found = dice_per_class(self.labels(), annotation, int(self.truth.max()) + 1)
        return float(np.mean([value for value in found if value is not None]))
