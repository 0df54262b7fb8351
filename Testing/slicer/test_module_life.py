"""The module's life, from setup to cleanup, with a fake in place of the logic behind it."""

import sys
import types
from pathlib import Path

import host
import pytest
import qt
import slicer
from fake_logic import FakeLogic
from nodes import addEmptySegmentation, addEmptyVolume
from PySide6.QtTest import QTest

MODULE = Path(__file__).resolve().parents[2] / "UNetSegment" / "UNetSegment.py"


@pytest.fixture
def module(scene, monkeypatch):
    """UNetSegment.py as Slicer loads it, with a fake in place of the logic behind it."""
    fake = types.ModuleType("UNetSegmentLib.logic")
    fake.SegmentationLogic = FollowingLogic
    monkeypatch.setitem(sys.modules, "UNetSegmentLib.logic", fake)
    _module, widget = host.loadModule(str(MODULE))
    yield widget
    if widget.Observations:
        host.exit(widget)
        host.close(widget)


class FollowingLogic(FakeLogic):
    """Keeps the parameter node that it is told to follow, as the real one does."""

    def setParameterNode(self, parameters):
        self.calls.append(("setParameterNode", (parameters,)))
        self.parameters = parameters
        self.changed.emit()

    def closeScene(self):
        self.calls.append(("closeScene", ()))
        self.setParameterNode(None)


def press(widget, key):
    window = widget.panel.root.window()
    window.activateWindow()
    assert QTest.qWaitForWindowActive(window)
    QTest.keyClick(window, key, qt.Qt.ControlModifier | qt.Qt.ShiftModifier)


def test_setup_alone_is_enough_to_be_ready(module):
    assert module.logic.segmentation.parameters.parameterNode == slicer.mrmlScene.GetSingletonNode(
        "UNetSegment", "vtkMRMLScriptedModuleNode"
    )
    assert module.logic.segmentation.called("enter") == []


def test_the_volume_that_is_shown_is_chosen(module):
    addEmptyVolume("labels", "vtkMRMLLabelMapVolumeNode")
    first, shown = addEmptyVolume("first"), addEmptyVolume("shown")
    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(shown.GetID())
    host.enter(module)
    assert module.logic.segmentation.parameters.volume == shown
    module.logic.segmentation.parameters.volume = first
    host.exit(module)
    host.enter(module)
    assert module.logic.segmentation.parameters.volume == first


def test_a_label_map_is_never_chosen(module):
    labels = addEmptyVolume("labels", "vtkMRMLLabelMapVolumeNode")
    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(labels.GetID())
    host.enter(module)
    assert module.logic.segmentation.parameters.volume is None


def test_keys_and_brushes_come_with_the_module_and_go_with_it(module):
    module.parent.show()
    editor = module.panel.uis["correct"].editor
    assert not editor.observing
    host.enter(module)
    press(module, qt.Qt.Key_R)
    host.exit(module)
    press(module, qt.Qt.Key_R)
    assert module.logic.segmentation.called("confirmSlice") == [("Red",)]
    assert (editor.observing, editor.shortcuts) == (False, False)
    module.parent.hide()


def test_an_exit_leaves_work_on_its_way_alone(module):
    host.enter(module)
    host.exit(module)
    assert not {"cancel", "closeScene", "close"} & {name for name, _arguments in module.logic.segmentation.calls}


def test_a_closed_scene_is_let_go_and_the_next_one_followed(module):
    host.enter(module)
    logic = module.logic.segmentation
    volume = addEmptyVolume()
    logic.parameters.volume, logic.parameters.segmentation = volume, addEmptySegmentation(volume)
    slicer.app.processEvents()
    slicer.mrmlScene.Clear()
    assert logic.called("closeScene") == [()]
    assert logic.parameters.volume is None
    assert logic.parameters.parameterNode == slicer.mrmlScene.GetSingletonNode(
        "UNetSegment", "vtkMRMLScriptedModuleNode"
    )
    assert module.panel.uis["correct"].editor.observing
    module.panel.uis["segment"].show3DCheckBox.click()
    assert logic.parameters.show3D


def test_a_scene_closed_while_the_module_is_hidden_is_followed_when_it_is_opened(module):
    logic = module.logic.segmentation
    host.enter(module)
    host.exit(module)
    slicer.mrmlScene.Clear()
    assert logic.parameters is None
    assert not module.panel.uis["correct"].editor.observing
    host.enter(module)
    assert logic.parameters is not None


def test_a_loaded_scene_brings_its_choices(module, tmp_path):
    host.enter(module)
    logic = module.logic.segmentation
    logic.parameters.structures = "Liver"
    slicer.util.saveScene(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Clear()
    assert logic.parameters.structures == ""
    slicer.util.loadScene(str(tmp_path / "scene.mrml"))
    slicer.app.processEvents()
    assert logic.parameters.structures == "Liver"
    assert module.panel.uis["segment"].structuresEdit.text == "Liver"


def test_the_last_cleanup_leaves_nothing_behind(module):
    host.enter(module)
    logic = module.logic.segmentation
    host.exit(module)
    host.close(module)
    assert logic.called("close") == [()]
    assert not module.Observations
    logic.calls.clear()
    slicer.mrmlScene.Clear()
    logic.changed.emit()
    slicer.app.processEvents()
    assert logic.calls == []


def test_a_reloaded_module_works_without_being_entered_again(module):
    host.enter(module)
    parent, old = module.parent, module.logic.segmentation
    host.close(module)
    new = type(module)(parent)
    new.setup()
    assert old.called("close") == [()]
    logic = new.logic.segmentation
    assert logic.called("enter") == [()]
    new.panel.uis["segment"].show3DCheckBox.click()
    assert logic.parameters.show3D
    assert new.panel.uis["correct"].editor.observing
    host.close(new)
    assert not new.Observations


def test_sample_data_is_offered_where_there_is_a_module_for_it(module, monkeypatch):
    import SampleData

    SampleData.sources.clear()
    slicer.app.startupCompleted.emit()
    assert len(SampleData.sources) > 0
    monkeypatch.delitem(sys.modules, "SampleData")
    slicer.app.startupCompleted.emit()


def test_a_module_whose_setup_has_failed_can_be_unloaded(scene, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("made up")

    monkeypatch.setattr(sys.modules["UNetSegmentLib.panel"], "Panel", fail)
    with pytest.raises(RuntimeError, match="made up"):
        host.loadModule(str(MODULE))
    host.close(slicer.modules.UNetSegmentWidget)
