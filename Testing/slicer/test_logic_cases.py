"""Which volumes of the project a training learns from."""

from dataclasses import replace
from pathlib import Path

import pytest

from unetseg.labelled_slices import load_slices
from unetseg.messages import Train


@pytest.fixture
def loop(loop):
    """Two volumes with one confirmed slice each; the second one is open."""
    loop.version = loop.addVersion()
    for seed, name in enumerate(("first", "second")):
        loop.addVolume(seed, name)
        loop.segment()
        loop.paintSlice(0, 2)
        loop.confirm(0, 2)
    return loop


def folderOf(loop, name):
    return next(case.annotation.parent for case in loop.logic.project.cases() if case.name == name)


def test_damaged_slices_of_one_volume_do_not_keep_the_others_from_being_learned(loop):
    (folderOf(loop, "first") / "slices.json").write_text("{}")
    loop.confirm(0, 3)
    assert loop.logic.notice is None
    assert loop.logic.whyNotTrain() == ""
    assert loop.logic.trainingSummary().startswith("2 slices in 1 volume")
    assert any("“first” cannot be read" in warning for warning in loop.logic.trainingWarnings())
    loop.press("retrain", "trainButton")
    loop.settle()
    assert loop.logic.comparison is not None


def test_every_volume_is_a_case_of_its_own_however_few_slices_it_has(loop):
    """The worker draws each case equally often (``test_batches``)."""
    for index in (1, 3, 4):
        loop.confirm(0, index)
    assert loop.logic.trainingSummary() == "5 slices in 2 volumes, starting from “Organs”"
    assert loop.logic.trainingWarnings() == ()
    loop.mode("slow")
    loop.start("train")
    (request,) = loop.requests(Train)
    slices = {case.name: load_slices(Path(request.folder, case.annotation))[1] for case in request.cases}
    loop.mode("healthy")
    loop.settle()
    names = {case.id: case.name for case in loop.logic.project.cases()}
    assert {names[case]: len(taken) for case, taken in slices.items()} == {"first": 1, "second": 4}


def test_the_user_is_told_when_no_volume_has_enough_slices_for_a_figure(loop):
    warning = "No volume has three confirmed slices, so there will be no figure for the improvement."
    assert warning in loop.logic.trainingWarnings()
    loop.confirm(0, 3)
    assert loop.logic.trainingSummary().startswith("3 slices in 2 volumes")
    assert warning in loop.logic.trainingWarnings()
    loop.confirm(0, 4)
    assert warning not in loop.logic.trainingWarnings()


def test_a_volume_that_lacks_a_channel_of_the_model_is_left_out(loop):
    project, model = loop.logic.project, loop.folder / "other.safetensors"
    model.write_bytes(loop.version.path.read_bytes() + b" ")
    other = project.add(model, replace(loop.version, name="Two channels", channels=2))
    loop.parameters.channel2 = loop.parameters.volume
    loop.parameters.model = other.id
    loop.settle()
    assert loop.logic.trainingSummary().startswith("1 slice in 1 volume")


def test_a_slice_confirmed_at_the_last_moment_is_learned_from(loop):
    loop.logic.jumpTo(0, 3)
    loop.logic.confirmSlice("Red")
    loop.logic.startTraining()
    loop.settle()
    assert loop.logic.project.version(loop.logic.comparison.versionId).slices == 3
