"""The panel as a whole: its sections, its guard, and the module's life from setup to cleanup."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
import qt
import slicer
from fake_logic import ACTIONS, FOR_TESTS, FakeLogic
from nodes import addEmptySegmentation, addEmptyVolume

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
    volume = addEmptyVolume()
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
    parameters.volume = addEmptyVolume("A volume with a name as long as hospitals give them, series 12")
    parameters.segmentation = addEmptySegmentation(parameters.volume)
    rows = tuple(SliceRow(0, 100, state, (1, 2), 30.0) for state in SliceState)
    notice = Notice("error", "It failed.", "Do this", "report", (("settings", "Open the settings"),))
    models = (("m", "A model with a name as long as radiologists give them", ""),)
    change(built, rows=rows, notice=notice, models=models, channels=("T1", "T2"))
    roots = [built.panel.uis[name] for name in ("notice", "segment", "correct")]
    for root in (roots[0].Notice, roots[1].Segment, roots[2].Correct):
        assert 0 < root.minimumSizeHint().width() <= DOCK_WIDTH - SCROLL_BAR_AND_MARGINS, root.name
