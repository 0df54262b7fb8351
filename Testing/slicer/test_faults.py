"""A computation that dies, freezes, runs out of memory, lacks PyTorch or talks nonsense, as the user sees it."""

import os
import re
import signal

import numpy as np
import pytest
import slicer
from loop import PATIENT, THRESHOLDS, nodeIds, opened, predicted

from fake_worker import STEP
from unetseg.messages import Train
from UNetSegmentLib import job
from UNetSegmentLib.corrections import SliceState
from UNetSegmentLib.record import recordNode

ENDED = (
    "The computation ended before it was finished; your volumes and segmentations are as they were.",
    "Try again; if it ends again, copy the report",
)
KILLED = (
    "The system ended the computation, most often because the memory has run out; "
    "your volumes and segmentations are as they were.",
    "Close other programs, or restrict the work with a region of interest",
)
STOPPED = (
    "The computation was stopped; your volumes and segmentations are as they were.",
    "Start it again when you like",
)
NO_WORKER = (
    "The program chosen for computation must be a Python in which UNetSegment can run.",
    "Choose another Python under Settings",
)
NO_TORCH = (
    "The Python that computes lacks PyTorch.",
    "Press Install PyTorch under Settings, or choose another Python there",
)
NO_MEMORY = (
    "The work needs more memory than there is.",
    "Close other programs, choose the CPU, or use smaller images or a smaller network",
)
FAULT = (
    "Something went wrong in UNetSegment; your volumes and segmentations are as they were.",
    "Please copy the report and send it to the developers",
)
WHILE_IT_WORKS = {
    "die": KILLED,
    "segv": ENDED,
    "exit0": ENDED,
    "memory": NO_MEMORY,
    "no_torch": NO_TORCH,
    "fault": FAULT,
}
AT_ITS_START = {"exit0": ENDED, "no_torch": NO_TORCH, "garbage": NO_WORKER, "longline": NO_WORKER}
FAULTS = [
    *(pytest.param(mode, False, *said, id=mode) for mode, said in WHILE_IT_WORKS.items()),
    *(pytest.param(mode, True, *said, id=f"{mode} at its start") for mode, said in AT_ITS_START.items()),
]
ANSWERED = ("memory", "no_torch", "fault")
"""The worker lives on."""
JARGON = re.compile(
    r"\b(worker|json|protocol|process|thread|traceback|\w*error|exception|tensor|torch|pip|epochs?|checkpoint|"
    r"inference|std\w+|signal|none|null|bytes?|line|exit code|sig\w+)\b",
    re.IGNORECASE,
)
KINDS = ["segment", "train"]
CANCEL = {"segment": ("segment", "applyButton"), "train": ("retrain", "abortButton")}
START = {"segment": ("segment", "applyButton"), "train": ("retrain", "trainButton")}


@pytest.fixture
def loop(loop):
    loop.begin()
    return loop


def snapshot(loop):
    """All that a failed job must leave as it was."""
    node = loop.parameters.parameterNode
    return {
        "nodes": nodeIds(),
        "labels": loop.labels().tobytes(),
        "states": loop.states(),
        "stored": {plane: (taken.labels.tobytes(), taken.seconds) for plane, taken in loop.storedSlices().items()},
        "versions": [version.id for version in loop.logic.project.versions()],
        "choices": {name: node.GetParameter(name) for name in node.GetParameterNames()},
    }


def assertWellSaid(notice, text, remedy):
    assert (notice.kind, notice.text, notice.remedy) == ("error", text, remedy)
    assert not JARGON.search(text + " " + remedy)
    assert re.fullmatch(r"[^.?!\n]+\.", text)
    assert remedy or notice.actions


def assertShown(loop, notice, begins=""):
    """In the bar at the panel's top, with a report that names programs and versions and no patient."""
    ui = loop.ui("notice")
    assert ui.noticeFrame.isVisibleTo(loop.widget.panel.root)
    assert (ui.noticeText.text, ui.remedyText.text) == (notice.text, notice.remedy + ".")
    slicer.app.clipboard().clear()
    loop.press("notice", "copyReportButton")
    report = slicer.app.clipboard().text()
    assert begins in report.splitlines()[0]
    assert report.startswith(notice.text) or begins
    assert re.search(r"^Slicer 5\.\d+; .+; Python 3\.\d+", report, re.MULTILINE)
    assert len(report.splitlines()) > 5
    assert not any(part in report for part in (PATIENT, *PATIENT.replace("^", " ").split()))


def assertWorks(loop, kind):
    """The same button does what it should: the version's result, or a new version."""
    before = len(loop.requests())
    loop.press(*START[kind])
    loop.settle()
    assert loop.logic.notice is None
    assert len(loop.requests()) > before
    assert loop.states() == {(0, 2): SliceState.CONFIRMED, (0, 4): SliceState.EDITED}
    assert np.array_equal(loop.labels()[5], predicted()[5])
    assert (loop.logic.comparison is not None) == (kind == "train")


@pytest.mark.parametrize(("mode", "atStart", "text", "remedy"), FAULTS)
def test_a_fault_is_one_sentence_with_a_way_out_and_the_scene_is_untouched(loop, mode, atStart, text, remedy):
    for kind in KINDS:
        before = snapshot(loop)
        if atStart:
            loop.releaseWorker()
        loop.notices.clear()
        loop.mode(mode)
        loop.press(*START[kind])
        loop.settle()
        assert len(loop.notices) == 1
        assertWellSaid(loop.notices[0], text, remedy)
        assertShown(loop, loop.notices[0])
        assert snapshot(loop) == before
        assert loop.jobFolders() == []
        livesOn = not atStart and mode in ANSWERED
        loop.until(lambda livesOn=livesOn: len(loop.processes()) == livesOn)
        loop.mode("healthy")
        assertWorks(loop, kind)
        assert loop.jobFolders() == []


@pytest.mark.parametrize(("kind", "mode"), [("segment", "garbage"), ("train", "garbage"), ("segment", "longline")])
def test_nonsense_among_the_answers_harms_nothing(loop, kind, mode):
    loop.mode(mode)
    assertWorks(loop, kind)
    assert loop.notices == []
    assert "message" in loop.logic._workspace.worker.log()


@pytest.mark.parametrize("mode", AT_ITS_START)
def test_a_program_that_cannot_compute_is_told_when_the_module_is_opened(scene, tmp_path, mode):
    with opened(tmp_path, mode) as loop:
        assertWellSaid(loop.notices[0], *AT_ITS_START[mode])
        assert len(loop.notices) == 1
        assert dict(loop.logic.notice.actions) == {"settings": "Open settings"}
        assert loop.ui("settings").pythonStatusLabel.text == "This Python cannot be used for computation"
        loop.until(lambda: not loop.processes())
        section = loop.widget.panel._ui.settingsSection
        section.collapsed = True
        loop.pressAction("settings")
        assert not section.collapsed
        loop.mode("healthy")
        loop.press("settings", "checkPythonButton")
        loop.until(lambda: loop.logic.capabilities)
        slicer.app.processEvents()
        status = loop.ui("settings").pythonStatusLabel.text
        assert status == "Ready: PyTorch 0.0 (none) on Processor, 16 GB, Made-up GPU, 8 GB"
        assert loop.logic.notice is None


def test_a_fault_in_the_first_segmentation_leaves_no_node(scene, tmp_path):
    with opened(tmp_path) as loop:
        loop.addVersion()
        loop.addVolume()
        before = nodeIds()
        loop.mode("die")
        loop.segment()
        assertWellSaid(loop.logic.notice, *KILLED)
        assert nodeIds() == before
        assert loop.parameters.segmentation is None
        loop.mode("healthy")
        loop.segment()
        assert np.array_equal(loop.labels(), predicted())


def test_a_death_that_nobody_waits_for_is_not_told_and_the_next_job_works(loop):
    (pid,) = loop.processes()
    os.kill(pid, signal.SIGKILL)
    loop.until(lambda: not loop.logic._workspace.worker.running)
    assertWorks(loop, "segment")
    assert loop.notices == []


def test_the_user_reads_the_name_of_a_volume_and_the_report_leaves_it_out(loop):
    recordNode(loop.parameters.segmentation).SetParameter("corrections", "{")
    loop.parameters.segmentation, segmentation = None, loop.parameters.segmentation
    loop.parameters.segmentation = segmentation
    loop.settle()
    assert f"“{PATIENT} segmentation”" in loop.logic.notice.text
    assertShown(loop, loop.logic.notice, "“…”")


# ---- a training that has come some way ----


@pytest.fixture
def interrupted(loop):
    """A training died after its first checkpoint."""
    loop.mode("slow")
    loop.start("train")
    loop.until(loop.logic.curve.__len__)
    loop.until(lambda: list(loop.jobFolders()[0].glob("*.checkpoint.safetensors")))
    loop.mode("die")
    loop.settle()
    assertWellSaid(loop.logic.notice, *KILLED)
    assert dict(loop.logic.notice.actions) == {"resume": "Go on with it", "discard": "Discard it"}
    assert len(loop.jobFolders()) == 1
    loop.mode("healthy")
    return loop


def test_a_training_that_died_goes_on_from_its_checkpoint(interrupted):
    interrupted.pressAction("resume")
    interrupted.settle()
    first, second = interrupted.requests(Train)
    assert (first.resume, second.resume) == (False, True)
    assert (first.folder, first.cases, first.settings) == (second.folder, second.cases, second.settings)
    assert interrupted.logic.comparison.name == "Organs, round 1"
    assert interrupted.jobFolders() == []


def test_a_training_that_died_can_be_discarded(interrupted):
    before = snapshot(interrupted)
    interrupted.pressAction("discard")
    interrupted.settle()
    assert interrupted.jobFolders() == []
    assert interrupted.logic.notice is None
    assert snapshot(interrupted) == before


# ---- frozen ----


@pytest.fixture
def freeze(loop, monkeypatch):
    """Starts a job whose worker freezes; silence is then told after a fraction of a second, not half a minute."""

    def freeze(kind):
        loop.mode("stop")
        loop.start(kind)
        loop.until(loop.frozen)
        slicer.app.processEvents()
        monkeypatch.setattr(job, "SECONDS_UNTIL_UNRESPONSIVE", 0.05)
        loop.logic._workspace.worker.timer.setInterval(10)
        loop.until(lambda: loop.logic.notice)
        monkeypatch.undo()
        return loop

    return freeze


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_computation_can_be_stopped(loop, freeze, kind):
    before = snapshot(loop)
    freeze(kind)
    (notice,) = loop.notices
    assert notice.kind == "warning"
    assert re.fullmatch(r"The computation has not answered for \d+ seconds\.", notice.text)
    assert notice.remedy == "A busy computer may need longer; your volumes and segmentations are safe either way"
    assert dict(notice.actions) == {"wait": "Wait", "stop": "Stop it"}
    loop.pressAction("stop")
    loop.settle()
    assertWellSaid(loop.logic.notice, *STOPPED)
    assert len(loop.notices) == 2
    assert snapshot(loop) == before
    assert loop.processes() == loop.jobFolders() == []
    loop.mode("healthy")
    assertWorks(loop, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_computation_that_wakes_up_goes_on(loop, freeze, kind):
    freeze(kind)
    loop.pressAction("wait")
    assert loop.logic.notice is None
    assert loop.logic.job is not None
    loop.mode("healthy")
    os.kill(loop.processes()[0], signal.SIGCONT)
    loop.settle()
    assert len(loop.notices) == 1
    assert np.array_equal(loop.labels()[5], predicted()[5])
    assert (loop.logic.comparison is not None) == (kind == "train")


def test_a_message_about_silence_goes_when_the_computation_speaks_again(loop, freeze):
    freeze("segment")
    loop.mode("healthy")
    os.kill(loop.processes()[0], signal.SIGCONT)
    loop.settle()
    assert len(loop.notices) == 1
    assert loop.logic.notice is None


# ---- cancelling ----


@pytest.mark.parametrize("mode", ["slow", "deaf", "stop"])
def test_cancelling_changes_nothing_and_a_computation_that_does_not_listen_is_ended(loop, mode):
    loop.logic._workspace.jobs.cancelTimer.setInterval(50 if mode != "slow" else 3_600_000)
    for kind in KINDS:
        before = snapshot(loop)
        loop.mode(mode)
        loop.start(kind)
        loop.press(*CANCEL[kind])
        slicer.app.processEvents()
        assertAnswers(loop, kind)
        loop.settle()
        assert loop.notices == []
        assert snapshot(loop) == before
        assert loop.jobFolders() == []
        assert len(loop.processes()) == (mode == "slow")
        loop.mode("healthy")
        assertWorks(loop, kind)


def assertAnswers(loop, kind):
    """The panel says at once that it has heard."""
    segment, retrain = loop.ui("segment"), loop.ui("retrain")
    busy, said, text = {
        "segment": (segment.applyButton, segment.applyButton, "Cancelling…"),
        "train": (retrain.trainButton, retrain.trainStageLabel, "Stopping"),
    }[kind]
    assert loop.logic.job.stopping
    assert not busy.enabled
    assert said.text == text


def test_a_stopped_training_offers_the_best_so_far(loop):
    loop.mode("slow")
    loop.start("train")
    loop.until(lambda: len(loop.logic.curve) > 1)
    loop.press("retrain", "trainButton")
    loop.until(lambda: loop.logic.job.kind == "compare")
    loop.mode("healthy")
    loop.settle()
    assert loop.notices == []
    assert loop.logic.comparison.name == "Organs, round 1"
    loop.press("compare", "keepButton")
    loop.settle()
    assert np.array_equal(loop.labels()[5], predicted(thresholds=[value + STEP for value in THRESHOLDS])[5])
    assert loop.jobFolders() == []
