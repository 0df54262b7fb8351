"""Confirmed slices mean the same structures, whatever becomes of the segments afterwards."""

import numpy as np
import pytest
from loop import SHAPE


@pytest.fixture
def loop(loop):
    loop.addVolume()
    loop.parameters.model, loop.parameters.structures = "new:unet_2d", "Liver"
    loop.segment()
    loop.segments = loop.parameters.segmentation.GetSegmentation()
    for name in ("B", "C"):
        loop.segments.AddEmptySegment(name, name)
    mask = np.zeros(SHAPE, bool)
    mask[2, 3] = True
    loop.editor.setCurrentSegmentID("C")
    loop.editor.paintArray(mask, "Add")
    loop.confirm(0, 2)
    return loop


def values(loop):
    return {label.name: label.value for label in loop.logic._correcting.labels()}


def test_segments_that_are_ordered_or_renamed_keep_what_the_slices_say(loop):
    assert set(np.unique(loop.logic.corrections.slices[0].labels)) == {0, 3}
    loop.segments.SetSegmentIndex("C", 1)
    loop.segments.GetSegment("C").SetName("Kidney")
    assert values(loop) == {"Background": 0, "Liver": 1, "B": 2, "Kidney": 3}
    assert loop.labels()[2, 3, 0] == 3


def test_a_deleted_structure_is_told_before_the_training(loop):
    loop.segments.RemoveSegment("B")
    loop.settle()
    assert "A structure was deleted" in loop.logic.whyNotTrain()
    loop.segments.AddEmptySegment("D", "D")
    loop.settle()
    assert values(loop) == {"Background": 0, "Liver": 1, "D": 2, "C": 3}
    loop.confirm(0, 2)
    assert loop.logic.whyNotTrain() == ""
    loop.segments.RemoveSegment("C")
    loop.segments.AddEmptySegment("E", "E")
    loop.confirm(0, 3)
    assert any("changed since" in warning for warning in loop.logic.trainingWarnings())
