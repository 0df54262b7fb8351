"""Changes are found, counted, and explained by the fewest slices."""

import itertools

import numpy as np
import pytest

from unetseg.errors import ImageError
from unetseg.labelled_slices import LabelledSlice
from UNetSegmentLib import change_scan
from UNetSegmentLib.change_scan import EditedPlane, scanChanges

SHAPE = (8, 9, 10)
CUBIC = (1.0, 1.0, 1.0)


class Reader:
    """Labels in memory, that are read no more than a slab at a time."""

    def __init__(self, array):
        self.array = array

    def slab(self, start, stop):
        assert stop - start <= max(1, change_scan.VOXELS_PER_STEP // self.array[0].size)
        return self.array[start:stop]


@pytest.fixture(params=[2**18, 1], ids=["one slab", "slice by slice"])
def slabSize(request, monkeypatch):
    monkeypatch.setattr(change_scan, "VOXELS_PER_STEP", request.param)


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def scan(now, baseline, slices=(), spacing=CUBIC):
    copies = now.copy(), None if baseline is None else baseline.copy()
    changes = finish(scanChanges(Reader(now), now.shape, spacing, baseline, slices))
    assert np.array_equal(now, copies[0])
    assert baseline is None or np.array_equal(baseline, copies[1])
    return changes


def planes(changes):
    return [(plane.axis, plane.index) for plane in changes.edited]


@pytest.fixture
def baseline():
    array = np.zeros(SHAPE, np.uint8)
    array[2:6, 3:7, 1:9] = 1
    array[3:5, 4:6, 2:4] = 2
    return array


def test_nothing_changed(baseline, slabSize):
    changes = scan(baseline, baseline)
    assert changes.edited == changes.changedSince == ()
    assert changes.editedVoxels == 0
    assert [counts.tolist() for counts in changes.foreground] == [
        [0, 0, 32, 32, 32, 32, 0, 0],
        [0, 0, 0, 32, 32, 32, 32, 0, 0],
        [0, *[16] * 8, 0],
    ]


def test_a_stroke_on_one_slice_names_the_structures_that_gained_and_lost(baseline, slabSize):
    now = baseline.copy()
    now[3, 4, 2:6] = 5
    changes = scan(now, baseline)
    assert changes.edited == (EditedPlane(0, 3, (1, 2, 5), 4),)
    assert changes.editedVoxels == 4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_changes_on_few_slices_of_any_axis_are_found_along_it(axis, baseline, slabSize):
    now = baseline.copy()
    for index in (0, 4, SHAPE[axis] - 1):
        plane = (slice(None),) * axis + (index,)
        now[plane][::2, ::2] = 7
    assert planes(scan(now, baseline)) == [(axis, 0), (axis, 4), (axis, SHAPE[axis] - 1)]


def test_crossing_edits_are_explained_by_slices_of_several_axes(baseline, slabSize):
    now = baseline.copy()
    now[3], now[:, 5], now[:, :, 2], now[:, :, 8] = 4, 4, 4, 6
    changes = scan(now, baseline)
    assert planes(changes) == [(0, 3), (1, 5), (2, 2), (2, 8)]
    changed = now != baseline
    assert [plane.voxels for plane in changes.edited] == [
        np.count_nonzero(part) for part in (changed[3], changed[:, 5], changed[:, :, 2], changed[:, :, 8])
    ]
    assert [plane.values for plane in changes.edited] == [(1, 2, 4, 6), (1, 2, 4, 6), (1, 2, 4), (1, 6)]
    assert changes.editedVoxels == np.count_nonzero(changed)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_slice_that_others_have_explained_is_not_chosen(order):
    now = np.zeros((8, 9, 10), np.uint8)
    # Slices 5 … 9 along the last axis have more changed voxels than slice 2, but others explain all of them.
    now[3, :, 5:] = now[:, 5] = 4
    now[0, 0, 2] = now[5, 0, 2] = now[7, 8, 2] = 4
    turned = now.transpose(order)
    expected = sorted((order.index(axis), index) for axis, index in ((0, 3), (1, 5), (2, 2)))
    assert planes(scan(turned, np.zeros_like(turned))) == expected


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [(CUBIC, (0, 3)), ((1, 1, 2), (2, 5)), ((1, 3, 2), (1, 4)), ((3, 3, 1), (0, 3))],
)
def test_of_equally_few_slices_those_along_the_thickest_axis_are_meant(spacing, expected, baseline):
    now = baseline.copy()
    now[3, 4, 5] = 9
    assert planes(scan(now, baseline, spacing=spacing)) == [expected]


def test_a_tie_between_one_axis_and_several_goes_to_one_axis(baseline):
    now = baseline.copy()
    now[0, 0, :4] = 1
    now[7, 0:4, 9] = 1
    assert planes(scan(now, baseline, spacing=(1, 5, 5))) == [(0, 0), (0, 7)]


@pytest.mark.parametrize("seed", range(20))
def test_the_slices_hold_all_changes_and_are_never_more_than_along_one_axis(seed, slabSize):
    generator = np.random.default_rng(seed)
    baseline = generator.integers(0, 3, SHAPE, dtype=np.uint8)
    now = baseline.copy()
    for _ in range(generator.integers(1, 5)):
        axis = generator.integers(3)
        plane = (slice(None),) * axis + (generator.integers(SHAPE[axis]),)
        now[plane][generator.random(now[plane].shape) < generator.random()] = generator.integers(0, 4)
    now[tuple(generator.integers(SHAPE))] = 3
    changed = now != baseline
    changes = scan(now, baseline)
    left = changed.copy()
    for plane in changes.edited:
        index = (slice(None),) * plane.axis + (plane.index,)
        assert plane.voxels == np.count_nonzero(changed[index]) > 0
        values = {*now[index][changed[index]], *baseline[index][changed[index]]} - {0}
        assert set(plane.values) == values
        left[index] = False
    assert not left.any()
    single = [np.count_nonzero(changed.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    assert len(changes.edited) <= min(single)
    assert changes.editedVoxels == np.count_nonzero(changed)
    for axis, counts in enumerate(changes.foreground):
        assert np.array_equal(counts, np.count_nonzero(now, axis=tuple({0, 1, 2} - {axis})))


def test_everything_erased(baseline, slabSize):
    changes = scan(np.zeros_like(baseline), baseline)
    assert planes(changes) == [(0, 2), (0, 3), (0, 4), (0, 5)]
    assert changes.editedVoxels == np.count_nonzero(baseline)
    assert not any(counts.any() for counts in changes.foreground)


def test_confirmed_slices_are_no_edits_but_may_have_changed_since(baseline, slabSize):
    slices = [LabelledSlice(axis, 4, np.take(baseline, 4, axis) + 1) for axis in range(3)]
    now = baseline.copy()
    for labelled in slices:
        now[labelled.plane] = labelled.labels
    changes = scan(now, baseline, slices)
    assert changes.edited == changes.changedSince == ()
    assert changes.editedVoxels == 0

    now[4, 0, 0] = 9
    now[0, 0, 0] = 9
    changes = scan(now, baseline, slices)
    assert changes.edited == (EditedPlane(0, 0, (9,), 1),)
    assert changes.changedSince == ((0, 4),)


def test_where_confirmed_slices_cross_the_later_one_is_compared(baseline, slabSize):
    first = LabelledSlice(0, 4, np.full((9, 10), 1, np.uint8))
    later = LabelledSlice(2, 5, np.full((8, 9), 2, np.uint8))
    now = baseline.copy()
    now[4], now[:, :, 5] = 1, 2
    assert scan(now, baseline, [first, later]).changedSince == ()
    assert scan(now, baseline, [later, first]).changedSince == ((0, 4), (2, 5))
    now[4, :, 5] = 1
    assert scan(now, baseline, [later, first]).changedSince == ()
    now[4, 8, 5] = 3
    assert scan(now, baseline, [later, first]).changedSince == ((0, 4), (2, 5))


def test_a_confirmed_slice_set_back_to_the_prediction_has_changed_since(baseline):
    confirmed = LabelledSlice(1, 4, np.zeros((8, 10), np.uint8))
    changes = scan(baseline, baseline, [confirmed])
    assert changes.changedSince == ((1, 4),)
    assert changes.edited == ()


def test_an_unknown_baseline_gives_no_edits_but_confirmed_slices_still_count(baseline, slabSize):
    confirmed = LabelledSlice(0, 4, np.take(baseline, 4, 0))
    changes = scan(baseline, None, [confirmed])
    assert (changes.edited, changes.changedSince, changes.editedVoxels) == ((), (), 0)
    assert changes.foreground[0].tolist() == [0, 0, 32, 32, 32, 32, 0, 0]
    now = baseline.copy()
    now[4, 0, 0] = now[5, 0, 0] = 3
    changes = scan(now, None, [confirmed])
    assert (changes.edited, changes.changedSince, changes.editedVoxels) == ((), ((0, 4),), 0)


def test_labels_of_another_size_are_refused(baseline):
    with pytest.raises(ImageError, match=r"size of its volume.*Choose the volume"):
        finish(scanChanges(Reader(baseline[:, 1:]), SHAPE, CUBIC, baseline, ()))
    with pytest.raises(ImageError, match="size of its volume"):
        finish(scanChanges(Reader(baseline[:-1]), SHAPE, CUBIC, baseline, ()))


def test_a_step_reads_at_most_a_slice_of_512_by_512():
    shape = (6, 512, 512)
    now, baseline = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    now[2, 100:200, 100:200] = 3
    steps = scanChanges(Reader(now), shape, CUBIC, baseline, ())
    assert sum(1 for _ in steps) >= 6
    assert list(change_scan.slabs(shape)) == [(d, d + 1) for d in range(6)]
    assert list(change_scan.slabs((5, 256, 512))) == [(0, 2), (2, 4), (4, 5)]
    assert list(change_scan.slabs((2, 4096, 4096))) == [(0, 1), (1, 2)]
