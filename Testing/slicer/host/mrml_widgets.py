"""Stand-ins for the qMRML widgets on the real scene."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from PySide6.QtCore import Property, Signal
from standin import Observers, standin, stored


@standin
class qMRMLWidget(qt.QWidget):
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@standin
class qMRMLNodeComboBox(qt.QWidget):
    """The nodes of some classes; without ``noneEnabled`` the first one is chosen by itself."""

    currentNodeChanged, nodeActivated, nodeAdded, nodeAddedByUser = (Signal(object) for _ in range(4))
    currentNodeIDChanged = Signal(str)
    nodeTypes = stored("nodeTypes", "QStringList", [], "_fill")
    showChildNodeTypes = stored("showChildNodeTypes", bool, True, "_fill")
    noneEnabled, noneDisplay = stored("noneEnabled", bool, False, "_fill"), stored("noneDisplay", str, "None", "_fill")
    addEnabled, removeEnabled = stored("addEnabled", bool, True), stored("removeEnabled", bool, True)
    editEnabled, renameEnabled = stored("editEnabled", bool, False), stored("renameEnabled", bool, False)
    selectNodeUponCreation, baseName = stored("selectNodeUponCreation", bool, True), stored("baseName", str, "")
    currentNodeID = Property(
        str, lambda self: self._node.GetID() if self._node else "", lambda self, value: self.setCurrentNodeID(value)
    )

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene = self._node = None
        self._entries: list[Any] = []
        self._observers = Observers()
        self._combo = qt.QComboBox()
        self._combo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._combo.connect("activated(int)", self._activate)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._observers.clear()
        self._scene = scene
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent):
                self._observers.add(scene, event, self._fill)
        self._fill()

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        """A node that is not offered selects none, as an unknown ID does."""
        self._select(self._scene.GetNodeByID(node) if isinstance(node, str) and self._scene else node)

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._select(self._scene.GetNodeByID(nodeID) if self._scene and nodeID else None)

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes()[index]

    def addNode(self, nodeType: str = "") -> Any:
        """What "Create new …" of the menu does."""
        name = self._scene.GenerateUniqueName(self.baseName or "Node")
        node = self._scene.AddNewNodeByClass(nodeType or self.nodeTypes[0], name)
        if self.selectNodeUponCreation:
            self._fill()
            self._select(node)
        self.nodeAdded.emit(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _nodes(self) -> list[Any]:
        nodes = slicer.util.getNodesByClass("vtkMRMLNode", self._scene) if self._scene else []
        return [node for node in nodes if self._offers(node)]

    def _offers(self, node: Any) -> bool:
        fits = any(node.IsA(t) if self.showChildNodeTypes else node.GetClassName() == t for t in self.nodeTypes)
        return fits and not node.GetHideFromEditors()

    def _fill(self) -> None:
        """A removed choice gives way to its successor, as in any combo box."""
        if self._scene is None or self._scene.IsBatchProcessing():
            return
        row = max(self._combo.currentIndex, 0)
        self._entries = ([None] if self.noneEnabled else []) + self._nodes()
        self._combo.clear()
        self._combo.addItems([node.GetName() or "" if node else self.noneDisplay for node in self._entries])
        if self._node in self._entries:
            self._combo.setCurrentIndex(self._entries.index(self._node))
        else:
            self._select(self._entries[min(row, len(self._entries) - 1)] if self._entries else None)

    def _select(self, node: Any) -> None:
        node = node if node in self._entries else None
        self._combo.setCurrentIndex(self._entries.index(node) if node in self._entries else -1)
        if node is not self._node:
            self._node = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def _activate(self, index: int) -> None:
        self._select(self._entries[index])
        self.nodeActivated.emit(self._node)
