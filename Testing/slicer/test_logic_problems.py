"""What stands in the way is said at once, in words that help, and hides nothing else."""

import slicer
from loop import image


def pressShortcut(loop):
    loop.widget.panel.sections["correct"].shortcuts[0].activated.emit()
    slicer.app.processEvents()


def test_a_shortcut_without_anything_to_confirm_says_what_is_missing(loop):
    pressShortcut(loop)
    assert loop.logic.notice.text == "Segment the volume first, or choose a segmentation."


def test_a_segmentation_of_another_size_is_refused_before_anything_is_computed(loop):
    loop.addVersion()
    loop.addVolume()
    loop.segment()
    loop.paintSlice(0, 2)
    loop.confirm(0, 2)
    segmentation, volume = loop.parameters.segmentation, loop.parameters.volume
    loop.parameters.segmentation = None
    slicer.util.updateVolumeFromArray(volume, image()[:4])
    loop.parameters.segmentation = segmentation
    loop.settle()
    assert "another size" in loop.logic.whyNotSegment()
    assert "another size" in loop.logic.whyNotConfirm("Red")
    loop.parameters.segmentation = None
    assert loop.logic.whyNotSegment() == ""


def test_a_training_that_can_go_on_is_offered_beside_all_problems(loop):
    project = loop.logic.project
    for name in ("a", "b"):
        (project._root.made("models") / f"{name * 32}.json").write_text("{}")
    project._changed()
    loop.logic.enter()
    assert loop.logic.notice.text.count("A model is missing") == 2
    unfinished = project.newJobFolder()
    (unfinished / "request.json").write_text("{}")
    (unfinished / "model.checkpoint.safetensors").touch()
    project.release()
    loop.logic.enter()
    assert "resume" in dict(loop.logic.notice.actions)


def test_a_training_cannot_go_on_beside_other_work_and_is_not_forgotten(loop):
    loop.addVersion()
    loop.addVolume()
    loop.mode("slow")
    loop.start("segment")
    unfinished = loop.logic.project.newJobFolder()
    loop.logic._retraining._stopped = unfinished
    loop.logic.noticeAction("resume")
    assert "has ended" in loop.logic.notice.text
    assert "resume" in dict(loop.logic.notice.actions)
    assert loop.logic.job.kind == "segment"
    loop.mode("healthy")
    loop.settle()
    loop.pressAction("discard")
    assert not unfinished.exists()
