"""What is confirmed, what comes back after a new prediction, and what is kept as text."""

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from unetseg.errors import ImageError
from unetseg.labelled_slices import compose
from unetseg.suggestion import Suggestion
from unetseg.volume import UNLABELLED
from UNetSegmentLib.change_scan import Changes, EditedPlane
from UNetSegmentLib.corrections import Corrections, SliceRow, SliceState

SHAPE = (6, 7, 8)
SPACING = (3.0, 1.0, 1.0)


@pytest.fixture
def prediction():
    array = np.zeros(SHAPE, np.uint8)
    array[1:5, 2:6, 2:6] = 1
    array[2:4, 3:5, 3:5] = 2
    return array


@pytest.fixture
def corrections(prediction):
    found = Corrections(SHAPE, SPACING)
    found.setBaseline(prediction, "first")
    return found


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def positions(corrections):
    return [(taken.axis, taken.index) for taken in corrections.slices]


def nothing(shape=SHAPE):
    return Changes((), (), tuple(np.zeros(length, np.int64) for length in shape), 0)


def test_confirming_keeps_the_labels_and_what_was_predicted(corrections, prediction):
    labels = np.full((6, 8), 3, np.uint8)
    confirmed = corrections.confirm(1, 2, labels, 12.5)
    assert corrections.slices == (confirmed,)
    assert (confirmed.axis, confirmed.index, confirmed.version, confirmed.seconds) == (1, 2, "first", 12.5)
    assert np.array_equal(confirmed.labels, labels)
    assert np.array_equal(confirmed.before, prediction[:, 2])
    age = datetime.now(timezone.utc) - datetime.fromisoformat(confirmed.confirmed_utc)
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_without_a_model_nothing_was_predicted():
    corrections = Corrections(SHAPE, SPACING)
    assert not corrections.baseline.any()
    assert corrections.confirm(0, 0, np.ones((7, 8), np.uint8), 1).before is None
    corrections.setBaseline(None, "first")
    assert corrections.confirm(0, 1, np.ones((7, 8), np.uint8), 1).before is None


def test_confirming_again_keeps_the_first_prediction_adds_the_time_and_wins_where_it_crosses(corrections, prediction):
    corrections.confirm(0, 2, prediction[2], 10)
    corrections.confirm(2, 3, np.zeros((6, 7), np.uint8), 1)
    corrections.setBaseline(np.zeros(SHAPE, np.uint8), "second")
    again = corrections.confirm(0, 2, np.full((7, 8), 4, np.uint8), 5)
    assert positions(corrections) == [(2, 3), (0, 2)]
    assert (again.seconds, again.version) == (15, "first")
    assert np.array_equal(again.before, prediction[2])
    assert (corrections.merge(prediction, None, False)[2] == 4).all()


@pytest.mark.parametrize(
    ("axis", "index", "labels"),
    [
        (0, 6, np.zeros((7, 8), np.uint8)),
        (0, -1, np.zeros((7, 8), np.uint8)),
        (3, 0, np.zeros((7, 8), np.uint8)),
        (1, 0, np.zeros((7, 8), np.uint8)),
        (0, 0, np.full((7, 8), UNLABELLED, np.uint8)),
        (0, 0, np.zeros((7, 8), np.int16)),
    ],
)
def test_a_slice_that_does_not_fit_is_refused_and_changes_nothing(axis, index, labels, corrections):
    with pytest.raises(ImageError):
        corrections.confirm(axis, index, labels, 1)
    assert corrections.slices == ()


def test_labels_of_another_shape_are_refused_with_a_way_out(corrections):
    for wrong in (np.zeros((6, 7, 9), np.uint8), np.zeros(SHAPE, np.int16)):
        with pytest.raises(ImageError, match="Choose the volume"):
            corrections.setBaseline(wrong, "x")
        with pytest.raises(ImageError, match="Choose the volume"):
            corrections.merge(wrong, None, False)
    assert corrections.version == "first"


def test_removing_a_slice_makes_it_an_edit_again(corrections, prediction):
    now = prediction.copy()
    now[2] = 3
    corrections.confirm(0, 2, now[2], 1)
    assert finish(corrections.scan(_Reader(now))).edited == ()
    corrections.remove(1, 2)
    assert positions(corrections) == [(0, 2)]
    corrections.remove(0, 2)
    assert corrections.slices == ()
    assert finish(corrections.scan(_Reader(now))).edited == (EditedPlane(0, 2, (1, 2, 3), 56),)


def test_a_new_prediction_lets_skipped_suggestions_come_again(corrections, prediction):
    corrections.skipped = ((0, 3),)
    corrections.setBaseline(prediction, "second")
    assert corrections.skipped == ()
    assert corrections.baseline is prediction


def test_confirmed_slices_come_back_exactly_and_the_later_wins(corrections):
    generator = np.random.default_rng(1)
    shapes = ((7, 8), (6, 8), (6, 7))
    for axis, index in ((0, 0), (2, 7), (1, 3), (0, 5), (2, 0)):
        corrections.confirm(axis, index, generator.integers(0, 5, shapes[axis], dtype=np.uint8), 1)
    new = generator.integers(0, 5, SHAPE, dtype=np.uint8)
    given = new.copy()
    merged = corrections.merge(new, None, False)
    annotation, _edited = compose(corrections.slices, SHAPE)
    assert np.array_equal(merged, np.where(annotation == UNLABELLED, new, annotation))
    assert np.array_equal(merged[:, :, 0], corrections.slices[-1].labels)
    assert np.array_equal(new, given)


def test_edits_are_kept_only_where_they_are_and_only_if_wanted(corrections, prediction):
    now = prediction.copy()
    now[0, 0, 0] = 3
    now[2, 3, 3] = 0
    now[4] = 4
    corrections.confirm(0, 4, np.full((7, 8), 1, np.uint8), 1)
    new = np.full(SHAPE, 2, np.uint8)
    kept, replaced = corrections.merge(new, now, True), corrections.merge(new, now, False)
    expected = np.full(SHAPE, 2, np.uint8)
    expected[4] = 1
    assert np.array_equal(replaced, expected)
    expected[0, 0, 0], expected[2, 3, 3] = 3, 0
    assert np.array_equal(kept, expected)

    corrections.setBaseline(replaced, "second")
    assert finish(corrections.scan(_Reader(kept))).editedVoxels == 2
    corrections.setBaseline(None, "second")
    assert np.array_equal(corrections.merge(new, now, True), replaced)


def test_a_slice_that_is_empty_on_purpose_stays_empty(corrections):
    confirmed = corrections.confirm(0, 2, np.zeros((7, 8), np.uint8), 1)
    assert not corrections.merge(np.ones(SHAPE, np.uint8), None, False)[2].any()
    assert confirmed.touched_values == (1, 2)


def test_the_table_has_one_row_a_slice_with_its_state(corrections, prediction):
    corrections.confirm(2, 3, prediction[:, :, 3], 4)
    corrections.confirm(0, 5, np.full((7, 8), 3, np.uint8), 6)
    corrections.confirm(1, 6, np.zeros((6, 8), np.uint8), 2)
    before = corrections.rows(None, None)
    assert before == (
        SliceRow(0, 5, SliceState.CONFIRMED, (3,), 6),
        SliceRow(1, 6, SliceState.UNCHANGED, (), 2),
        SliceRow(2, 3, SliceState.UNCHANGED, (), 4),
    )
    changes = Changes((EditedPlane(0, 1, (1, 2), 9), EditedPlane(0, 2, (), 9)), ((2, 3),), nothing().foreground, 18)
    assert corrections.rows(changes, Suggestion(1, 4, "stride")) == (
        SliceRow(0, 1, SliceState.EDITED, (1, 2)),
        SliceRow(0, 2, SliceState.EDITED),
        *before[:1],
        SliceRow(1, 4, SliceState.SUGGESTED),
        before[1],
        SliceRow(2, 3, SliceState.CHANGED_SINCE, (), 4),
    )
    assert corrections.rows(changes, Suggestion(0, 1, "middle"))[0].state == SliceState.EDITED
    assert len(corrections.rows(changes, Suggestion(2, 3, "middle"))) == 5
    assert Corrections(SHAPE, SPACING).rows(nothing(), None) == ()


def slice0(value):
    return np.full((7, 8), value, np.uint8)


def test_corrections_come_back_from_text_as_they_were(corrections, prediction):
    corrections.confirm(0, 2, slice0(3), 4.25)
    corrections.confirm(2, 0, np.zeros((6, 7), np.uint8), 0)
    corrections.skipped = ((1, 3), (0, 0))
    text = json.dumps(corrections.toJson())
    packed = json.dumps(finish(corrections.packBaseline()))
    found = Corrections.fromJson(json.loads(text))
    assert found.baseline is None
    found.unpackBaseline(json.loads(packed))
    assert (found.shape, found.spacing_mm, found.version, found.skipped) == (
        SHAPE,
        SPACING,
        "first",
        ((1, 3), (0, 0)),
    )
    assert np.array_equal(found.baseline, prediction)
    assert json.dumps(found.toJson()) == text
    assert json.dumps(finish(found.packBaseline())) == packed


def test_what_was_never_predicted_needs_no_packed_baseline():
    corrections = Corrections(SHAPE, SPACING)
    assert finish(corrections.packBaseline()) is None
    found = Corrections.fromJson(corrections.toJson())
    assert np.array_equal(found.baseline, np.zeros(SHAPE))
    corrections.setBaseline(None, "first")
    assert finish(corrections.packBaseline()) is None
    assert Corrections.fromJson(corrections.toJson()).baseline is None


def test_a_baseline_of_another_moment_is_left_alone(corrections, prediction):
    packed = finish(corrections.packBaseline())
    corrections.setBaseline(prediction, "first")
    found = Corrections.fromJson(corrections.toJson())
    found.unpackBaseline(packed)
    assert found.baseline is None


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("version"),
        lambda data: data.update(more=1),
        lambda data: data.update(spacing_mm=[1, 0, 1]),
        lambda data: data.update(skipped=[[1]]),
        lambda data: data["slices"].update(format_version=2),
        lambda data: data["slices"].update(shape=[6, 7, 9]),
        lambda data: data["slices"]["slices"][0].update(labels="AAAA"),
    ],
)
def test_damaged_text_is_refused(change, corrections):
    corrections.confirm(0, 2, slice0(3), 1)
    data = json.loads(json.dumps(corrections.toJson()))
    change(data)
    with pytest.raises(ImageError):
        Corrections.fromJson(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda packed: packed.pop("slabs"),
        lambda packed: packed.update(slabs="x"),
        lambda packed: packed.update(slabs=[]),
        lambda packed: packed.update(slabs=[1]),
        lambda packed: packed["slabs"].append(packed["slabs"][0]),
        lambda packed: packed.update(slabs=[packed["slabs"][0][:-4]]),
    ],
)
def test_a_damaged_baseline_is_refused_and_changes_nothing(change, corrections):
    packed = finish(corrections.packBaseline())
    change(packed)
    found = Corrections.fromJson(corrections.toJson())
    with pytest.raises(ImageError):
        found.unpackBaseline(packed)
    assert found.baseline is None


class _Reader:
    def __init__(self, array):
        self._array = array

    def slab(self, start, stop):
        return self._array[start:stop]


def test_a_slice_that_was_pasted_into_the_baseline_says_nothing_about_the_model():
    corrections = Corrections((3, 4, 5), (1.0, 1.0, 1.0))
    predicted = np.zeros((3, 4, 5), np.uint8)
    corrections.setBaseline(predicted, "first")
    right = np.ones((4, 5), np.uint8)
    corrections.confirm(0, 1, right, 1.0)
    corrections.setBaseline(corrections.merge(predicted, None, False), "second")
    corrections.remove(0, 1)
    again = corrections.confirm(0, 1, right, 1.0)
    assert (again.before, again.version) == (None, "")
    assert Corrections.fromJson(corrections.toJson()).pasted == ((0, 1),)
    fresh = corrections.confirm(0, 2, right, 1.0)
    assert (fresh.before == 0).all()
    assert fresh.version == "second"
