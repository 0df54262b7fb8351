"""What is followed after a scene was saved, closed, loaded, or added to another one."""

import pytest
import slicer

from UNetSegmentLib.corrections import SliceState


@pytest.fixture
def loop(loop):
    loop.addVersion()
    loop.addVolume()
    loop.segment()
    loop.paintSlice(0, 2)
    loop.confirm(0, 2)
    return loop


def test_a_scene_added_to_another_one_is_followed_with_its_corrections(loop, tmp_path):
    saved = str(tmp_path / "scene.mrb")
    slicer.util.saveScene(saved)
    loop.addVolume(seed=1, name="other")
    loop.segment()
    other = loop.parameters.segmentation
    slicer.util.loadScene(saved, {"clear": False})
    loop.settle()
    assert loop.logic.notice is None
    assert loop.parameters.segmentation != other
    assert loop.states() == {(0, 2): SliceState.CONFIRMED}


def test_the_slices_of_a_scene_from_another_computer_can_be_learned_from(loop, tmp_path):
    loop.logic.setProjectFolder(str(tmp_path / "elsewhere"))
    loop.settle()
    assert (loop.folder / "elsewhere" / "cases" / loop.logic._correcting.store.caseId / "slices.json").is_file()
    loop.addVersion()
    loop.settle()
    assert loop.logic.whyNotTrain() == ""
    saved = str(tmp_path / "scene.mrb")
    slicer.util.saveScene(saved)
    slicer.mrmlScene.Clear()
    loop.logic.removeEverything()
    slicer.util.loadScene(saved)
    loop.addVersion()
    loop.settle()
    assert loop.logic.whyNotTrain() == ""
