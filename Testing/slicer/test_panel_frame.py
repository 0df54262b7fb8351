"""The panel as a whole: its sections, its guard, and the module's life from setup to cleanup."""

import inspect
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import host
import numpy as np
import pytest
import qt
import slicer
from fake_logic import ACTIONS, FOR_TESTS, FakeLogic
from PySide6.QtTest import QTest

from UNetSegmentLib.corrections import SliceRow, SliceState
from UNetSegmentLib.dialogs import askChoice
from UNetSegmentLib.panel import Panel
from UNetSegmentLib.parameters import Parameters
from UNetSegmentLib.sections.guard import makeGuard
from UNetSegmentLib.state import Notice

MODULE = Path(__file__).resolve().parents[2] / "UNetSegment" / "UNetSegment.py"
DOCK_WIDTH = 380
SCROLL_BAR_AND_MARGINS = 40
NAMES = ("segment", "correct", "retrain", "compare", "settings")


def resourcePath(name):
    return str(MODULE.parent / "Resources" / name)


def addVolume(name="MR", nodeClass="vtkMRMLScalarVolumeNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
    slicer.util.updateVolumeFromArray(node, np.zeros((4, 5, 6), np.uint8))
    return node


def addSegmentation(volume):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node


@pytest.fixture
def built(scene):
    """A panel in a dock, on a fake logic."""
    dock = qt.QWidget()
    layout = qt.QVBoxLayout(dock)
    logic = FakeLogic(Parameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")))
    panel = Panel(layout, logic, resourcePath)
    panel.setParameters(logic.parameters)
    panel.enter()
    logic.calls.clear()
    dock.resize(DOCK_WIDTH, 900)
    dock.show()
    built = SimpleNamespace(dock=dock, panel=panel, logic=logic)
    yield built
    if built.panel is not None:
        panel.close()
    dock.deleteLater()


def folded(panel):
    return [name for name in NAMES if panel.root.findChild(qt.QWidget, f"{name}Section").collapsed]


def change(built, **state):
    for name, value in state.items():
        setattr(built.logic, name, value)
    built.logic.changed.emit()
    slicer.app.processEvents()


def test_the_fake_logic_takes_what_the_real_one_takes(scene):
    from UNetSegmentLib.logic import SegmentationLogic

    for name, count in ACTIONS.items():
        parameters = list(inspect.signature(getattr(SegmentationLogic, name)).parameters.values())[1:]
        assert sum(parameter.default is parameter.empty for parameter in parameters) == count, name
    real = SegmentationLogic()
    names = [name for name in (*vars(FakeLogic), *vars(FakeLogic())) if not name.startswith("_")]
    assert [name for name in names if not hasattr(real, name) and name not in FOR_TESTS] == []
    real.close()


# ---- guard ----


def test_what_a_slot_raises_becomes_a_notice(scene):
    logic = FakeLogic()
    error = ValueError("no such slice")

    def action():
        raise error

    button = qt.QPushButton()
    button.connect("clicked()", makeGuard(logic)(action))
    button.click()
    assert logic.reported == [error]


def test_a_slot_receives_as_many_arguments_as_it_takes(scene):
    received = []
    guard = makeGuard(FakeLogic())
    for slot in (
        lambda: received.append(()),
        lambda one: received.append((one,)),
        lambda one, two=5: received.append((one, two)),
        lambda *all_: received.append(all_),
    ):
        guard(slot)(1, 2)
    assert received == [(), (1,), (1, 5), (1, 2)]


# ---- the panel ----


def test_at_first_only_the_first_section_is_unfolded(built):
    assert folded(built.panel) == ["correct", "retrain", "compare", "settings"]


def test_correct_unfolds_once_there_is_something_to_correct_and_nothing_is_folded(built):
    built.panel.open("settings")
    change(built, corrections=object())
    assert folded(built.panel) == ["retrain", "compare"]


def test_what_the_user_has_folded_stays_folded(built):
    change(built, corrections=object())
    built.panel.root.findChild(qt.QWidget, "correctSection").collapsed = True
    change(built, corrections=object())
    assert "correct" in folded(built.panel)


@pytest.mark.parametrize("name", NAMES)
def test_the_logic_can_ask_for_a_section(built, name):
    built.logic.sectionRequested.emit(name)
    assert name not in folded(built.panel)


def test_many_changes_are_shown_once(built, monkeypatch):
    shown = []
    monkeypatch.setattr(built.panel.sections["segment"], "refresh", lambda: shown.append(1))
    for _ in range(50):
        built.logic.changed.emit()
    assert shown == []
    slicer.app.processEvents()
    assert shown == [1]


def test_every_section_shows_what_has_changed(built):
    rows = (SliceRow(0, 3, SliceState.EDITED, (1,)),)
    change(built, rows=rows, notice=Notice("info", "Done."), summary="7 slices")
    assert built.panel.uis["correct"].sliceTable.rowCount == 1
    assert built.panel.uis["notice"].noticeText.text == "Done."
    assert built.panel.uis["retrain"].trainSummaryLabel.text == "7 slices"


def test_a_fault_while_showing_becomes_a_notice(built, monkeypatch):
    def fail():
        raise RuntimeError("cannot show")

    monkeypatch.setattr(built.panel.sections["settings"], "refresh", fail)
    change(built)
    slicer.app.processEvents()
    assert built.panel.uis["notice"].noticeText.text == "cannot show"


def test_questions_and_undo_come_from_the_panel(built):
    assert built.logic.ask is askChoice
    assert built.logic.saveUndoState == built.panel.sections["correct"].saveUndoState


def test_choices_reach_the_parameter_node_only_while_the_module_is_open(built):
    volume = addVolume()
    built.panel.uis["segment"].volumeSelector.setCurrentNode(volume)
    assert built.logic.parameters.volume == volume
    built.panel.exit()
    built.panel.uis["segment"].volumeSelector.setCurrentNode(None)
    assert built.logic.parameters.volume == volume


def test_another_parameter_node_is_followed_instead(built, scene):
    first, second = built.logic.parameters, Parameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    built.panel.setParameters(second)
    assert built.logic.called("setParameterNode") == [(second,)]
    built.panel.uis["segment"].show3DCheckBox.click()
    assert (first.show3D, second.show3D) == (False, True)


@pytest.mark.parametrize("action", ["enter", "closeScene", "setParameterNode"])
def test_a_fault_of_the_logic_does_not_keep_the_panel_from_working(built, action):
    built.logic.raises[action] = RuntimeError(f"{action} failed")
    built.panel.releaseScene()
    built.panel.setParameters(built.logic.parameters)
    built.panel.enter()
    assert [str(error) for error in built.logic.reported] == [f"{action} failed"]
    assert built.panel.uis["correct"].editor.observing


def test_a_closed_panel_reacts_to_nothing(built, monkeypatch):
    panel, built.panel = built.panel, None
    shown = []
    monkeypatch.setattr(panel.sections["segment"], "refresh", lambda: shown.append(1))
    panel.close()
    change(built, notice=Notice("info", "Done."))
    built.logic.sectionRequested.emit("compare")
    slicer.mrmlScene.Clear()
    slicer.app.processEvents()
    assert (built.logic.calls, shown) == ([], [])


@pytest.fixture
def largeFont(slicerApp):
    """Sets the font's size to a multiple of the usual one."""
    original = slicer.app.font()

    def scale(factor):
        larger = slicer.app.font()
        larger.setPointSizeF(original.pointSizeF() * factor)
        slicer.app.setFont(larger)

    yield scale
    slicer.app.setFont(original)


@pytest.mark.parametrize("factor", [1.0, 1.25, 1.5, 2.0])
def test_nothing_is_cut_off_in_a_narrow_dock(largeFont, built, factor):
    largeFont(factor)
    parameters = built.logic.parameters
    parameters.volume = addVolume("A volume with a name as long as hospitals give them, series 12")
    parameters.segmentation = addSegmentation(parameters.volume)
    rows = tuple(SliceRow(0, 100, state, (1, 2), 30.0) for state in SliceState)
    notice = Notice("error", "It failed.", "Do this", "report", (("settings", "Open the settings"),))
    models = (("m", "A model with a name as long as radiologists give them", ""),)
    change(built, rows=rows, notice=notice, models=models, channels=("T1", "T2"))
    roots = [built.panel.uis[name] for name in ("notice", "segment", "correct")]
    for root in (roots[0].Notice, roots[1].Segment, roots[2].Correct):
        assert 0 < root.minimumSizeHint().width() <= DOCK_WIDTH - SCROLL_BAR_AND_MARGINS, root.name


# ---- the module ----


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
    addVolume("labels", "vtkMRMLLabelMapVolumeNode")
    first, shown = addVolume("first"), addVolume("shown")
    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(shown.GetID())
    host.enter(module)
    assert module.logic.segmentation.parameters.volume == shown
    module.logic.segmentation.parameters.volume = first
    host.exit(module)
    host.enter(module)
    assert module.logic.segmentation.parameters.volume == first


def test_a_label_map_is_never_chosen(module):
    labels = addVolume("labels", "vtkMRMLLabelMapVolumeNode")
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
    volume = addVolume()
    logic.parameters.volume, logic.parameters.segmentation = volume, addSegmentation(volume)
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
