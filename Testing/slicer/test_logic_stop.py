"""A training that was asked to stop and keep the best so far must not be lost, whatever happens then."""

import pytest


@pytest.fixture
def training(loop):
    """On its way, with a checkpoint."""
    loop.addVersion()
    loop.addVolume()
    loop.segment()
    loop.paintSlice(0, 2)
    loop.confirm(0, 2)
    loop.mode("slow")
    loop.start("train")
    loop.until(lambda: list(loop.jobFolders()[0].glob("*.checkpoint.safetensors")))
    return loop


def test_a_computation_that_dies_after_stop_leaves_a_training_that_can_go_on(training):
    training.mode("stubborn")
    training.logic.stopTraining()
    training.mode("die")
    training.settle()
    assert "resume" in dict(training.logic.notice.actions)
    training.mode("healthy")
    training.pressAction("resume")
    training.settle()
    assert training.logic.comparison.name == "Organs, round 1"


def test_a_computation_that_dies_after_abort_is_what_the_user_wanted(training):
    training.logic.stopTraining()
    training.logic.abortTraining()
    training.logic._workspace.worker.kill()
    training.settle()
    assert training.logic.notice is None
    assert training.jobFolders() == []
