"""Stand-in for the plot view: draws the chart node that its view node names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import qt
import slicer
from standin import standin
from vtk.util.numpy_support import vtk_to_numpy


@dataclass(frozen=True)
class Curve:
    """A series of a chart. ``y`` may have nan where nothing was measured."""

    name: str
    x: Any
    y: Any
    color: tuple[float, float, float]
    width: float
    dashed: bool
    markers: bool


@dataclass(frozen=True)
class Axes:
    """Pixels of the drawing area and the data range it stands for."""

    area: Any
    left: float
    right: float
    bottom: float
    top: float

    def point(self, x: float, y: float) -> Any:
        horizontal = (x - self.left) / (self.right - self.left)
        vertical = (y - self.bottom) / (self.top - self.bottom)
        return qt.QPointF(
            self.area.left() + horizontal * self.area.width(), self.area.bottom() - vertical * self.area.height()
        )


def curves(chart: Any) -> list[Curve]:
    """The series of a chart that have at least one number to show."""
    found = []
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        table = series.GetTableNode().GetTable() if series.GetTableNode() else None
        column = table.GetColumnByName(series.GetYColumnName() or "") if table else None
        if column is None or not column.GetNumberOfTuples():
            continue
        y = vtk_to_numpy(column).astype(float)
        over = table.GetColumnByName(series.GetXColumnName() or "")
        x = vtk_to_numpy(over).astype(float) if over else np.arange(len(y), dtype=float)
        if np.isfinite(y).any():
            dashed = series.GetLineStyle() != series.LineStyleSolid
            markers = series.GetMarkerStyle() != series.MarkerStyleNone
            name, color, width = series.GetName(), series.GetColor(), series.GetLineWidth()
            found.append(Curve(name, x, y, color, width, dashed, markers))
    return found


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers within the range, about ``count`` of them."""
    raw = (high - low) / count
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: list[Any]) -> tuple[float, float]:
    joined = np.concatenate(values)
    low, high = np.nanmin(joined), np.nanmax(joined)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


@standin
class qMRMLPlotView(qt.QWidget):
    """Draws anew whenever Qt asks for it, so that it always shows the nodes as they are."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene = self._node = None
        self.setMinimumSize(200, 160)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._node = node
        self.update()

    def fitToContent(self) -> None:
        self.update()

    def paintEvent(self, event: Any) -> None:
        painter = qt.QPainter(self)
        painter.setRenderHint(qt.QPainter.Antialiasing)
        painter.fillRect(self.rect, qt.QColor("white"))
        node = self._node
        chart = slicer.mrmlScene.GetNodeByID(node.GetPlotChartNodeID() or "") if node and node.GetScene() else None
        shown = curves(chart) if chart else []
        if shown:
            self._paintChart(painter, chart, shown)
        painter.end()

    def _paintChart(self, painter: Any, chart: Any, shown: list[Curve]) -> None:
        left, right = _range([curve.x for curve in shown])
        bottom, top = _range([curve.y for curve in shown])
        if not chart.GetXAxisRangeAuto():
            left, right = chart.GetXAxisRange()
        if not chart.GetYAxisRangeAuto():
            bottom, top = chart.GetYAxisRange()
        axes = Axes(qt.QRectF(self.rect.adjusted(52, 26, -14, -40)), left, right, bottom, top)
        _paintAxes(painter, axes, chart)
        for curve in shown:
            _paintCurve(painter, axes, curve)
        if chart.GetLegendVisibility():
            _paintLegend(painter, axes, shown)


def _paintAxes(painter: Any, axes: Axes, chart: Any) -> None:
    area = axes.area
    for value in ticks(axes.bottom, axes.top):
        y = axes.point(axes.left, value).y()
        painter.setPen(qt.QColor("#dddddd"))
        painter.drawLine(qt.QPointF(area.left(), y), qt.QPointF(area.right(), y))
        painter.setPen(qt.QColor("black"))
        label = qt.QRectF(area.left() - 52, y - 8, 47, 16)
        painter.drawText(label, qt.Qt.AlignRight | qt.Qt.AlignVCenter, f"{value:.4g}")
    for value in ticks(axes.left, axes.right):
        x = axes.point(value, axes.bottom).x()
        painter.drawText(qt.QRectF(x - 30, area.bottom() + 3, 60, 16), qt.Qt.AlignHCenter, f"{value:.4g}")
    painter.drawRect(area)
    titles = qt.QRectF(area.left(), 4, area.width(), 18), qt.QRectF(area.left(), area.bottom() + 20, area.width(), 18)
    painter.drawText(titles[0], qt.Qt.AlignHCenter, chart.GetTitle() or "")
    painter.drawText(titles[1], qt.Qt.AlignHCenter, chart.GetXAxisTitle() or "")
    painter.save()
    painter.translate(4, area.bottom())
    painter.rotate(-90)
    painter.drawText(qt.QRectF(0, 0, area.height(), 16), qt.Qt.AlignHCenter, chart.GetYAxisTitle() or "")
    painter.restore()


def _paintCurve(painter: Any, axes: Axes, curve: Curve) -> None:
    color = qt.QColor.fromRgbF(*curve.color)
    measured = np.isfinite(curve.y)
    points = [axes.point(x, y) for x, y in zip(curve.x[measured], curve.y[measured], strict=True)]
    painter.setClipRect(axes.area.adjusted(-4, -4, 4, 4))
    painter.setPen(qt.QPen(color, curve.width, qt.Qt.DashLine if curve.dashed else qt.Qt.SolidLine))
    painter.drawPolyline(points)
    painter.setBrush(color)
    for point in points if curve.markers else []:
        painter.drawEllipse(point, 3, 3)
    painter.setBrush(qt.Qt.NoBrush)
    painter.setClipping(False)


def _paintLegend(painter: Any, axes: Axes, shown: list[Curve]) -> None:
    metrics = painter.fontMetrics()
    width = max(metrics.horizontalAdvance(curve.name) for curve in shown) + 34
    box = qt.QRectF(axes.area.right() - width - 4, axes.area.top() + 4, width, 18 * len(shown) + 4)
    painter.fillRect(box, qt.QColor(255, 255, 255, 220))
    for index, curve in enumerate(shown):
        middle = box.top() + 18 * index + 11
        painter.setPen(qt.QPen(qt.QColor.fromRgbF(*curve.color), 2))
        painter.drawLine(qt.QPointF(box.left() + 4, middle), qt.QPointF(box.left() + 24, middle))
        painter.setPen(qt.QColor("black"))
        painter.drawText(qt.QPointF(box.left() + 29, middle + metrics.ascent() / 2 - 1), curve.name)
