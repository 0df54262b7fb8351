"""An offered version can always be decided about, and its figures are of slices that it has not learned from."""

import pytest
import slicer
from loop import opened


@pytest.fixture
def loop(scene, tmp_path):
    with opened(tmp_path) as loop:
        loop.addVersion()
        loop.addVolume()
        loop.segment()
        yield loop


def confirm(loop, *indices):
    for index in indices:
        loop.paintSlice(0, index)
        loop.confirm(0, index)


def train(loop):
    loop.press("retrain", "trainButton")
    loop.settle()
    return loop.logic.comparison.versionId


def test_an_offered_version_that_is_gone_needs_no_decision(loop):
    confirm(loop, 2)
    loop.logic.deleteVersion(train(loop))
    assert loop.logic.comparison is None
    for button in ("keepButton", "backButton"):
        versionId = train(loop)
        loop.logic.project.delete(versionId)
        loop.press("compare", button)
        loop.settle()
        assert loop.logic.comparison is None
        assert loop.logic.whyNotTrain() == ""


def test_an_offered_version_can_be_used_from_the_table(loop):
    confirm(loop, 2)
    versionId = train(loop)
    loop.logic.useVersion(versionId)
    loop.settle()
    assert loop.logic.comparison is None
    assert loop.ui("segment").modelChooser.currentText == "Organs, round 1"


def test_a_version_that_was_offered_when_the_scene_was_closed_can_be_used(loop):
    confirm(loop, 2)
    versionId = train(loop)
    slicer.mrmlScene.Clear()
    loop.addVolume(seed=1)
    loop.logic.useVersion(versionId)
    loop.settle()
    assert loop.logic.project.version(versionId).status == "kept"
    assert versionId in [choice[0] for choice in loop.logic.modelChoices()]


def test_slices_of_another_volume_are_not_taken_for_held_out_ones(loop):
    first = loop.parameters.volume
    confirm(loop, 1, 2, 3)
    second = loop.addVolume(seed=1)
    loop.segment()
    confirm(loop, 1, 2, 3)
    loop.parameters.volume = first
    loop.settle()
    loop.mode("slow")
    loop.start("train")
    loop.parameters.volume = second
    loop.mode("healthy")
    loop.settle()
    assert loop.logic.comparison.heldOutSlices == 0


def test_stop_after_the_last_moment_keeps_what_was_learned(loop):
    confirm(loop, 2)
    loop.press("retrain", "trainButton")
    project = loop.logic.project
    saving, stopped, add = [], [], project.addInSteps

    def addInSteps(*arguments):
        saving.append(True)
        while not stopped:
            yield
        return (yield from add(*arguments))

    project.addInSteps = addInSteps
    loop.until(lambda: saving)
    loop.logic.stopTraining()
    stopped.append(True)
    loop.settle()
    assert loop.logic.comparison.name == "Organs, round 1"


def test_a_version_that_cannot_be_compared_is_told_with_the_reason(loop):
    confirm(loop, 2)
    loop.mode("slow")
    loop.start("train")
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    region.SetCenter(500, 500, 500)
    region.SetSize(4, 4, 4)
    loop.parameters.region = region
    loop.mode("healthy")
    loop.settle()
    assert loop.logic.notice.kind == "warning"
    assert loop.logic.notice.text.startswith("The new version “Organs, round 1” is ready. The region of interest must")
    assert loop.logic.notice.remedy == "Choose it in the list of versions to use it"
