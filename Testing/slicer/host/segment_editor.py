"""Stand-in for the Segment Editor, on the logic of Slicer's own editor.

What paints, masks, overwrites, undoes and redoes is ``vtkSlicerSegmentEditorLogic`` of Slicer; only mouse, keyboard
and the options of the effects are missing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import qt
import slicer
import vtk
from mrml_widgets import qMRMLWidget
from PySide6.QtCore import Signal
from segments_table import qMRMLSegmentsTableView
from standin import Observers, standin, stored
from vtk.util.numpy_support import numpy_to_vtk

EFFECTS = (
    "Threshold",
    "Paint",
    "Draw",
    "Erase",
    "Level tracing",
    "Grow from seeds",
    "Fill between slices",
    "Margin",
    "Hollow",
    "Smoothing",
    "Scissors",
    "Islands",
    "Logical operators",
    "Mask volume",
)
COLUMNS = 2


@dataclass(frozen=True)
class Effect:
    """An effect without its options."""

    name: str


@standin
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The editor. For tests and demonstrations: ``paintArray``, ``observing`` and ``shortcuts``."""

    currentSegmentIDChanged = Signal(str)
    sourceVolumeNodeChanged, segmentationNodeChanged = Signal(object), Signal(object)
    segmentationNodeSelectorVisible = stored("segmentationNodeSelectorVisible", bool, True)
    sourceVolumeNodeSelectorVisible = stored("sourceVolumeNodeSelectorVisible", bool, True)
    switchToSegmentationsButtonVisible = stored("switchToSegmentationsButtonVisible", bool, True)
    specifyGeometryButtonVisible = stored("specifyGeometryButtonVisible", bool, True)
    addRemoveSegmentButtonsVisible = stored("addRemoveSegmentButtonsVisible", bool, True, "_layOut")
    unorderedEffectsVisible = stored("unorderedEffectsVisible", bool, True, "updateEffectList")
    maximumNumberOfUndoStates = stored("maximumNumberOfUndoStates", int, 10, "_setUndoStates")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._observers, self._ofScene = Observers(), Observers()
        self._shownSegmentation = self._shownVolume = None
        self._effects = {name: Effect(name) for name in EFFECTS}
        self._order: list[str] = []
        self._observing = self._shortcuts = False
        self._build()
        self._layOut()
        self.updateEffectList()

    # What the user sees

    def _build(self) -> None:
        self._add, self._remove, show3D = (qt.QPushButton(text) for text in ("Add", "Remove", "Show 3D"))
        self._undo, self._redo = qt.QPushButton("Undo"), qt.QPushButton("Redo")
        self._undo.connect("clicked()", self.undo)
        self._redo.connect("clicked()", self.redo)
        self._table = qMRMLSegmentsTableView()
        self._table.connect("selectionChanged(QItemSelection,QItemSelection)", self._onSelection)
        self._grid = qt.QGridLayout()
        self._grid.setSpacing(2)
        self._options = qt.QLabel()
        self._options.setFrameShape(qt.QFrame.StyledPanel)
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(_row(self._add, self._remove, show3D))
        column.addWidget(self._table)
        column.addLayout(self._grid)
        column.addWidget(self._options)
        column.addLayout(_row(self._undo, self._redo))

    def _layOut(self) -> None:
        for button in (self._add, self._remove):
            button.setVisible(self.addRemoveSegmentButtonsVisible)

    def updateEffectList(self) -> None:
        while self._grid.count():
            self._grid.takeAt(0).widget().delete()
        self._buttons = {}
        for index, name in enumerate(["", *self._shownEffects()]):
            button = qt.QToolButton()
            button.setText(name or "None")
            button.setCheckable(True)
            button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            button.connect("clicked()", functools.partial(self.setActiveEffectByName, name))
            self._grid.addWidget(button, index // COLUMNS, index % COLUMNS)
            self._buttons[name] = button

    def _shownEffects(self) -> list[str]:
        others = [name for name in EFFECTS if name not in self._order] if self.unorderedEffectsVisible else []
        return [*self._order, *others]

    def updateWidgetFromMRML(self) -> None:
        """Called at each change of the editor's node, as in Slicer; a script's choice of a segment emits no signal."""
        node = self.mrmlSegmentEditorNode()
        if self._scene is None or node is None or self._scene.IsClosing() or self._scene.IsBatchProcessing():
            return
        self._showSegmentation(node.GetSegmentationNode())
        if node.GetSourceVolumeNode() is not self._shownVolume:
            self._shownVolume = node.GetSourceVolumeNode()
            self.sourceVolumeNodeChanged.emit(self._shownVolume)
        selected = self.currentSegmentID()
        known = selected in self._table._segmentIDs()
        self._table.setSelectedSegmentIDs([selected] if known else [])
        for name, button in self._buttons.items():
            button.setChecked(name == (node.GetActiveEffectName() or ""))
            button.setEnabled(self._shownVolume is not None and known)
        self._options.setText(node.GetActiveEffectName())
        self._options.setVisible(bool(node.GetActiveEffectName()))
        self._undo.setEnabled(self._logic.CanUndo())
        self._redo.setEnabled(self._logic.CanRedo())

    def _showSegmentation(self, node: Any) -> None:
        if node is self._shownSegmentation:
            return
        self._shownSegmentation = node
        self._table.setSegmentationNode(node)
        if node is not None:
            self.setSourceVolumeNode(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()))
            node.CreateDefaultDisplayNodes()
            self._logic.SelectFirstSegment(False)
        self.segmentationNodeChanged.emit(node)

    def _onSelection(self) -> None:
        selected = (self._table.selectedSegmentIDs() or [""])[0]
        if self.mrmlSegmentEditorNode() is not None and selected != self.currentSegmentID():
            self._logic.SetCurrentSegmentID(selected)
            self.currentSegmentIDChanged.emit(selected)

    # What scripts call

    def setMRMLScene(self, scene: Any) -> None:
        self._logic.SetMRMLScene(scene)
        self._ofScene.clear()
        for event in (scene.EndCloseEvent, scene.EndBatchProcessEvent) if scene is not None else ():
            self._ofScene.add(scene, event, self.updateWidgetFromMRML)
        super().setMRMLScene(scene)
        self.updateWidgetFromMRML()

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        if node is self.mrmlSegmentEditorNode():
            return
        self._observers.clear()
        self._logic.SetSegmentEditorNode(node)
        if node is not None:
            self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self.updateWidgetFromMRML)
        self._observers.add(self._logic, self._logic.SegmentationHistoryChangedEvent, self.updateWidgetFromMRML)
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._logic.GetSegmentEditorNode()

    def setSegmentationNode(self, node: Any) -> None:
        if node is self.segmentationNode():
            return
        self._requireNode()
        self._logic.SetSegmentationNode(node)
        self.setActiveEffect(None)

    def segmentationNode(self) -> Any:
        return self._logic.GetSegmentationNode()

    def setSourceVolumeNode(self, node: Any) -> None:
        self._requireNode()
        self._logic.SetSourceVolumeNode(node)

    def sourceVolumeNode(self) -> Any:
        return self._logic.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segmentID: str) -> None:
        self._logic.SetCurrentSegmentID(segmentID)

    def currentSegmentID(self) -> str:
        return self._logic.GetCurrentSegmentID()

    def effectByName(self, name: str) -> Effect | None:
        return self._effects.get(name)

    def activeEffect(self) -> Effect | None:
        node = self.mrmlSegmentEditorNode()
        return self.effectByName(node.GetActiveEffectName()) if node else None

    def setActiveEffect(self, effect: Effect | None) -> None:
        """Views are observed as long as an effect is active, as in Slicer."""
        node = self.mrmlSegmentEditorNode()
        if effect is not None:
            self._requireNode()
            self._logic.SetSourceRepresentationToBinaryLabelMap()
            self.setupViewObservations()
        elif self.activeEffect() is not None:
            self.removeViewObservations()
        if node is not None:
            node.SetActiveEffectName(effect.name if effect else "")

    def setActiveEffectByName(self, name: str) -> None:
        if name and name not in self._effects:
            raise ValueError(f"there is no segment editor effect {name!r}; effects are {', '.join(EFFECTS)}")
        self.setActiveEffect(self.effectByName(name))

    def setEffectNameOrder(self, names: list[str]) -> None:
        unknown = set(names) - set(EFFECTS)
        if unknown:
            raise ValueError(f"there are no segment editor effects {unknown}; effects are {', '.join(EFFECTS)}")
        self._order = list(names)
        self.updateEffectList()

    def setupViewObservations(self) -> None:
        self._observing = True

    def removeViewObservations(self) -> None:
        self._observing = False

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        self._shortcuts = True

    def uninstallKeyboardShortcuts(self) -> None:
        self._shortcuts = False

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def _setUndoStates(self) -> None:
        self._logic.SetMaximumNumberOfUndoStates(self.maximumNumberOfUndoStates)

    def _requireNode(self) -> None:
        if self.mrmlSegmentEditorNode() is None:
            raise RuntimeError("the segment editor has no node yet: call setMRMLSegmentEditorNode() first")

    # For tests and demonstrations

    @property
    def observing(self) -> bool:
        """Whether the views are observed: enter() and exit() of a module must balance."""
        return self._observing

    @property
    def shortcuts(self) -> bool:
        """Whether the keyboard shortcuts are installed."""
        return self._shortcuts

    def paintArray(self, mask: Any, mode: str = "Add") -> None:
        """What a stroke does: ``mask`` (K, J, I) of the source volume is added to the current segment.

        ``mode`` may also be ``Remove`` and ``Set``.
        """
        logic = self._logic
        logic.SaveStateForUndo()
        logic.ResetModifierLabelmapToDefault()
        logic.UpdateMaskLabelmap()
        stroke = slicer.vtkOrientedImageData()
        stroke.SetDimensions(mask.shape[::-1])
        stroke.GetPointData().SetScalars(numpy_to_vtk(mask.astype("uint8").ravel(), deep=True))
        ijkToRAS = vtk.vtkMatrix4x4()
        self.sourceVolumeNode().GetIJKToRASMatrix(ijkToRAS)
        stroke.SetImageToWorldMatrix(ijkToRAS)
        resample = slicer.vtkOrientedImageDataResample
        resample.ModifyImage(logic.GetModifierLabelmap(), stroke, resample.OPERATION_MAXIMUM)
        logic.ModifySegmentByLabelmap(
            self.segmentationNode(),
            self.currentSegmentID(),
            logic.GetModifierLabelmap(),
            getattr(logic, "ModificationMode" + mode),
            False,
            False,
        )


def _row(*widgets: Any) -> Any:
    row = qt.QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
