"""The host's stand-ins behave as the widgets of ctk and Slicer do."""

import ctk
import numpy as np
import pytest
import qt
import slicer
from plot_view import ticks

from UNetSegmentLib.parameters import Budget, Parameters

SHAPE = (6, 8, 10)


@pytest.fixture
def folded(slicerApp):
    """A section with a label in it, shown."""
    button = ctk.ctkCollapsibleButton("Section")
    qt.QVBoxLayout(button).addWidget(qt.QLabel("inside"))
    button.show()
    yield button
    button.hide()


def test_a_collapsed_section_hides_what_is_in_it(folded):
    label, got = folded.findChild(qt.QLabel), []
    folded.connect("contentsCollapsed(bool)", got.append)
    assert (folded.collapsed, label.visible) == (False, True)
    folded.collapsed = True
    assert (folded.checked, label.visible, got) == (False, False, [True])
    folded.click()
    assert (folded.collapsed, label.visible, got) == (False, True, [True, False])


def test_what_was_hidden_on_purpose_stays_hidden_after_unfolding(folded):
    label = folded.findChild(qt.QLabel)
    label.hide()
    folded.collapsed = True
    folded.collapsed = False
    assert not label.visible


def test_what_is_shown_while_collapsed_appears_with_the_unfolding(folded):
    label = folded.findChild(qt.QLabel)
    label.hide()
    folded.collapsed = True
    label.show()
    assert not label.visible
    folded.collapsed = False
    assert label.visible


def test_paths_and_folders_announce_their_change(slicerApp, tmp_path):
    path, folder, got = ctk.ctkPathLineEdit(), ctk.ctkDirectoryButton(), []
    path.connect("currentPathChanged(QString)", got.append)
    folder.connect("directoryChanged(QString)", got.append)
    path.currentPath = "/usr/bin/python3"
    folder.directory = str(tmp_path)
    folder.directory = str(tmp_path)
    assert got == ["/usr/bin/python3", str(tmp_path)]


@pytest.fixture
def combo(scene):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(scene)
    return combo


def addVolume(name, kind="Scalar"):
    return slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}VolumeNode", name)


def test_the_first_node_is_chosen_unless_none_is_a_choice(combo):
    first = addVolume("First")
    addVolume("Second")
    assert combo.currentNode() is first
    assert combo.nodeCount() == 2


def test_none_stays_chosen_where_it_is_a_choice(combo):
    combo.noneEnabled = True
    node = addVolume("First")
    assert combo.currentNode() is None
    combo.setCurrentNode(node)
    assert combo.currentNodeID == node.GetID()
    slicer.mrmlScene.RemoveNode(node)
    assert combo.currentNode() is None


def test_label_maps_count_as_scalar_volumes_unless_excluded(combo):
    addVolume("Labels", "LabelMap")
    assert combo.nodeCount() == 1
    combo.showChildNodeTypes = False
    assert (combo.nodeCount(), combo.currentNode()) == (0, None)


def test_hidden_nodes_are_not_offered(combo):
    addVolume("Shown")
    hidden = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.UnRegister(None)
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    assert [combo.nodeFromIndex(index).GetName() for index in range(combo.nodeCount())] == ["Shown"]


def test_the_successor_replaces_a_removed_choice(combo):
    nodes = [addVolume(name) for name in "ABC"]
    combo.setCurrentNode(nodes[1])
    slicer.mrmlScene.RemoveNode(nodes[1])
    assert combo.currentNode() is nodes[2]


def test_a_new_node_by_the_menu_is_announced_and_chosen(combo):
    got = []
    combo.connect("nodeAddedByUser(vtkMRMLNode*)", got.append)
    combo.baseName = "Result"
    node = combo.addNode()
    assert got == [node]
    assert combo.currentNode() is node
    assert node.GetName() == "Result"


@pytest.fixture
def editor(scene):
    """An editor on a segmentation with the segments A and B of an empty volume."""
    volume = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), name="CT")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in "AB":
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    editor = slicer.qMRMLSegmentEditorWidget()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.setMRMLSegmentEditorNode(node)
    editor.setMRMLScene(scene)
    editor.setSegmentationNode(segmentation)
    return editor


def voxels(editor, segmentID):
    array = slicer.util.arrayFromSegmentBinaryLabelmap(editor.segmentationNode(), segmentID, editor.sourceVolumeNode())
    return {tuple(index) for index in np.argwhere(array).tolist()}


def mask(*indices):
    array = np.zeros(SHAPE, bool)
    for index in indices:
        array[index] = True
    return array


def test_a_segmentation_brings_its_volume_and_its_first_segment(editor):
    assert editor.sourceVolumeNode().GetName() == "CT"
    assert editor.currentSegmentID() == "A"


def test_painting_adds_removes_and_can_be_undone(editor):
    editor.paintArray(mask((1, 2, 3), (1, 2, 4)))
    editor.paintArray(mask((1, 2, 4), (5, 7, 9)), "Remove")
    assert voxels(editor, "A") == {(1, 2, 3)}
    editor.undo()
    assert voxels(editor, "A") == {(1, 2, 3), (1, 2, 4)}
    editor.redo()
    assert voxels(editor, "A") == {(1, 2, 3)}


def test_what_a_script_writes_can_be_undone_once_the_state_is_saved(editor):
    editor.paintArray(mask((1, 2, 3)))
    editor.saveStateForUndo()
    array = mask((4, 4, 4)).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, editor.segmentationNode(), "A", editor.sourceVolumeNode())
    assert voxels(editor, "A") == {(4, 4, 4)}
    editor.undo()
    assert voxels(editor, "A") == {(1, 2, 3)}


def test_painting_one_segment_takes_the_voxel_from_the_other(editor):
    editor.paintArray(mask((0, 0, 0), (0, 0, 1)))
    editor.setCurrentSegmentID("B")
    editor.paintArray(mask((0, 0, 1)))
    assert voxels(editor, "A") == {(0, 0, 0)}
    assert voxels(editor, "B") == {(0, 0, 1)}


def test_only_the_users_choice_of_a_segment_is_announced(editor):
    got = []
    editor.connect("currentSegmentIDChanged(QString)", got.append)
    editor.setCurrentSegmentID("B")
    assert got == []
    editor.findChild(slicer.qMRMLSegmentsTableView).tableWidget().selectRow(0)
    assert got == ["A"]
    assert editor.currentSegmentID() == "A"


def test_a_closed_scene_leaves_no_segmentation_in_the_editor(editor, scene):
    got = []
    editor.connect("segmentationNodeChanged(vtkMRMLSegmentationNode*)", got.append)
    scene.Clear()
    assert got == [None]
    assert editor.findChild(slicer.qMRMLSegmentsTableView).tableWidget().rowCount == 0


def test_views_are_observed_while_an_effect_is_active(editor):
    editor.setActiveEffectByName("Paint")
    assert editor.observing
    assert editor.activeEffect().name == "Paint"
    editor.setActiveEffect(None)
    assert not editor.observing
    assert editor.activeEffect() is None


def test_another_segmentation_ends_the_effect(editor):
    editor.setActiveEffectByName("Paint")
    editor.setSegmentationNode(None)
    assert editor.activeEffect() is None


def test_effects_that_do_not_exist_are_refused(editor):
    with pytest.raises(ValueError, match="Brush"):
        editor.setActiveEffectByName("Brush")
    with pytest.raises(ValueError, match="Brush"):
        editor.setEffectNameOrder(["Paint", "Brush"])


def test_only_ordered_effects_are_shown_when_asked_for(editor):
    editor.unorderedEffectsVisible = False
    editor.setEffectNameOrder(["Erase", "Paint"])
    shown = [button.text for button in editor.findChildren(qt.QToolButton)]
    assert shown == ["None", "Erase", "Paint"]


def test_an_editor_without_its_node_refuses_a_segmentation(scene):
    editor = slicer.qMRMLSegmentEditorWidget()
    with pytest.raises(RuntimeError, match="setMRMLSegmentEditorNode"):
        editor.setSegmentationNode(scene.AddNewNodeByClass("vtkMRMLSegmentationNode"))


def test_ticks_are_round_numbers_within_the_range():
    assert ticks(0.0, 1.0) == [0.0, 0.5, 1.0]
    assert ticks(0.0, 80.0) == [0, 20, 40, 60, 80]
    assert ticks(-3.0, 7.0) == [0.0, 5.0]


def test_a_chart_is_drawn_where_its_numbers_lie(scene):
    chart = slicer.util.plot(np.array([[0.0, 1.0], [1.0, 3.0]]), xColumnIndex=0, columnNames=["x", "y"], show=False)
    chart.SetLegendVisibility(False)
    chart.GetNthPlotSeriesNode(0).SetColor(1, 0, 0)
    view = slicer.qMRMLPlotView()
    node = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    node.SetPlotChartNodeID(chart.GetID())
    view.setMRMLPlotViewNode(node)
    view.resize(266, 266)  # 200 x 200 for the curve, from (52, 26)
    image = view.grab().toImage()

    def isRed(x, y):
        color = image.pixelColor(x, y)
        return color.red() > 200 and color.green() < 100

    assert isRed(152, 126)  # the middle
    assert not isRed(102, 126)
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.0, 2.0)
    image = view.grab().toImage()
    assert isRed(102, 126)
    assert not isRed(152, 126)
    scene.RemoveNode(chart)
    assert view.grab().toImage().pixelColor(152, 126) == qt.QColor("white")


@pytest.fixture
def parameters(scene):
    return Parameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def widgetFor(kind, name):
    widget = kind()
    widget.setProperty("SlicerParameterName", name)
    return widget


def test_parameters_have_types_defaults_and_limits(parameters):
    assert (parameters.budget, parameters.minutes, parameters.show3D) == (Budget.quick, 10.0, False)
    parameters.budget, parameters.show3D = Budget.minutes, True
    assert parameters.parameterNode.GetParameter("budget") == "minutes"
    assert parameters.parameterNode.GetParameter("show3D") == "True"
    with pytest.raises(ValueError, match="within"):
        parameters.minutes = 0.1
    with pytest.raises(TypeError, match="model"):
        parameters.model = 3


def test_parameters_and_widgets_follow_each_other_until_disconnected(parameters, scene):
    gui = type("Gui", (), {})()
    gui.box, gui.spin = widgetFor(qt.QCheckBox, "show3D"), widgetFor(qt.QDoubleSpinBox, "minutes")
    gui.combo, gui.other = widgetFor(slicer.qMRMLNodeComboBox, "volume"), qt.QLabel()
    gui.combo.noneEnabled = True
    gui.combo.setMRMLScene(scene)
    tag = parameters.connectGui(gui)
    assert (gui.spin.value, gui.spin.minimum, gui.spin.maximum) == (10.0, 0.5, 600.0)
    volume = addVolume("CT")
    gui.combo.setCurrentNode(volume)
    gui.box.click()
    assert (parameters.volume, parameters.show3D) == (volume, True)
    parameters.minutes, parameters.volume = 25.0, None
    assert (gui.spin.value, gui.combo.currentNode()) == (25.0, None)
    parameters.disconnectGui(tag)
    parameters.minutes = 30.0
    gui.box.click()
    assert (gui.spin.value, parameters.show3D) == (25.0, True)


def test_a_widget_that_slicer_cannot_connect_is_refused(parameters):
    with pytest.raises(RuntimeError, match="QLabel"):
        parameters.connectParametersToGui({"minutes": qt.QLabel()})
