"""Stand-in for the table of segments."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from mrml_widgets import qMRMLWidget
from PySide6.QtCore import Signal
from standin import Observers, standin

EVENTS = ("SegmentAdded", "SegmentRemoved", "SegmentModified", "SegmentsOrderModified")
VISIBILITY, COLOR, NAME = range(3)


@standin
class qMRMLSegmentsTableView(qMRMLWidget):
    """Colour and name of each segment; the choice is by segment ID."""

    selectionChanged = Signal(object, object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node = None
        self._observers = Observers()
        self._table = qt.QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["●", "", "Name"])
        self._table.verticalHeader().hide()
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setColumnWidth(VISIBILITY, 28)
        self._table.setColumnWidth(COLOR, 28)
        self._table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self._table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self._table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self._table.setMinimumHeight(110)
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._table)
        self._table.connect("itemSelectionChanged()", self._announce)

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._observers.clear()
        self._node = node
        if node is not None:
            for event in EVENTS:
                self._observers.add(node, getattr(slicer.vtkSegmentation, event), self._fill)
            self._observers.add(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._fill)
        self._fill()

    def selectedSegmentIDs(self) -> list[str]:
        return [self.segmentIDForRow(index.row()) for index in self._table.selectionModel().selectedRows()]

    def setSelectedSegmentIDs(self, segmentIDs: list[str]) -> None:
        if list(segmentIDs) == self.selectedSegmentIDs():
            return
        blocked = self._table.blockSignals(True)
        self._table.clearSelection()
        for segmentID in segmentIDs:
            self._table.selectRow(self.rowForSegmentID(segmentID))
        self._table.blockSignals(blocked)
        if not blocked:
            self._announce()

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def segmentIDForRow(self, row: int) -> str:
        return self._table.item(row, NAME).data(qt.Qt.UserRole)

    def rowForSegmentID(self, segmentID: str) -> int:
        return self._segmentIDs().index(segmentID)

    def tableWidget(self) -> Any:
        return self._table

    def _announce(self) -> None:
        self.selectionChanged.emit(None, None)

    def _segmentIDs(self) -> list[str]:
        return list(self._node.GetSegmentation().GetSegmentIDs()) if self._node else []

    def _fill(self) -> None:
        selected, segmentIDs = self.selectedSegmentIDs(), self._segmentIDs()
        shown = vtk.vtkStringArray()
        if self._node and self._node.GetDisplayNode():
            self._node.GetDisplayNode().GetVisibleSegmentIDs(shown)
        blocked = self._table.blockSignals(True)
        self._table.setRowCount(len(segmentIDs))
        for row, segmentID in enumerate(segmentIDs):
            segment = self._node.GetSegmentation().GetSegment(segmentID)
            mark = qt.QTableWidgetItem("●" if shown.LookupValue(segmentID) >= 0 else "○")
            color, name = qt.QTableWidgetItem(), qt.QTableWidgetItem(segment.GetName())
            square = qt.QPixmap(16, 16)
            square.fill(qt.QColor.fromRgbF(*segment.GetColor()))
            color.setIcon(qt.QIcon(square))
            name.setData(qt.Qt.UserRole, segmentID)
            for column, item in ((VISIBILITY, mark), (COLOR, color), (NAME, name)):
                self._table.setItem(row, column, item)
        self.setSelectedSegmentIDs([segmentID for segmentID in selected if segmentID in segmentIDs])
        self._table.blockSignals(blocked)
