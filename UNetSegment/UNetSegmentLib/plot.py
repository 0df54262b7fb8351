"""The curve of a training while it runs, drawn by Slicer's own plot view inside the panel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from .state import CurvePoint

UPDATE_INTERVAL_MS = 500
"""Drawing a chart takes some 10 ms of the window's process: twice a second is live enough."""
_FONT_SIZE = 11
_MARKER_SIZE = 3.0
_LOSS_COLOR = (0.85, 0.45, 0.10)
_OVERLAP_COLOR = (0.10, 0.45, 0.75)


class LiveCurve:
    """Error on the slices learned from, and overlap on those held out, over the progress of the training.

    ``frame`` is an empty widget with a layout; it is hidden while there is nothing to show. The nodes exist while
    there is something to show, are hidden from the user's lists and never saved, and go before the scene closes.
    """

    def __init__(self, frame: Any, guard: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
        self._frame = frame
        self._points: Sequence[CurvePoint] = ()
        self._waiting = False
        self._series: tuple[Any, ...] = ()
        self._chart = self._viewNode = None
        self._view = slicer.qMRMLPlotView()
        self._view.setMRMLScene(slicer.mrmlScene)
        self._view.setMinimumHeight(180)
        # Slicer's own legend lies in the chart, which is too narrow for it here: it would hide the lines.
        frame.layout().addWidget(_legend())
        frame.layout().addWidget(self._view)
        frame.setVisible(False)
        self._timer = qt.QTimer()
        self._timer.setInterval(UPDATE_INTERVAL_MS)
        self._timer.connect("timeout()", guard(self._onTimeout))
        self._observer = slicer.mrmlScene.AddObserver(
            slicer.mrmlScene.StartCloseEvent, lambda caller, event: self.clear()
        )

    def show(self, points: Sequence[CurvePoint]) -> None:
        """Draw the points, at once if the last drawing is long enough ago; no points: remove the curve."""
        self._points = points
        if not points:
            self.clear()
        elif self._timer.active:
            self._waiting = True
        else:
            self._draw()
            self._timer.start()

    def clear(self) -> None:
        """Hide the curve and take its nodes out of the scene."""
        self._timer.stop()
        self._waiting = False
        self._frame.setVisible(False)
        self._view.setMRMLPlotViewNode(None)
        tables = [series.GetTableNode() for series in self._series]
        for node in (self._viewNode, self._chart, *self._series, *tables):
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)
        self._series = ()
        self._chart = self._viewNode = None

    def close(self) -> None:
        """Leave no node and no observer behind; the object cannot be used any more."""
        self.clear()
        slicer.mrmlScene.RemoveObserver(self._observer)

    def _onTimeout(self) -> None:
        if self._waiting:
            self._waiting = False
            self._draw()
        else:
            self._timer.stop()

    def _draw(self) -> None:
        if self._chart is None:
            self._addNodes()
        for series, name in zip(self._series, ("loss", "heldOut"), strict=True):
            series.GetTableNode().SetAndObserveTable(_table(self._points, name))
        self._frame.setVisible(True)

    def _addNodes(self) -> None:
        self._series = tuple(_addSeries(*line) for line in _lines())
        self._chart = _newNode("vtkMRMLPlotChartNode", "UNetSegment curve")
        self._chart.SetTitleVisibility(False)
        self._chart.SetLegendVisibility(False)
        self._chart.SetXAxisTitle(_("Progress (%)"))
        self._chart.SetXAxisRangeAuto(False)
        self._chart.SetXAxisRange(0, 100)
        self._chart.SetYAxisTitleVisibility(False)
        self._chart.SetAxisTitleFontSize(_FONT_SIZE)
        self._chart.SetAxisLabelFontSize(_FONT_SIZE)
        slicer.mrmlScene.AddNode(self._chart)
        for series in self._series:
            self._chart.AddAndObservePlotSeriesNodeID(series.GetID())
        self._viewNode = _newNode("vtkMRMLPlotViewNode", "UNetSegment curve view")
        # The owner keeps the layout manager from making a second widget; no propagation keeps other charts out.
        self._viewNode.SetAndObserveParentLayoutNodeID(self._chart.GetID())
        self._viewNode.SetDoPropagatePlotChartSelection(False)
        self._viewNode.SetPlotChartNodeID(self._chart.GetID())
        slicer.mrmlScene.AddNode(self._viewNode)
        self._view.setMRMLPlotViewNode(self._viewNode)


def _lines() -> tuple[tuple[str, str, tuple[float, float, float]], ...]:
    """Title, column and colour of each."""
    return (
        (_("Error (loss)"), "loss", _LOSS_COLOR),
        (_("Overlap, held-out slices (Dice)"), "heldOut", _OVERLAP_COLOR),
    )


def _legend() -> Any:
    parts = []
    for title, _column, color in _lines():
        parts.append(f'<span style="color: {qt.QColor.fromRgbF(*color).name()}">●</span> {title}')
    label = qt.QLabel("\u2003".join(parts))
    label.setWordWrap(True)
    return label


def _addSeries(title: str, column: str, color: tuple[float, float, float]) -> Any:
    """One line of the chart with a table of its own: in a shared one, what was not measured would cut the line.

    The markers show a measurement that is still alone.
    """
    table = slicer.mrmlScene.AddNode(_newNode("vtkMRMLTableNode", f"UNetSegment {column}"))
    series = _newNode("vtkMRMLPlotSeriesNode", title)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
    series.SetMarkerSize(_MARKER_SIZE)
    series.SetXColumnName("progress_percent")
    series.SetYColumnName(column)
    series.SetColor(*color)
    slicer.mrmlScene.AddNode(series)
    series.SetAndObserveTableNodeID(table.GetID())
    return series


def _newNode(className: str, name: str) -> Any:
    """Not in the scene yet, so that nobody sees it before it is hidden."""
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.HideFromEditorsOn()
    node.SetSaveWithScene(False)
    return node


def _table(points: Sequence[CurvePoint], name: str) -> Any:
    """Progress and value of the points that have a finite ``name``."""
    columns = [vtk.vtkDoubleArray(), vtk.vtkDoubleArray()]
    for column, title in zip(columns, ("progress_percent", name), strict=True):
        column.SetName(title)
    for point in points:
        value = getattr(point, name)
        if value is not None and math.isfinite(value):
            columns[0].InsertNextValue(100 * point.fraction)
            columns[1].InsertNextValue(value)
    table = vtk.vtkTable()
    for column in columns:
        table.AddColumn(column)
    return table
