"""The host's application: scenes and files, views, modules, child processes."""

import sys

import application
import host
import numpy as np
import pytest
import qt
import slicer

MODULE = """
import slicer
from slicer.ScriptedLoadableModule import *

class {name}(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "A title"
        slicer.app.connect("startupCompleted()", lambda: calls.append("started"))

class {name}Widget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        calls.append("setup {version}")
    def enter(self):
        calls.append("enter")
    def exit(self):
        calls.append("exit")
    def cleanup(self):
        calls.append("cleanup")

class {name}Logic(ScriptedLoadableModuleLogic):
    pass

class {name}Test(ScriptedLoadableModuleTest):
    def test_something(self):
        calls.append("tested")

calls = []
"""


@pytest.fixture
def volume(scene):
    """6 x 20 x 20 voxels of 2 x 1 x 1 mm; the upper half along each axis is bright."""
    array = np.zeros((6, 20, 20), np.int16)
    array[3:, 10:, 10:] = 100
    volume = slicer.util.addVolumeFromArray(array, name="CT")
    volume.SetSpacing(1, 1, 2)
    volume.CreateDefaultDisplayNodes()
    return volume


def addSegmentation(volume, array):
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("A", "A", [1, 0, 0])
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, "A", volume)
    return segmentation


def segmentArray():
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    (volume,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "A", volume)


@pytest.mark.parametrize("ending", ["mrml", "mrb"])
def test_a_scene_comes_back_from_its_file(volume, tmp_path, ending):
    labels = (slicer.util.arrayFromVolume(volume) > 50).astype(np.uint8)
    segmentation = addSegmentation(volume, labels)
    segmentation.SetAttribute("Key", "value")
    if ending == "mrml":
        assert slicer.util.saveNode(volume, str(tmp_path / "CT.nrrd"), {})
        assert slicer.util.saveNode(segmentation, str(tmp_path / "Segmentation.seg.nrrd"), {})
    path = str(tmp_path / f"scene.{ending}")
    assert slicer.util.saveScene(path, {})
    slicer.mrmlScene.Clear()
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
    slicer.util.loadScene(path, {})
    assert np.array_equal(segmentArray(), labels)
    assert slicer.util.getNode("Segmentation").GetAttribute("Key") == "value"


def test_nodes_come_back_from_their_files(volume, tmp_path):
    labels = (slicer.util.arrayFromVolume(volume) > 50).astype(np.uint8)
    addSegmentation(volume, labels)
    array = slicer.util.arrayFromVolume(volume).copy()
    slicer.util.exportNode(volume, str(tmp_path / "CT.nrrd"), {})
    slicer.util.exportNode(slicer.util.getNode("Segmentation"), str(tmp_path / "S.seg.nrrd"), {})
    slicer.mrmlScene.Clear()
    loaded = slicer.util.loadVolume(str(tmp_path / "CT.nrrd"), {})
    slicer.util.loadSegmentation(str(tmp_path / "S.seg.nrrd"), {})
    assert np.array_equal(slicer.util.arrayFromVolume(loaded), array)
    assert loaded.GetSpacing() == (1.0, 1.0, 2.0)
    assert np.array_equal(segmentArray(), labels)


def test_a_file_that_cannot_be_read_leaves_no_node(scene, tmp_path):
    path = tmp_path / "broken.nrrd"
    path.write_text("This is no image.")
    with pytest.raises(RuntimeError, match="broken"):
        slicer.util.loadVolume(str(path), {})
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == []


def pixel(name, x, y):
    return slicer.app.layoutManager().viewImage(name, 200, 200)[y, x].tolist()


def test_the_slice_views_show_the_volume(volume):
    """RAS here is (I, J, 2 K): in the axial view left is right, and up is anterior."""
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(100, 50)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetSliceOffset(8.0)  # K = 4
    assert pixel("Red", 60, 60) == [255, 255, 255]
    assert pixel("Red", 140, 60) == [0, 0, 0]
    red.SetSliceOffset(2.0)  # K = 1
    assert pixel("Red", 60, 60) == [0, 0, 0]


def test_segments_are_seen_in_the_views_and_in_the_picture_of_all_four(volume, tmp_path):
    segmentation = addSegmentation(volume, np.ones((6, 20, 20), np.uint8))
    segmentation.GetDisplayNode().SetOpacity2DFill(1.0)
    segmentation.CreateClosedSurfaceRepresentation()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    assert pixel("Green", 100, 100) == [255, 0, 0]
    red, green, blue = np.moveaxis(slicer.app.layoutManager().viewImage("3D", 200, 200), 2, 0)
    assert ((red > 100) & (green == 0) & (blue == 0)).sum() > 500  # of 40 000
    slicer.app.layoutManager().screenshot(tmp_path / "views.png", 400, 400)
    picture = qt.QImage(str(tmp_path / "views.png"))
    assert (picture.width(), picture.height()) == (400, 400)
    assert picture.pixelColor(150, 10).name() == "#f34a33"
    assert picture.pixelColor(100, 110).name() == "#ff0000"


def test_the_volume_shines_through_a_segment_however_often_it_is_drawn(volume):
    addSegmentation(volume, np.ones((6, 20, 20), np.uint8))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(1, -1000)
    for _time in range(2):
        red, green, blue = pixel("Red", 100, 100)
        assert red == 255
        assert green == blue == pytest.approx(127, abs=2)


def test_views_forget_what_a_closed_scene_showed(volume):
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(1, -1000)
    assert pixel("Red", 100, 100) == [255, 255, 255]
    slicer.mrmlScene.Clear()
    assert pixel("Red", 100, 100) == [0, 0, 0]


@pytest.fixture
def loaded(scene, tmp_path, monkeypatch):
    """A small module as Slicer loads it, and the file it comes from."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "SmallModule.py"
    path.write_text(MODULE.format(name="SmallModule", version=1))
    module, widget = host.loadModule(path)
    yield path, module, widget
    host.close(widget)


def test_a_module_is_called_as_slicer_calls_it(loaded):
    _path, module, widget = loaded
    assert module.calls == ["started", "setup 1"]
    host.enter(widget)
    assert widget.parent.isEntered
    host.exit(widget)
    assert not widget.parent.isEntered
    slicer.selfTests["SmallModule"](msec=10)
    host.close(widget)
    host.close(widget)
    assert module.calls == ["started", "setup 1", "enter", "exit", "tested", "cleanup"]


def test_a_module_knows_its_place(loaded):
    path, _module, widget = loaded
    assert slicer.util.modulePath("SmallModule") == str(path)
    assert widget.resourcePath("UI/a.ui") == str(path.parent / "Resources" / "UI" / "a.ui")
    assert slicer.modules.smallmodule.title == "A title"
    assert slicer.modules.SmallModuleWidget is slicer.modules.smallmodule.widgetRepresentation().self()


def test_a_module_is_reloaded_from_its_changed_file(loaded):
    path, module, widget = loaded
    path.write_text(MODULE.format(name="SmallModule", version=22))
    reloaded = slicer.util.reloadScriptedModule("SmallModule")
    assert module.calls == ["started", "setup 1", "cleanup"]
    assert reloaded.calls == ["setup 22"]
    assert slicer.modules.SmallModuleWidget is not widget
    assert slicer.modules.SmallModuleWidget.parent == widget.parent
    host.close(slicer.modules.SmallModuleWidget)


def test_the_parameter_node_is_the_same_until_the_scene_is_cleared_of_it(loaded):
    logic = loaded[1].SmallModuleLogic()
    node = logic.getParameterNode()
    assert node is logic.getParameterNode()
    assert node.GetAttribute("ModuleName") == "SmallModule"


def test_a_picture_of_the_panel_has_the_views_beside_it(loaded, tmp_path):
    widget = loaded[2]
    host.screenshot(widget, tmp_path / "all.png", 880, 400)
    picture = qt.QImage(str(tmp_path / "all.png"))
    assert (picture.width(), picture.height()) == (880, 400)
    assert picture.pixelColor(10, 10).name() == application.LIGHT[0]
    assert picture.pixelColor(600, 10).name() == "#f34a33"


def test_colours_can_be_dark(slicerApp):
    slicerApp.useColors(application.DARK)
    assert qt.QLabel().palette.color(qt.QPalette.Window).name() == application.DARK[0]
    slicerApp.useColors(application.LIGHT)
    assert qt.QLabel().palette.color(qt.QPalette.Window).name() == application.LIGHT[0]


def test_a_child_process_answers_through_the_event_loop(slicerApp):
    process, loop, output, ends = qt.QProcess(), qt.QEventLoop(), [], []
    process.connect("readyReadStandardOutput()", lambda: output.append(process.readAllStandardOutput().data()))
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ends.append((code, int(status))))
    process.connect("finished(int,QProcess::ExitStatus)", lambda: loop.quit())
    process.start(sys.executable, ["-c", "print('hello'); raise SystemExit(3)"])
    loop.exec_()
    assert b"".join(output).strip() == b"hello"
    assert ends == [(3, 0)]


def test_the_application_starts_once(slicerApp):
    assert host.start() is slicerApp
