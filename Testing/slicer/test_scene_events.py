"""What the user and Slicer do to the scene while work is on its way, and edits and undo around a result."""

import host
import numpy as np
import pytest
import slicer
from loop import SHAPE, THRESHOLDS, Loop, nodeIds, opened, plane, predicted
from nodes import addVolume

from fake_worker import STEP
from unetseg.messages import Segment, Train
from UNetSegmentLib.corrections import SliceState

KINDS = ["segment", "train"]
GONE = "The volume or its segmentation was removed meanwhile, so the result is not shown."
READY = "The new version “Organs, round 1” is ready."
CONFIRMED, EDITED, CHANGED_SINCE = SliceState.CONFIRMED, SliceState.EDITED, SliceState.CHANGED_SINCE
OTHER = (40, 170)
"""Thresholds of another version."""


@pytest.fixture
def loop(loop):
    loop.begin()
    return loop


def start(loop, kind):
    """A job is on its way, and goes on until ``finish``; a training has a checkpoint."""
    loop.mode("slow")
    loop.start(kind)
    if kind == "train":
        loop.until(lambda: len(loop.logic.curve) > 1)
    assert loop.logic.job.kind == kind


def finish(loop):
    slicer.app.processEvents()
    loop.mode("healthy")
    loop.settle()
    assert loop.logic.job is None
    assert loop.jobFolders() == []
    stored = loop.storedSlices()
    assert list(stored) == [(0, 2)]
    assert (stored[0, 2].labels == 2).all()


def said(loop):
    return [notice.text for notice in loop.notices]


def ownVersions(loop):
    return [version for version in loop.logic.project.versions() if version.status != "shipped"]


def versions(loop):
    return [(version.name, version.status) for version in ownVersions(loop)]


# ---- the scene ----


@pytest.mark.parametrize("kind", KINDS)
def test_closing_the_scene_ends_a_segmentation_and_keeps_what_a_training_has_learned(loop, kind):
    start(loop, kind)
    slicer.mrmlScene.Clear()
    if kind == "segment":
        assert loop.logic.job is None
    else:
        assert loop.logic.job.stopping
    finish(loop)
    assert not any("Segmentation" in node or "ScalarVolume" in node for node in nodeIds())
    assert said(loop) == ([] if kind == "segment" else [READY])
    assert versions(loop)[:-1] == ([] if kind == "segment" else [("Organs, round 1", "offered")])
    assert len(loop.requests(Segment)) == (2 if kind == "segment" else 1)
    loop.addVolume(seed=1)
    loop.parameters.model = ownVersions(loop)[-1].id
    loop.segment()
    assert np.array_equal(loop.labels(), predicted(seed=1))


def test_closing_the_scene_gives_up_the_comparison_and_not_the_version(loop):
    start(loop, "train")
    loop.press("retrain", "trainButton")
    loop.until(lambda: len(loop.requests(Segment)) == 2)
    assert loop.logic.job.kind == "compare"
    slicer.mrmlScene.Clear()
    loop.until(lambda: loop.logic.job is None)
    finish(loop)
    assert said(loop) == [READY]
    assert versions(loop)[0] == ("Organs, round 1", "offered")
    assert loop.logic.comparison is None


def test_giving_up_the_comparison_leaves_the_version(loop):
    start(loop, "train")
    loop.press("retrain", "trainButton")
    loop.until(lambda: len(loop.requests(Segment)) == 2)
    loop.press("retrain", "abortButton")
    loop.until(lambda: loop.logic.job is None)
    finish(loop)
    assert said(loop) == [READY]
    assert versions(loop)[0] == ("Organs, round 1", "offered")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ["volume", "segmentation"])
def test_a_result_whose_nodes_are_gone_is_kept_and_told(loop, kind, role):
    segmentation = loop.parameters.segmentation
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, "UNetSegment_2").copy()
    start(loop, kind)
    slicer.mrmlScene.RemoveNode(getattr(loop.parameters, role))
    before = nodeIds()
    finish(loop)
    assert nodeIds() == before
    assert said(loop) == [{"segment": GONE, "train": READY}[kind]]
    assert loop.logic.comparison is None
    assert np.array_equal(slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, "UNetSegment_2"), array)


def test_a_deleted_volume_or_another_one_takes_the_overlays_away(loop):
    loop.ui("correct").uncertaintyCheckBox.click()
    loop.press("retrain", "trainButton")
    loop.settle()
    loop.ui("compare").differenceCheckBox.click()
    assert overlays() == {"uncertainty", "difference"}
    first, loop.parameters.volume = loop.parameters.volume, addVolume(np.zeros(SHAPE, np.int16))
    assert overlays() == set()
    loop.parameters.volume = first
    assert overlays() == {"uncertainty", "difference"}
    slicer.mrmlScene.RemoveNode(first)
    assert overlays() == set()
    loop.press("compare", "keepButton")
    loop.settle()
    assert said(loop) == [GONE]
    assert versions(loop)[0] == ("Organs, round 1", "kept")


def test_a_slice_confirmed_just_before_the_scene_is_closed_is_in_the_project(loop):
    loop.logic.jumpTo(1, 3)
    labels = loop.labels()[:, 3]
    loop.press("correct", "confirmGreenButton")
    slicer.mrmlScene.Clear()
    assert np.array_equal(loop.storedSlices()[1, 3].labels, labels)


def test_a_segmentation_that_is_not_chosen_any_more_is_let_go(loop):
    follower = loop.logic._correcting
    assert follower.Observations
    loop.parameters.segmentation = None
    loop.settle()
    assert not follower.Observations


def test_an_overlay_is_not_drawn_again_for_another_choice(loop):
    loop.ui("correct").uncertaintyCheckBox.click()
    before = nodeIds()
    loop.parameters.device = "cpu"
    loop.parameters.minutes = 3.0
    assert nodeIds() == before


def overlays():
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return {node.GetAttribute("UNetSegment.overlay") for node in nodes} - {None}


# ---- segments, undo, modules ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_segment_counts_as_an_edit_and_comes_back_on_confirmed_slices(loop, kind):
    start(loop, kind)
    loop.parameters.segmentation.GetSegmentation().RemoveSegment("UNetSegment_2")
    finish(loop)
    assert loop.notices == []
    expected = np.where(predicted() == 2, 0, predicted())
    expected[4] = 0
    expected[2] = {"segment": 2, "train": 0}[kind]
    assert np.array_equal(loop.labels(), expected)
    assert loop.states()[0, 2] == {"segment": CONFIRMED, "train": CHANGED_SINCE}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_renamed_segment_keeps_its_name_and_gets_its_result(loop, kind):
    start(loop, kind)
    segmentation = loop.parameters.segmentation.GetSegmentation()
    segmentation.GetSegment("UNetSegment_2").SetName("Milz")
    finish(loop)
    assert [segmentation.GetNthSegment(n).GetName() for n in range(2)] == ["Liver", "Milz"]
    assert segmentation.GetNumberOfSegments() == 2
    assert np.array_equal(np.delete(loop.labels(), (2, 4), 0), np.delete(predicted(), (2, 4), 0))
    assert loop.states() == {(0, 2): CONFIRMED, (0, 4): EDITED}


@pytest.mark.parametrize("kind", KINDS)
def test_undoing_a_stroke_meanwhile_counts(loop, kind):
    start(loop, kind)
    loop.editor.undo()
    finish(loop)
    assert loop.states() == {(0, 2): CONFIRMED}
    assert np.array_equal(np.delete(loop.labels(), 2, 0), np.delete(predicted(), 2, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_work_goes_on_while_another_module_is_shown(loop, kind):
    start(loop, kind)
    host.exit(loop.widget)
    finish(loop)
    assert not loop.editor.observing
    assert not loop.editor.shortcuts
    assert (loop.logic.comparison is not None) == (kind == "train")
    host.enter(loop.widget)
    loop.settle()
    assert loop.notices == []
    assert loop.states() == {(0, 2): CONFIRMED, (0, 4): EDITED}
    loop.segment() if kind == "segment" else loop.press("compare", "keepButton")
    loop.settle()
    assert loop.states() == {(0, 2): CONFIRMED, (0, 4): EDITED}


def test_reloading_the_module_ends_a_segmentation(loop):
    start(loop, "segment")
    labels, nodes = loop.labels(), nodeIds()
    reload(loop)
    assert loop.processes() == []
    finish(loop)
    assert loop.notices == []
    assert nodeIds() == nodes
    assert np.array_equal(loop.labels(), labels)
    assert loop.states() == {(0, 2): CONFIRMED, (0, 4): EDITED}
    loop.segment()
    assert loop.states() == {(0, 2): CONFIRMED, (0, 4): EDITED}


def test_reloading_the_module_keeps_a_training_that_can_go_on(loop):
    start(loop, "train")
    reload(loop)
    assert loop.processes() == []
    assert loop.logic.job is None
    loop.until(lambda: loop.notices)
    assertGoesOn(loop)


def test_quitting_ends_a_segmentation(loop):
    start(loop, "segment")
    loop.close()
    assert loop.processes() == []
    assert loop.jobFolders() == []
    loop.open()
    loop.mode("healthy")
    loop.settle()
    assert loop.notices == []


def test_quitting_keeps_a_training_for_the_next_time(scene, tmp_path):
    loop = Loop(tmp_path)
    loop.open()
    loop.begin()
    start(loop, "train")
    loop.close()
    slicer.mrmlScene.Clear()
    assert loop.processes() == []
    assert len(loop.jobFolders()) == 1
    with opened(tmp_path, "healthy") as again:
        again.notices = again.logic.notice and [again.logic.notice]
        assertGoesOn(again)


def reload(loop):
    slicer.util.reloadScriptedModule("UNetSegment")
    loop.follow(slicer.modules.UNetSegmentWidget)


def assertGoesOn(loop):
    assert said(loop) == ["A training was interrupted before it was finished."]
    loop.mode("healthy")
    loop.pressAction("resume")
    finish(loop)
    assert [request.resume for request in loop.requests(Train)] == [False, True]
    assert versions(loop)[0] == ("Organs, round 1", "offered")


# ---- edits and a result ----


@pytest.mark.parametrize("answer", ["keep", "replace", "discard"])
def test_edits_made_while_a_segmentation_runs_are_asked_about(loop, answer):
    asked = []
    loop.logic.ask = lambda text, choices, default: asked.append((text, [code for code, _title in choices])) or answer
    other = loop.addVersion(OTHER)
    start(loop, "segment")
    loop.paintSlice(0, 5, value=1)
    loop.paintSlice(2, 3, value=1)
    labels = loop.labels()
    finish(loop)
    ((text, choices),) = asked
    assert "changed this segmentation without confirming" in text
    assert choices == ["keep", "replace", "discard"]
    expected = predicted(thresholds=OTHER)
    edited = np.zeros(SHAPE, bool)
    edited[4] = edited[5] = edited[..., 3] = True
    if answer == "keep":
        edits = edited & (labels != predicted())
        expected[edits] = labels[edits]
    if answer == "discard":
        expected = labels
        assert loop.states()[0, 2] == CHANGED_SINCE
    else:
        expected[2] = 2
        assert loop.logic.corrections.version == other.id
    assert np.array_equal(loop.labels(), expected)
    assert (EDITED in loop.states().values()) == (answer != "replace")


def test_nobody_is_asked_where_nothing_waits_to_be_confirmed(loop):
    loop.logic.ask = lambda *arguments: pytest.fail("asked")
    loop.editor.undo()
    loop.segment()
    assert np.array_equal(loop.labels()[4], predicted()[4])


def test_confirmed_slices_stay_bit_identical_through_every_result(loop):
    loop.paintSlice(1, 6, value=1)
    loop.confirm(1, 6)
    expected = {(0, 2): np.full(SHAPE[1:], 2, np.uint8), (1, 6): loop.labels()[:, 6].copy()}
    expected[0, 2][6] = 1
    first = loop.parameters.model
    loop.addVersion(OTHER)
    loop.segment()
    assertKept(loop, expected)
    loop.press("retrain", "trainButton")
    loop.settle()
    loop.press("compare", "keepButton")
    loop.settle()
    moved = predicted(thresholds=tuple(value + STEP for value in OTHER))
    assert np.array_equal(loop.labels()[5, :6], moved[5, :6])
    assertKept(loop, expected)
    loop.logic.useVersion(first)
    loop.settle()
    assert np.array_equal(loop.labels()[5, :6], predicted()[5, :6])
    assertKept(loop, expected)
    assert loop.logic.notice is None


def assertKept(loop, expected):
    labels = loop.labels()
    for (axis, index), slice_ in expected.items():
        assert np.array_equal(labels[plane(axis, index)], slice_)
        assert loop.states()[axis, index] == CONFIRMED


def test_a_result_is_one_undo_step_and_the_table_follows(loop):
    loop.logic.ask = lambda text, choices, default: "replace"
    before, states, version = loop.labels(), loop.states(), loop.logic.corrections.version
    assert states == {(0, 2): CONFIRMED, (0, 4): EDITED}
    other = loop.addVersion(OTHER)
    loop.segment()
    after = loop.labels()
    assert loop.states() == {(0, 2): CONFIRMED}
    assert not np.array_equal(before, after)
    for _ in range(2):
        loop.editor.undo()
        loop.settle()
        assert np.array_equal(loop.labels(), before)
        assert (loop.states(), loop.logic.corrections.version) == (states, version)
        loop.editor.redo()
        loop.settle()
        assert np.array_equal(loop.labels(), after)
        assert (loop.states(), loop.logic.corrections.version) == ({(0, 2): CONFIRMED}, other.id)


def test_several_results_are_undone_one_after_the_other(loop):
    loop.logic.ask = lambda text, choices, default: "replace"
    found = []
    for thresholds in (OTHER, (60, 140)):
        found.append((loop.labels(), loop.states(), loop.logic.corrections.version))
        loop.addVersion(thresholds)
        loop.segment()
        loop.paintSlice(1, len(found))
        loop.settle()
    for labels, states, version in reversed(found):
        loop.editor.undo()
        loop.editor.undo()
        loop.settle()
        assert np.array_equal(loop.labels(), labels)
        assert (loop.states(), loop.logic.corrections.version) == (states, version)


def test_keeping_a_version_is_one_undo_step_too(loop):
    before, states = loop.labels(), loop.states()
    loop.press("retrain", "trainButton")
    loop.settle()
    assert np.array_equal(loop.labels(), before)
    loop.press("compare", "keepButton")
    loop.settle()
    assert np.array_equal(loop.labels()[5], predicted(thresholds=tuple(value + STEP for value in THRESHOLDS))[5])
    assert loop.states() == states
    loop.editor.undo()
    loop.settle()
    assert np.array_equal(loop.labels(), before)
    assert loop.states() == states
