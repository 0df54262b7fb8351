"""A region of interest restricts what is computed, never what is kept, brought back or measured."""

import numpy as np
import pytest
import slicer
from loop import THRESHOLDS, predicted

from fake_worker import STEP
from UNetSegmentLib.slice_views import fitRegion


@pytest.fixture
def loop(loop):
    loop.version = loop.addVersion()
    loop.addVolume()
    loop.segment()
    return loop


def restrict(loop):
    """To the middle of the volume."""
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    fitRegion(region, loop.parameters.volume)
    region.SetSize(*(0.5 * length for length in region.GetSize()))
    loop.parameters.region = region


def test_a_version_comes_back_for_the_whole_volume_after_work_in_a_region(loop):
    restrict(loop)
    loop.segment()
    loop.parameters.region = None
    loop.logic.useVersion(loop.version.id)
    loop.settle()
    assert np.array_equal(loop.labels(), predicted())
    assert loop.logic.whyNotUncertainty() != ""


def test_a_version_is_measured_in_the_region_only(loop):
    better = predicted(thresholds=[value + STEP for value in THRESHOLDS])
    restrict(loop)
    for index in (2, 3, 4):
        for value in (1, 2):
            mask = np.zeros(better.shape, bool)
            mask[index] = better[index] == value
            loop.paint(value, mask)
        loop.confirm(0, index)
    loop.press("retrain", "trainButton")
    loop.settle()
    comparison = loop.logic.comparison
    assert comparison.heldOutSlices == 1
    assert comparison.rows[1].heldOutAfter == 1.0
