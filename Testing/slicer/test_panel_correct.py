"""Section 2: the Segment Editor, the three confirmations, the next slice and the table."""

import numpy as np
import pytest
import qt
import slicer
from build_section import buildSection
from PySide6.QtTest import QTest

from unetseg.suggestion import Suggestion
from UNetSegmentLib.corrections import SliceRow, SliceState
from UNetSegmentLib.sections import slice_table
from UNetSegmentLib.sections.correct import CorrectSection

SUGGESTED, EDITED, CONFIRMED = SliceState.SUGGESTED, SliceState.EDITED, SliceState.CONFIRMED
UNCHANGED, CHANGED_SINCE = SliceState.UNCHANGED, SliceState.CHANGED_SINCE
VIEWS = ("Red", "Green", "Yellow")
SHIFT_CONTROL = qt.Qt.ControlModifier | qt.Qt.ShiftModifier
KEYS = {"Red": qt.Qt.Key_R, "Green": qt.Qt.Key_G, "Yellow": qt.Qt.Key_Y}
TAKEN_SHORTCUTS = {
    *"1234567890", *(f"Shift+{n}" for n in range(10)), "Esc", "Space", "Z", "Y", "Ctrl+Z", "Ctrl+Y", "Ctrl+Shift+Z",
    *"QWI/*,.<>", *(f"Ctrl+{n}" for n in range(10)), *(f"Ctrl+{key}" for key in "FHOSWQXCV"), "Ctrl+Left",
    "Ctrl+Right", "Ctrl+Shift+A", "Ctrl+Shift+T", "Ctrl+Shift+Space", "Ctrl+Shift+Left", "Ctrl+Shift+Right",
    "Ctrl+Shift+Down", "Ctrl+Shift+S",
}  # fmt: skip
"""Those of Slicer's main window, toolbars and Segment Editor."""


@pytest.fixture
def built(scene):
    built = buildSection(CorrectSection, "Correct")
    yield built
    built.section.close()
    built.root.setMRMLScene(None)
    built.root.deleteLater()


@pytest.fixture
def ready(built):
    """With a volume and a segmentation, and the module opened."""
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "MR")
    slicer.util.updateVolumeFromArray(volume, np.zeros((4, 5, 6), np.uint8))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("Bone", "Cartilage"):
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    built.logic.parameters.volume, built.logic.parameters.segmentation = volume, segmentation
    built.section.enter()
    built.logic.changed.emit()
    built.volume, built.segmentation = volume, segmentation
    return built


def showRows(built, *rows):
    built.logic.rows = rows
    built.logic.changed.emit()


def cells(built):
    table = built.ui.sliceTable
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def press(built, view):
    """The window has to be the active one, as Slicer's is."""
    built.root.activateWindow()
    assert QTest.qWaitForWindowActive(built.root)
    QTest.keyClick(built.root, KEYS[view], SHIFT_CONTROL)


def select(built, *places):
    built.ui.sliceTable.clearSelection()
    for place in places:
        for column in range(built.ui.sliceTable.columnCount):
            built.ui.sliceTable.item(place, column).setSelected(True)


# ---- the Segment Editor ----


def test_without_a_segmentation_the_section_says_what_to_do_first(built):
    assert built.ui.emptyLabel.visible
    assert not built.ui.work.visible
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "MR")
    built.logic.parameters.volume = volume
    built.logic.changed.emit()
    assert not built.ui.work.visible


def test_the_editor_edits_what_is_chosen(ready):
    editor = ready.ui.editor
    assert not ready.ui.emptyLabel.visible
    assert ready.ui.work.visible
    assert (editor.segmentationNode(), editor.sourceVolumeNode()) == (ready.segmentation, ready.volume)
    ready.logic.parameters.segmentation = None
    ready.logic.changed.emit()
    assert editor.segmentationNode() is None


def test_the_editor_has_a_node_of_its_own_and_one_structure_a_voxel(ready):
    node = ready.ui.editor.mrmlSegmentEditorNode()
    assert node.GetSingletonTag() == "UNetSegmentEditor"
    assert node.GetOverwriteMode() == node.OverwriteAllSegments
    assert ready.ui.editor.maximumNumberOfUndoStates == 10
    assert slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode") is None


def test_the_users_overwrite_mode_survives_leaving_and_coming_back(ready):
    node = ready.ui.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    ready.section.exit()
    ready.section.enter()
    assert ready.ui.editor.mrmlSegmentEditorNode() == node
    assert node.GetOverwriteMode() == node.OverwriteNone


def test_views_and_keyboard_belong_to_the_editor_only_while_the_module_is_open(ready):
    editor = ready.ui.editor
    assert (editor.observing, editor.shortcuts) == (True, True)
    editor.setActiveEffectByName("Paint")
    ready.section.exit()
    assert (editor.observing, editor.shortcuts, editor.activeEffect()) == (False, False, None)
    ready.section.enter()
    assert (editor.observing, editor.shortcuts) == (True, True)


def test_closing_the_scene_leaves_the_editor_without_nodes(ready):
    editor = ready.ui.editor
    ready.section.releaseScene()
    assert (editor.segmentationNode(), editor.observing) == (None, False)
    ready.logic.parameters = None
    slicer.mrmlScene.Clear()
    ready.logic.changed.emit()
    assert ready.ui.emptyLabel.visible
    ready.section.enter()
    assert slicer.mrmlScene.GetSingletonNode("UNetSegmentEditor", "vtkMRMLSegmentEditorNode") is not None


def test_undo_brings_back_what_was_there_before_a_result(ready):
    editor = ready.ui.editor
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2, 3] = True
    editor.setCurrentSegmentID("Bone")
    editor.paintArray(mask)
    ready.section.saveUndoState()
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ones((4, 5, 6), np.uint8), ready.segmentation, "Bone", ready.volume
    )
    editor.undo()
    bone = slicer.util.arrayFromSegmentBinaryLabelmap(ready.segmentation, "Bone", ready.volume)
    np.testing.assert_array_equal(bone, mask)


def test_undo_follows_a_segmentation_that_was_chosen_this_moment(ready):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "T")
    ready.logic.parameters.segmentation = other
    ready.section.saveUndoState()
    assert ready.ui.editor.segmentationNode() == other


def test_saving_an_undo_state_without_a_segmentation_is_no_error(built):
    built.section.saveUndoState()


# ---- this slice is right ----


@pytest.mark.parametrize("view", VIEWS)
def test_a_button_confirms_the_slice_of_its_view(ready, view):
    button = getattr(ready.ui, f"confirm{view}Button")
    assert button.text == f"{view} (Ctrl+Shift+{view[0]})"
    button.click()
    assert ready.logic.calls == [("confirmSlice", (view,))]


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_has_its_colour(ready, view):
    button = getattr(ready.ui, f"confirm{view}Button")
    size = button.fontMetrics().height()
    color = button.icon.pixmap(size, size).toImage().pixelColor(size // 2, size // 2)
    assert (color.red() > 200, color.green() > 150) == {
        "Red": (True, False),
        "Green": (False, True),
        "Yellow": (True, True),
    }[view]


@pytest.mark.parametrize("view", VIEWS)
def test_the_key_confirms_as_the_button_does_and_only_while_the_module_is_open(ready, view):
    press(ready, view)
    assert ready.logic.calls == [("confirmSlice", (view,))]
    ready.section.exit()
    press(ready, view)
    assert len(ready.logic.calls) == 1
    ready.section.enter()
    press(ready, view)
    assert len(ready.logic.calls) == 2


def test_the_keys_are_free_in_slicer(ready):
    keys = {shortcut.key.toString() for shortcut in ready.section.shortcuts}
    assert len(keys) == 3
    assert not keys & TAKEN_SHORTCUTS


def test_a_key_says_why_it_cannot_confirm(ready):
    ready.logic.raises["confirmSlice"] = ValueError("the view is tilted")
    press(ready, "Red")
    assert ready.logic.notice.text == "the view is tilted"


def test_one_reason_for_all_views_is_said_once(ready):
    ready.logic.confirmReasons = dict.fromkeys(VIEWS, "Choose a segmentation")
    ready.logic.changed.emit()
    assert ready.ui.confirmReason.text == "Choose a segmentation"
    for view in VIEWS:
        button = getattr(ready.ui, f"confirm{view}Button")
        assert (button.enabled, button.toolTip) == (False, "Choose a segmentation")


def test_the_reason_of_one_view_names_the_view_and_goes_when_the_view_has_moved(ready):
    ready.logic.confirmReasons["Green"] = "The view is tilted"
    ready.logic.changed.emit()
    enabled = [getattr(ready.ui, f"confirm{view}Button").enabled for view in VIEWS]
    assert enabled == [True, False, True]
    assert ready.ui.confirmReason.text == "Green: The view is tilted"
    ready.logic.confirmReasons["Green"] = ""
    ready.logic.changed.emit()
    assert ready.ui.confirmGreenButton.enabled
    assert not ready.ui.confirmReason.visible


def test_views_can_be_aligned_where_they_are_tilted(ready):
    assert not ready.ui.alignButton.visible
    ready.logic.tilted = True
    ready.logic.changed.emit()
    assert ready.ui.alignButton.visible
    ready.ui.alignButton.click()
    assert ready.logic.calls == [("alignViews", ())]


# ---- the next slice ----


def test_the_next_slice_is_named_with_its_reason(ready):
    ready.logic.suggestion = Suggestion(0, 34, "middle")
    ready.logic.suggestionText = "the middle of what was segmented"
    ready.logic.changed.emit()
    assert ready.ui.suggestionLabel.text == "Next: Axial 35, the middle of what was segmented."
    ready.ui.nextButton.click()
    ready.ui.skipButton.click()
    assert ready.logic.calls == [("nextSlice", ()), ("skipSuggestion", ())]


def test_without_a_next_slice_the_reason_is_shown(ready):
    ready.logic.reasons["nextSlice"] = "Every part is close to a checked slice"
    ready.logic.changed.emit()
    assert (ready.ui.nextButton.enabled, ready.ui.skipButton.enabled) == (False, False)
    assert ready.ui.suggestionLabel.text == "Every part is close to a checked slice"


# ---- the table ----

ALL_STATES = (
    SliceRow(0, 34, SUGGESTED),
    SliceRow(0, 20, EDITED, (1, 2)),
    SliceRow(1, 60, CONFIRMED, (2,), 35.4),
    SliceRow(0, 12, UNCHANGED, (), 0.4),
    SliceRow(2, 120, CHANGED_SINCE, (1, 7), 125.0),
)


def test_every_state_is_shown_in_words(ready):
    showRows(ready, *ALL_STATES)
    assert cells(ready) == [
        ["Axial 35", "suggested", "", ""],
        ["Axial 21", "edited", "Bone, Cartilage", ""],
        ["Coronal 61", "confirmed", "Cartilage", "35 s"],
        ["Axial 13", "right as it was", "", ""],
        ["Sagittal 121", "changed since", "Bone", "125 s"],
    ]
    meanings = {ready.ui.sliceTable.item(row, 1).toolTip() for row in range(5)}
    assert len(meanings) == 5
    assert all(not ready.ui.sliceTable.item(row, 1).icon().isNull() for row in range(5))


def test_every_structure_is_a_dot_in_its_colour(ready):
    showRows(ready, *ALL_STATES)
    icon = ready.ui.sliceTable.item(1, 2).icon()
    size = ready.ui.sliceTable.fontMetrics().height()
    image = icon.pixmap(ready.ui.sliceTable.iconSize).toImage()
    assert (image.width(), image.height()) == (2 * size, size)
    colors = [image.pixelColor(size // 2 + place * size, size // 2).getRgb()[:3] for place in (0, 1)]
    assert colors == [(220, 200, 150), (80, 160, 220)]
    assert ready.ui.sliceTable.item(0, 2).icon().isNull()


def test_a_row_that_changes_its_state_loses_nothing_of_the_old_one(ready):
    showRows(ready, *ALL_STATES)
    showRows(ready, SliceRow(0, 34, CONFIRMED, (1,), 12.0), SliceRow(0, 20, UNCHANGED))
    assert cells(ready) == [["Axial 35", "confirmed", "Bone", "12 s"], ["Axial 21", "right as it was", "", ""]]
    assert ready.ui.sliceTable.item(1, 2).icon().isNull()


def test_a_click_shows_the_slice(ready):
    showRows(ready, *ALL_STATES)
    ready.ui.sliceTable.cellClicked.emit(2, 1)
    assert ready.logic.calls == [("jumpTo", (1, 60))]


def test_the_selection_stays_with_its_slices(ready):
    showRows(ready, *ALL_STATES)
    select(ready, 1, 3)
    showRows(ready, SliceRow(2, 5, SUGGESTED), *ALL_STATES[1:])
    assert [(row.axis, row.index) for row in ready.section.table.selectedRows()] == [(0, 20), (0, 12)]
    showRows(ready, ALL_STATES[0], ALL_STATES[2], ALL_STATES[3], ALL_STATES[1])
    assert [(row.axis, row.index) for row in ready.section.table.selectedRows()] == [(0, 12), (0, 20)]
    showRows(ready, ALL_STATES[3])
    assert [(row.axis, row.index) for row in ready.section.table.selectedRows()] == [(0, 12)]


def test_what_the_user_has_scrolled_to_stays(ready):
    rows = [SliceRow(0, index, CONFIRMED, (1,), 1.0) for index in range(100)]
    showRows(ready, *rows)
    slicer.app.processEvents()
    bar = ready.ui.sliceTable.verticalScrollBar()
    bar.setValue(40)
    assert bar.value == 40
    showRows(ready, SliceRow(0, 0, CHANGED_SINCE, (1,), 1.0), *rows[1:])
    slicer.app.processEvents()
    assert bar.value == 40


def test_rows_that_stay_are_not_touched(ready):
    showRows(ready, *ALL_STATES)
    ready.ui.sliceTable.item(0, 0).setText("touched by the test")
    showRows(ready, *ALL_STATES)
    assert ready.ui.sliceTable.item(0, 0).text() == "touched by the test"


def test_what_hundreds_of_rows_have_in_common_is_made_once(ready, monkeypatch):
    made = []
    for name in ("icon", "dots"):
        make = getattr(slice_table, name)
        monkeypatch.setattr(slice_table, name, lambda *given, make=make: made.append(given) or make(*given))
    showRows(ready, *[SliceRow(0, index, EDITED, (1 + index % 2,)) for index in range(300)])
    assert len(made) == len(SliceState) + 2
    assert cells(ready)[299] == ["Axial 300", "edited", "Cartilage", ""]


def test_one_click_confirms_all_edited_slices_or_the_selected_ones(ready):
    button = ready.ui.confirmEditedButton
    assert not button.enabled
    assert "No slice has been edited" in button.toolTip
    showRows(ready, *ALL_STATES)
    assert (button.enabled, button.text) == (True, "Confirm edited (2)")
    button.click()
    select(ready, 0, 2, 4)
    assert button.text == "Confirm edited (1)"
    button.click()
    assert ready.logic.called("confirmRows") == [((ALL_STATES[1], ALL_STATES[4]),), ((ALL_STATES[4],),)]


def test_confirmed_slices_can_be_removed(ready):
    showRows(ready, *ALL_STATES)
    assert ready.ui.sliceTable.selectionMode == int(qt.QAbstractItemView.ExtendedSelection.value)
    assert ready.ui.sliceTable.selectionBehavior == int(qt.QAbstractItemView.SelectRows.value)
    assert not ready.ui.removeButton.enabled
    assert "Select" in ready.ui.removeButton.toolTip
    select(ready, 0, 1)
    assert not ready.ui.removeButton.enabled
    select(ready, 0, 2, 3, 4)
    ready.ui.removeButton.click()
    assert ready.logic.called("removeSlice") == [(1, 60), (0, 12), (2, 120)]


# ---- uncertainty ----


def test_uncertainty_is_shown_where_there_is_any(ready):
    ready.ui.uncertaintyCheckBox.click()
    assert ready.logic.parameters.showUncertainty is True
    assert not ready.ui.uncertaintyReason.visible
    ready.logic.reasons["uncertainty"] = "Segment the volume first"
    ready.logic.changed.emit()
    assert not ready.ui.uncertaintyCheckBox.enabled
    assert ready.ui.uncertaintyReason.text == "Segment the volume first"
