"""Section 1: choices, the button that becomes Cancel, and why it is grey."""

import pytest
import qt
import slicer
from build_section import buildSection
from nodes import addEmptyVolume

from UNetSegmentLib.sections.segment import SegmentSection
from UNetSegmentLib.sections.widgets import timeLeft
from UNetSegmentLib.state import JobStatus


@pytest.fixture
def built(scene):
    built = buildSection(SegmentSection, "Segment")
    yield built
    built.section.close()
    built.root.setMRMLScene(None)
    built.root.deleteLater()


def choose(chooser, value):
    """What a click into the list does."""
    index = chooser.findData(value)
    assert index >= 0
    chooser.setCurrentIndex(index)
    chooser.activated.emit(index)


def titles(chooser):
    return [chooser.itemText(i) for i in range(chooser.count)]


def test_volumes_can_be_chosen_and_label_maps_cannot(built):
    volume = addEmptyVolume("MR")
    labelMap = addEmptyVolume("labels", "vtkMRMLLabelMapVolumeNode")
    for role in ("volume", "channel2", "channel3", "channel4"):
        selector = getattr(built.ui, f"{role}Selector")
        assert selector.nodeTypes == ["vtkMRMLScalarVolumeNode"]
        assert (selector.showChildNodeTypes, selector.noneDisplay) == (False, "Choose a volume")
        selector.setCurrentNode(labelMap)
        assert getattr(built.logic.parameters, role) is None
        selector.setCurrentNode(volume)
        assert getattr(built.logic.parameters, role) == volume
        selector.setCurrentNode(None)
        assert getattr(built.logic.parameters, role) is None


def test_the_segmentation_and_the_region_are_made_where_none_is_chosen(built):
    assert built.ui.segmentationSelector.noneDisplay == "Create new segmentation"
    assert built.ui.regionSelector.noneDisplay == "Whole volume"
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    assert built.logic.parameters.segmentation is None
    built.ui.segmentationSelector.setCurrentNode(segmentation)
    assert built.logic.parameters.segmentation == segmentation


def test_a_new_region_is_fitted_to_the_volume(built):
    region = built.ui.regionSelector.addNode()
    assert built.logic.parameters.region == region
    assert built.logic.called("fitRegion") == [(region,)]


def test_models_and_devices_are_listed_with_what_they_are(built):
    ui, logic = built.ui, built.logic
    assert titles(ui.modelChooser) == ["Knee 1", "New: 2D U-Net"]
    assert ui.modelChooser.itemData(0, 3) == "Shipped with UNetSegment"
    assert titles(ui.deviceChooser) == ["Automatic", "Processor"]
    logic.models = (("m2", "Knee 2", "Made today"),)
    logic.devices = (*logic.devices, ("cuda:0", "GPU, 8 GB"))
    logic.changed.emit()
    assert titles(ui.modelChooser) == ["Knee 2"]
    assert titles(ui.deviceChooser) == ["Automatic", "Processor", "GPU, 8 GB"]


def test_choosing_a_model_and_a_device_sets_the_parameters(built):
    choose(built.ui.modelChooser, "new:unet_2d")
    choose(built.ui.deviceChooser, "cpu")
    assert (built.logic.parameters.model, built.logic.parameters.device) == ("new:unet_2d", "cpu")
    built.logic.parameters.model = "m1"
    built.logic.changed.emit()
    assert built.ui.modelChooser.currentText == "Knee 1"


def test_a_model_that_is_gone_is_not_replaced_by_another(built):
    built.logic.parameters.model = "deleted"
    built.logic.changed.emit()
    assert built.ui.modelChooser.currentIndex == -1
    assert built.ui.modelChooser.placeholderText == "Choose a model"
    assert built.logic.parameters.model == "deleted"


def test_listing_the_models_again_chooses_none(built):
    built.logic.parameters.model = "m1"
    built.logic.models = (("m0", "First", ""), *built.logic.models)
    built.logic.changed.emit()
    assert built.ui.modelChooser.currentText == "Knee 1"
    assert built.logic.parameters.model == "m1"


def test_a_list_that_stays_the_same_stays_open(built):
    mark = int(qt.Qt.UserRole) + 5
    built.ui.modelChooser.setItemData(0, "not built again", mark)
    built.logic.parameters.model = "m1"
    built.logic.changed.emit()
    assert built.ui.modelChooser.itemData(0, mark) == "not built again"


def test_only_a_new_network_asks_for_structures(built):
    built.logic.parameters.model = "m1"
    built.logic.changed.emit()
    assert not built.ui.structuresEdit.visible
    assert not built.ui.structuresLabel.visible
    built.logic.parameters.model = "new:unet_2d"
    built.logic.changed.emit()
    assert built.ui.structuresEdit.visible
    assert built.ui.structuresLabel.visible
    built.ui.structuresEdit.text = "Liver, Spleen"
    assert built.logic.parameters.structures == "Liver, Spleen"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_there_is_one_volume_for_each_channel_of_the_model(built, count):
    names = ("T1", "T2", "FLAIR", "DWI")[:count]
    built.logic.channels = names if count > 1 else ("Volume",)
    built.logic.changed.emit()
    assert built.ui.volumeLabel.text == ("Volume:" if count == 1 else "T1:")
    for number in (2, 3, 4):
        label = getattr(built.ui, f"channel{number}Label")
        assert label.visible == getattr(built.ui, f"channel{number}Selector").visible == (number <= count)
        if number <= count:
            assert label.text == f"{names[number - 1]}:"


def test_apply_segments(built):
    assert built.ui.applyButton.text == "Apply"
    built.ui.applyButton.click()
    assert built.logic.calls == [("segment", ())]


def test_a_grey_apply_says_why(built):
    built.logic.reasons["segment"] = "Choose a volume first"
    built.logic.changed.emit()
    assert not built.ui.applyButton.enabled
    assert built.ui.reasonLabel.visible
    assert built.ui.reasonLabel.text == built.ui.applyButton.toolTip == "Choose a volume first"
    built.logic.reasons["segment"] = ""
    built.logic.changed.emit()
    assert built.ui.applyButton.enabled
    assert not built.ui.reasonLabel.visible


def test_apply_becomes_cancel_while_it_segments(built):
    ui, logic = built.ui, built.logic
    assert not ui.progressBar.visible
    assert not ui.stageLabel.visible
    logic.reasons["segment"] = "Wait until the work on its way has ended"
    logic.job = JobStatus("segment", "Reading the volume", 0.25, 130.0)
    logic.changed.emit()
    assert (ui.applyButton.text, ui.applyButton.enabled, ui.reasonLabel.visible) == ("Cancel", True, False)
    assert (ui.progressBar.visible, ui.progressBar.value / ui.progressBar.maximum) == (True, 0.25)
    assert ui.stageLabel.text == "Reading the volume – about 2 min left"
    ui.applyButton.click()
    assert logic.calls == [("cancel", ())]
    logic.job = JobStatus("segment", "Reading the volume", 0.25, None, stopping=True)
    logic.changed.emit()
    assert (ui.applyButton.text, ui.applyButton.enabled) == ("Cancelling…", False)
    assert ui.stageLabel.text == "Reading the volume"


def test_another_kind_of_work_leaves_apply_grey_and_is_named(built):
    built.logic.job = JobStatus("train", "Learning", 0.5, 600.0)
    built.logic.reasons["segment"] = "Wait until the work on its way has ended"
    built.logic.changed.emit()
    assert (built.ui.applyButton.text, built.ui.applyButton.enabled) == ("Apply", False)
    assert not built.ui.progressBar.visible
    assert built.ui.stageLabel.text == "Learning – about 10 min left"


def test_a_failing_action_becomes_a_notice(built):
    built.logic.raises["segment"] = RuntimeError("the disk is full")
    built.ui.applyButton.click()
    assert built.logic.notice.text == "the disk is full"


def test_3D_is_a_parameter(built):
    built.ui.show3DCheckBox.click()
    assert built.logic.parameters.show3D is True


def test_a_scene_without_parameters_can_be_shown(built):
    built.logic.parameters = None
    built.logic.changed.emit()
    assert built.ui.modelChooser.currentIndex == -1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "less than a minute left"),
        (49, "less than a minute left"),
        (50, "about 1 min left"),
        (95, "about 2 min left"),
        (99 * 60, "about 99 min left"),
        (100 * 60, "about 2 h left"),
    ],
)
def test_time_left_in_words(scene, seconds, text):
    assert timeLeft(seconds) == text
