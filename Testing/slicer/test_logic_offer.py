"""An offered version can always be decided about, and its figures are of slices that were unknown to it."""

import pytest
import slicer
from loop import LABELS, THRESHOLDS, predicted

from fake_worker import PIECES, STEP
from unetseg.files import replay_path
from unetseg.messages import Train
from UNetSegmentLib.comparison import dicePerLabel


@pytest.fixture
def loop(loop):
    loop.addVersion()
    loop.addVolume()
    loop.segment()
    return loop


def beginNew(loop):
    """The empty segmentation of a new network."""
    loop.parameters.model = "new:unet_2d"
    loop.parameters.structures = "Liver, Spleen"
    loop.parameters.segmentation = None
    loop.settle()
    loop.segment()


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


def heldOut(loop):
    """Name of the case, axis and index of each slice that the last training has held out."""
    request = loop.requests(Train)[-1]
    return [(case.name, *position) for case in request.cases for position in case.held_out_slices]


def figures(loop):
    """(before, after) of each structure."""
    return [(row.heldOutBefore, row.heldOutAfter) for row in loop.logic.comparison.rows]


def dice(labels, right, index):
    """Of each structure on a slice along D."""
    return dicePerLabel([labels[index]], [right[index]], LABELS)


def test_the_first_figures_are_of_a_slice_in_a_trial_that_did_not_know_it(loop):
    confirm(loop, 1, 2, 3)
    right = loop.labels()
    versionId = train(loop)
    ((_case, axis, index),) = heldOut(loop)
    before = dice(predicted(), right, index)
    after = dice(predicted(thresholds=[value + STEP for value in THRESHOLDS]), right, index)
    assert axis == 0
    assert figures(loop) == list(zip(before, after, strict=True))
    comparison = loop.logic.comparison
    assert (comparison.heldOutSlices, comparison.heldOutVolumes, comparison.checkedSlices) == (1, 1, 3)
    assert comparison.summary.startswith("Tried on 1 slice still unknown to it: overlap 0.")
    assert loop.logic.project.version(versionId).heldOut == (tuple(before), tuple(after))
    assert loop.logic.versionRows()[0].figureText != ""


def test_a_later_version_in_use_is_measured_by_what_it_had_predicted_of_a_volume_new_to_it(loop):
    confirm(loop, 2)
    train(loop)
    loop.press("compare", "keepButton")
    loop.settle()
    loop.addVolume(seed=1)
    loop.segment()
    confirm(loop, 1, 2, 3)
    right = loop.labels()
    train(loop)
    ((_case, _axis, index),) = heldOut(loop)
    kept = predicted(seed=1, thresholds=[value + STEP for value in THRESHOLDS])
    assert figures(loop) == list(zip(dice(kept, right, index), dice(kept, right, index), strict=True))
    assert loop.logic.comparison.summary.endswith("not better.")


def test_a_later_version_in_use_has_no_figure_where_it_knew_other_slices_of_the_volume(loop):
    confirm(loop, 1, 2, 3)
    train(loop)
    loop.press("compare", "keepButton")
    loop.settle()
    confirm(loop, 4)
    train(loop)
    assert [index for _case, _axis, index in heldOut(loop)] == [4]  # the one that neither has learned from
    assert {before for before, _after in figures(loop)} == {None}
    assert "; the version that it started from: 0." in loop.logic.comparison.summary


def test_a_slice_that_the_first_version_has_learned_from_measures_nothing(loop):
    beginNew(loop)
    confirm(loop, 1, 2, 3)
    train(loop)
    assert len(heldOut(loop)) == 1  # the new network knows none of them yet
    loop.press("compare", "keepButton")
    loop.settle()
    train(loop)
    assert heldOut(loop) == []
    assert loop.logic.comparison.heldOutSlices == 0
    assert loop.logic.comparison.summary.startswith("No slice was held out")
    loop.press("compare", "backButton")
    confirm(loop, 4)
    train(loop)
    assert [index for _case, _axis, index in heldOut(loop)] == [4]


def test_nothing_better_is_said_so_and_the_choice_stays_the_users(loop):
    confirm(loop, 1, 2, 3)
    loop.mode("no_better")
    before = loop.labels()
    versionId = train(loop)
    assert loop.logic.comparison.summary.endswith("press “Back”, and correct more slices.")
    assert (loop.labels() == before).all()
    assert loop.parameters.model != versionId
    assert loop.ui("compare").keepButton.enabled


def test_earlier_cases_are_measured_where_the_base_has_pieces_of_them(loop):
    base = loop.logic.project.versions()[0]
    replay_path(base.path).write_bytes(PIECES)
    confirm(loop, 2)
    train(loop)
    assert "On earlier cases: 0.75 before and 0.50 after." in loop.logic.comparison.summary


def test_pieces_that_a_new_network_has_left_stay_with_its_version(loop):
    beginNew(loop)
    confirm(loop, 2)
    version = loop.logic.project.version(train(loop))
    assert replay_path(version.path).read_bytes() == PIECES
    assert ("Pieces of images for retraining", "0.0 MB") in loop.logic.projectContents()


def test_each_volume_with_three_slices_holds_one_out(loop):
    first = loop.parameters.volume
    confirm(loop, 1, 2, 3)
    second = loop.addVolume(seed=1, name="second")
    loop.segment()
    confirm(loop, 1, 2, 3)
    loop.addVolume(seed=2, name="third")
    loop.segment()
    confirm(loop, 1, 2)
    loop.parameters.volume = first
    loop.settle()
    loop.mode("slow")
    loop.start("train")
    loop.parameters.volume = second
    loop.mode("healthy")
    loop.settle()
    names = {case.id: case.name for case in loop.logic.project.cases()}
    assert sorted(names[case] for case, _axis, _index in heldOut(loop)) == sorted((first.GetName(), "second"))
    comparison = loop.logic.comparison
    assert (comparison.heldOutSlices, comparison.heldOutVolumes) == (2, 2)
    assert comparison.summary.startswith("Tried on 2 slices still unknown to it")


def test_a_version_whose_volume_was_closed_is_told_with_its_figures(loop):
    confirm(loop, 1, 2, 3)
    loop.mode("slow")
    loop.start("train")
    loop.addVolume(seed=1, name="second")
    loop.parameters.volume = None
    loop.mode("healthy")
    loop.settle()
    assert loop.logic.comparison is None
    assert loop.logic.notice.text.startswith("The new version “Organs, round 1” is ready. Tried on 1 slice still")


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
