from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from unetseg.errors import ImageError, SettingsError
from unetseg.metrics import METRICS, evaluate
from unetseg.metrics.surface import SURFACE_METRICS
from unetseg.records import dumps
from unetseg.volume import Geometry, LabelMap

GRID = Geometry((4, 5, 6), (3.0, 2.0, 1.0))


def label_map(values: dict[tuple[int, int, int], int], geometry: Geometry = GRID) -> LabelMap:
    array = np.zeros(geometry.shape, dtype=np.uint8)
    for index, value in values.items():
        array[index] = value
    return LabelMap(array, geometry)


def test_one_record_per_label_with_every_metric() -> None:
    reference = label_map({(1, 1, 1): 1, (2, 2, 2): 7})
    prediction = label_map({(1, 1, 1): 1, (2, 2, 4): 7, (3, 3, 3): 2})
    records = evaluate(prediction, reference)
    assert [record.value for record in records] == [1, 2, 7]
    assert all(list(record.figures) == list(METRICS) for record in records)
    perfect, invented, moved = (record.figures for record in records)
    assert (perfect["dice"], perfect["hd95_mm"], perfect["volume_difference_ml"]) == (1.0, 0.0, 0.0)
    diagonal = math.sqrt(12**2 + 10**2 + 6**2)
    assert (invented["dice"], invented["recall"], invented["hd95_mm"]) == (0.0, None, pytest.approx(diagonal))
    assert invented["volume_difference_ml"] == pytest.approx(6e-3)
    assert (moved["dice"], moved["hausdorff_mm"], moved["surface_dice"]) == (0.0, 2.0, 0.0)


def test_records_are_plain_json() -> None:
    records = evaluate(label_map({}), label_map({(1, 1, 1): 1}))
    data = json.loads(dumps(records))
    assert data[0]["value"] == 1
    assert data[0]["figures"]["precision"] is None


def test_the_tolerance_is_that_of_the_surface_dice() -> None:
    pair = label_map({(1, 1, 1): 1}), label_map({(1, 1, 3): 1})
    assert evaluate(*pair, tolerance_mm=2.0)[0].figures["surface_dice"] == 1.0
    assert evaluate(*pair, tolerance_mm=1.9)[0].figures["surface_dice"] == 0.0


def test_labels_choose_what_is_compared() -> None:
    reference = label_map({(1, 1, 1): 1, (2, 2, 2): 2})
    assert [record.value for record in evaluate(reference, reference, labels=(2, 9, 0))] == [2, 9, 0]
    assert evaluate(label_map({}), label_map({})) == ()


def test_unlabelled_voxels_count_for_nothing() -> None:
    reference = label_map({(1, 1, 1): 1})
    prediction = label_map({(1, 1, 1): 1, (3, 0, 0): 1, (3, 4, 5): 2})
    array = reference.array.copy()
    array[3] = 255
    (record,) = evaluate(prediction, LabelMap(array, GRID))
    assert record.value == 1
    assert (record.figures["dice"], record.figures["precision"], record.figures["volume_difference_ml"]) == (1, 1, 0)
    assert [record.figures[name] for name in SURFACE_METRICS] == [None] * 4


def test_an_oblique_left_handed_grid_far_off_changes_nothing() -> None:
    reference = label_map({(1, 1, 1): 1, (1, 1, 2): 1})
    prediction = label_map({(1, 1, 1): 1, (2, 2, 2): 1})
    s = math.sqrt(0.5)
    elsewhere = Geometry(GRID.shape, GRID.spacing_mm, (1e3, -2e3, 5.0), ((s, -s, 0.0), (s, s, 0.0), (0.0, 0.0, 1.0)))
    moved = (replace(one, geometry=elsewhere) for one in (prediction, reference))
    assert evaluate(*moved) == evaluate(prediction, reference)


def test_inputs_are_not_changed() -> None:
    prediction, reference = label_map({(1, 1, 1): 1}), label_map({(2, 1, 1): 1})
    before = prediction.array.copy(), reference.array.copy()
    evaluate(prediction, reference)
    assert (prediction.array == before[0]).all()
    assert (reference.array == before[1]).all()


def test_bad_input_is_refused() -> None:
    empty = label_map({})
    with pytest.raises(ImageError, match="same grid"):
        evaluate(empty, label_map({}, replace(GRID, origin_mm=(0.0, 0.0, 0.5))))
    with pytest.raises(ImageError, match="label at every voxel"):
        evaluate(label_map({(0, 0, 0): 255}), empty)
    with pytest.raises(ImageError, match="at least one labelled voxel"):
        evaluate(empty, LabelMap(np.full(GRID.shape, 255, np.uint8), GRID))
    for value in (255, -1):
        with pytest.raises(SettingsError, match="0–254"):
            evaluate(empty, empty, labels=(value,))
    for tolerance in (-1.0, math.nan, math.inf):
        with pytest.raises(SettingsError, match="tolerance"):
            evaluate(empty, empty, tolerance_mm=tolerance)
