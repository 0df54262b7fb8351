"""What the user has confirmed comes back to the voxel, whatever is done with versions; the worker is told all of it."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import slicer
from loop import SHAPE, THRESHOLDS, predicted
from nodes import addLinearTransform

from fake_worker import STEP
from unetseg.labelled_slices import compose, load_slices
from unetseg.messages import Segment, Train
from unetseg.volume import UNLABELLED
from UNetSegmentLib.slice_views import fitRegion

PLANES = ((0, 2), (1, 4), (2, 3))


@pytest.fixture
def loop(loop):
    loop.version = loop.addVersion()
    loop.addVolume()
    return loop


def confirmPlanes(loop):
    """Slices in three directions that cross, the last one as it was predicted; returns the labels, 255 elsewhere."""
    for n, (axis, index) in enumerate(PLANES):
        if n < 2:
            loop.paintSlice(axis, index, value=n + 1)
        loop.confirm(axis, index)
    return compose(loop.logic.corrections.slices, SHAPE)[0]


def decide(loop, button):
    loop.press("retrain", "trainButton")
    loop.settle()
    loop.press("compare", button)
    loop.settle()


def restrict(loop):
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    fitRegion(region, loop.parameters.volume)
    region.SetSize(*(0.5 * length for length in region.GetSize()))
    loop.parameters.region = region


@pytest.mark.parametrize("transformed", [False, True])
@pytest.mark.parametrize("inRegion", [False, True])
def test_confirmed_slices_come_back_to_the_voxel(loop, transformed, inRegion):
    if transformed:
        loop.parameters.volume.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    loop.segment()
    right = confirmPlanes(loop)
    if inRegion:
        restrict(loop)
    known, before = right != UNLABELLED, loop.labels()
    assert np.array_equal(before, np.where(known, right, predicted()))

    for button in ("backButton", "tryAgainButton"):
        decide(loop, button)
        assert np.array_equal(loop.labels(), before)
    loop.press("compare", "keepButton")
    loop.settle()
    expected = before.copy()
    region = loop.requests(Segment)[-1].region
    assert (region is not None) == inRegion
    inside = tuple(slice(*bounds) for bounds in zip(*region, strict=True)) if inRegion else ...
    expected[inside] = predicted(thresholds=[value + STEP for value in THRESHOLDS])[inside]
    assert np.array_equal(loop.labels(), np.where(known, right, expected))

    loop.parameters.region = None
    loop.logic.useVersion(loop.version.id)
    loop.settle()
    assert np.array_equal(loop.labels(), before)


def test_the_worker_is_told_everything_about_the_confirmed_slices(loop):
    times = itertools.count(step=5)
    loop.logic._correcting.effort._clock = lambda: float(next(times))
    loop.segment()
    loop.paintSlice(0, 2)
    loop.confirm(0, 2)
    loop.confirm(0, 4)
    slices = loop.logic.corrections.slices
    loop.mode("slow")
    loop.start("train")
    (request,) = loop.requests(Train)
    _shape, told = load_slices(Path(request.folder, request.cases[0].annotation))
    loop.mode("healthy")
    loop.settle()
    assert [(taken.axis, taken.index, taken.unchanged) for taken in told] == [(0, 2, False), (0, 4, True)]
    assert all(taken.seconds >= 5 and taken.version == loop.version.id for taken in told)
    for one, other in zip(told, slices, strict=True):
        assert (one.seconds, one.version, one.confirmed_utc) == (other.seconds, other.version, other.confirmed_utc)
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.before, other.before)


def test_a_segmentation_is_told_the_confirmed_slices_of_its_own_volume_only(loop):
    loop.segment()
    right = confirmPlanes(loop)
    loop.segment()
    loop.addVolume(seed=1)
    loop.segment()
    first, again, other = loop.requests(Segment)
    assert (first.confirmed, other.confirmed) == (None, None)
    shape, slices = load_slices(Path(again.confirmed))
    assert np.array_equal(compose(slices, shape)[0], right)
