"""The live curve: the nodes behind it hold the points, seldom redrawn, and never stay behind."""

import math

import pytest
import qt
import slicer

from UNetSegmentLib.plot import LiveCurve
from UNetSegmentLib.state import CurvePoint

POINTS = [
    CurvePoint(10, 0.25, 1.5, None),
    CurvePoint(20, 0.5, 0.75, 0.5),
    CurvePoint(30, 0.75, math.nan, None),
    CurvePoint(40, 1.0, None, 0.625),
]
PLOT_CLASSES = ("vtkMRMLPlotViewNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode")


@pytest.fixture
def frame(scene):
    frame = qt.QWidget()
    qt.QVBoxLayout(frame)
    yield frame
    frame.delete()


@pytest.fixture
def curve(frame):
    curve = LiveCurve(frame, lambda action: action)
    yield curve
    curve.close()


def counts():
    return [slicer.mrmlScene.GetNumberOfNodesByClass(name) for name in PLOT_CLASSES]


def drawn():
    """The rows of each series that the chart shows, found from the view node on: {series name: rows}."""
    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    chart = view.GetPlotChartNode()
    found = {}
    for i in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(i)
        table = series.GetTableNode().GetTable()
        x, y = (table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName()))
        found[series.GetName()] = [(x.GetValue(row), y.GetValue(row)) for row in range(table.GetNumberOfRows())]
    return found


def timeUp(curve):
    curve._timer.timeout.emit()


def test_each_line_has_the_points_that_were_measured(curve):
    curve.show(POINTS)
    loss, overlap = drawn().values()
    assert loss == [(25.0, 1.5), (50.0, 0.75)]
    assert overlap == [(50.0, 0.5), (100.0, 0.625)]


def test_the_legend_says_what_the_lines_are_and_hides_none_of_them(curve, frame):
    curve.show(POINTS)
    assert list(drawn()) == ["Error (loss)", "Overlap, held-out slices (Dice)"]
    legend = frame.layout().itemAt(0).widget().text
    for name, color in zip(drawn(), ("#d9731a", "#1a73bf"), strict=True):
        assert f'<span style="color: {color}">●</span> {name}' in legend
    assert not slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode").GetLegendVisibility()


def test_the_axis_is_the_whole_training(curve):
    curve.show(POINTS[:1])
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert not chart.GetXAxisRangeAuto()
    assert chart.GetXAxisRange() == (0.0, 100.0)


def test_nothing_is_there_until_there_is_data(curve, frame):
    curve.show([])
    assert counts() == [0, 0, 0, 0]
    assert frame.isHidden()
    curve.show(POINTS)
    assert counts() == [1, 1, 2, 2]
    assert not frame.isHidden()


def test_a_point_without_any_value_gives_empty_lines(curve):
    curve.show([CurvePoint(0, 0.0, None, None)])
    assert list(drawn().values()) == [[], []]


def test_it_is_drawn_at_most_once_per_interval_and_the_last_state_wins(curve):
    points = POINTS[:1]
    curve.show(points)
    for point in POINTS[1:]:
        points.append(point)
        curve.show(points)
    assert [len(rows) for rows in drawn().values()] == [1, 0]
    timeUp(curve)
    assert [len(rows) for rows in drawn().values()] == [2, 2]


def test_after_a_pause_the_next_point_is_drawn_at_once(curve):
    curve.show(POINTS[:1])
    timeUp(curve)
    assert not curve._timer.active
    curve.show(POINTS[:2])
    assert [len(rows) for rows in drawn().values()] == [2, 1]
    assert curve._timer.active


def test_redrawing_uses_the_same_nodes(curve):
    for _ in range(3):
        curve.show(POINTS)
        timeUp(curve)
        timeUp(curve)
    assert counts() == [1, 1, 2, 2]


def test_the_chart_is_told_of_new_points(curve):
    curve.show(POINTS[:1])
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    told = []
    chart.AddObserver("ModifiedEvent", lambda caller, event: told.append(drawn()))
    curve.show(POINTS)
    timeUp(curve)
    assert [len(rows) for rows in told[-1].values()] == [2, 2]


def test_the_nodes_are_hidden_owned_and_not_saved(curve):
    curve.show(POINTS)
    nodes = [node for name in PLOT_CLASSES for node in slicer.util.getNodesByClass(name)]
    assert len(nodes) == 6
    assert all(node.GetHideFromEditors() and not node.GetSaveWithScene() for node in nodes)
    view, chart = nodes[:2]
    assert view.GetParentLayoutNode() is chart
    assert not view.GetDoPropagatePlotChartSelection()


def test_a_saved_scene_has_none_of_them(curve, tmp_path):
    curve.show(POINTS)
    path = tmp_path / "scene.mrml"
    slicer.mrmlScene.Commit(str(path))
    assert "Plot" not in path.read_text()


def test_a_new_training_starts_with_an_empty_frame(curve, frame):
    curve.show(POINTS)
    curve.show([])
    assert counts() == [0, 0, 0, 0]
    assert frame.isHidden()
    curve.show(POINTS[:1])
    assert list(drawn().values()) == [[(25.0, 1.5)], []]


def test_closing_the_scene_takes_the_curve_away_and_the_training_may_go_on(curve, frame):
    curve.show(POINTS[:1])
    curve.show(POINTS[:2])
    slicer.mrmlScene.Clear()
    assert frame.isHidden()
    assert counts() == [0, 0, 0, 0]
    timeUp(curve)
    assert counts() == [0, 0, 0, 0]
    curve.show(POINTS)
    assert [len(rows) for rows in drawn().values()] == [2, 2]


def test_closing_leaves_no_node_and_no_observer(frame):
    curve = LiveCurve(frame, lambda action: action)
    curve.show(POINTS)
    curve.close()
    assert counts() == [0, 0, 0, 0]
    closings = []
    curve.clear = lambda: closings.append(1)
    slicer.mrmlScene.Clear()
    assert closings == []


def test_ten_thousand_points_keep_their_values(curve):
    curve.show([CurvePoint(i, i / 10000, 1 / (i + 1), i / 10000) for i in range(10000)])
    loss, overlap = drawn().values()
    assert loss[9999] == (99.99, 0.0001)
    assert overlap[5000] == (50.0, 0.5)
