from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from unetseg.errors import SettingsError
from unetseg.postprocessing import fill_holes, keep_largest_component, remove_small_islands, smooth
from unetseg.volume import Geometry, LabelMap

OPERATIONS: dict[str, Callable[[LabelMap], LabelMap]] = {
    "keep_largest_component": keep_largest_component,
    "remove_small_islands": lambda label_map: remove_small_islands(label_map, min_volume_mm3=40.0),
    "fill_holes": fill_holes,
    "smooth": lambda label_map: smooth(label_map, sigma_mm=1.5),
}


def label_map(array: np.ndarray, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> LabelMap:
    return LabelMap(array.astype(np.uint8), Geometry(array.shape, spacing_mm, (5.0, 6.0, 7.0)))  # type: ignore[arg-type]


def box(array: np.ndarray, start: int, stop: int, value: int) -> np.ndarray:
    array[start:stop, start:stop, start:stop] = value
    return array


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_label_is_invented_and_nothing_given_is_changed(name: str) -> None:
    generator = np.random.default_rng(0)
    array = generator.choice([0, 1, 5, 200], size=(8, 9, 10), p=[0.5, 0.2, 0.2, 0.1])
    given = label_map(array, (3.0, 1.0, 2.0))
    result = OPERATIONS[name](given)
    assert set(np.unique(result.array)) <= {0, 1, 5, 200}
    assert (given.array == array).all()
    assert result.geometry == given.geometry
    assert result.array.dtype == np.uint8


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7), (1, 1, 1)])
@pytest.mark.parametrize("value", [0, 3])
def test_a_constant_map_stays_as_it_is(name: str, shape: tuple[int, int, int], value: int) -> None:
    result = OPERATIONS[name](label_map(np.full(shape, value), (40.0, 1.0, 1.0)))
    assert (result.array == value).all()


def test_the_largest_piece_of_each_label_stays() -> None:
    array = np.zeros((4, 4, 12))
    array[1, 1, 0:3] = 1
    array[1, 1, 5:7] = 1
    array[2, 2, 0:2] = 2
    array[2, 2, 8:12] = 2
    expected = array.copy()
    expected[1, 1, 5:7] = 0
    expected[2, 2, 0:2] = 0
    assert (keep_largest_component(label_map(array)).array == expected).all()
    only_two = array.copy()
    only_two[2, 2, 0:2] = 0
    assert (keep_largest_component(label_map(array), labels=(2, 9)).array == only_two).all()


def test_voxels_touching_by_a_corner_are_one_piece() -> None:
    array = np.zeros((3, 3, 3))
    array[0, 0, 0] = array[1, 1, 1] = array[2, 2, 2] = 1
    assert (keep_largest_component(label_map(array)).array == array).all()


def test_of_equal_pieces_one_stays() -> None:
    array = np.zeros((3, 3, 5))
    array[1, 1, 0] = array[1, 1, 4] = 1
    assert np.count_nonzero(keep_largest_component(label_map(array)).array) == 1


def test_islands_are_measured_in_cubic_millimetres() -> None:
    array = np.zeros((3, 3, 8))
    array[1, 1, 0:2] = 1  # 2 voxels of 3 mm³
    array[1, 1, 4:7] = 1  # 3 voxels
    given = label_map(array, (3.0, 1.0, 1.0))
    without_two = array.copy()
    without_two[1, 1, 0:2] = 0
    assert (remove_small_islands(given, min_volume_mm3=6.0).array == array).all()
    assert (remove_small_islands(given, min_volume_mm3=6.1).array == without_two).all()
    assert not remove_small_islands(given, min_volume_mm3=100.0).array.any()
    assert (remove_small_islands(given, min_volume_mm3=100.0, labels=(2,)).array == array).all()


def test_a_hole_gets_the_label_around_it_and_a_bay_does_not() -> None:
    array = box(box(np.zeros((7, 7, 7)), 1, 6, 4), 2, 5, 0)
    filled = box(np.zeros((7, 7, 7)), 1, 6, 4)
    assert (fill_holes(label_map(array)).array == filled).all()
    assert (fill_holes(label_map(array), labels=(3,)).array == array).all()
    array[1, 3, 3] = 0  # a door
    assert (fill_holes(label_map(array)).array == array).all()


def test_a_hole_open_only_by_a_corner_is_closed() -> None:
    array = np.zeros((1, 4, 4))
    array[0, 1, 1:3] = array[0, 2, 1] = 1
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])[None]
    assert fill_holes(label_map(ring)).array[0, 1, 1] == 1
    assert (fill_holes(label_map(array)).array == array).all()


def test_another_label_in_a_hole_stays() -> None:
    array = box(box(box(np.zeros((9, 9, 9)), 1, 8, 1), 2, 7, 0), 3, 6, 2)
    filled = box(box(np.zeros((9, 9, 9)), 1, 8, 1), 3, 6, 2)
    for labels in (None, (1,)):
        assert (fill_holes(label_map(array), labels=labels).array == filled).all()


@pytest.mark.parametrize(("outer", "inner"), [(1, 2), (2, 1)])
def test_a_hole_within_two_labels_belongs_to_the_inner_one(outer: int, inner: int) -> None:
    array = box(box(box(np.zeros((9, 9, 9)), 1, 8, outer), 2, 7, inner), 3, 6, 0)
    filled = box(box(np.zeros((9, 9, 9)), 1, 8, outer), 2, 7, inner)
    assert (fill_holes(label_map(array)).array == filled).all()


def test_holes_in_a_single_slice_are_filled() -> None:
    array = np.zeros((1, 5, 5))
    array[0, 1:4, 1:4] = 1
    filled = array.copy()
    array[0, 2, 2] = 0
    assert (fill_holes(label_map(array)).array == filled).all()


def test_smoothing_takes_a_spike_and_leaves_a_plane() -> None:
    array = np.zeros((9, 10, 11))
    array[:, :, 5:] = 2
    spiked = array.copy()
    spiked[4, 4, 4] = 2
    spiked[4, 4, 8] = 0
    assert (smooth(label_map(spiked), sigma_mm=1.0).array == array).all()


def test_smoothing_is_as_wide_in_voxels_as_the_spacing_is_fine() -> None:
    array = np.zeros((15, 15, 15))
    array[7, 7, 5:10] = 1  # a rod of 5 voxels: 1 mm thin along W, where its neighbours vote for it
    array[7, 6:9, 6:9] = 1
    coarse = smooth(label_map(array, (4.0, 4.0, 4.0)), sigma_mm=1.0)
    fine = smooth(label_map(array, (1.0, 1.0, 1.0)), sigma_mm=1.0)
    assert (coarse.array == array).all()
    assert not fine.array.any()


def test_smoothing_by_0_mm_changes_nothing() -> None:
    array = np.random.default_rng(1).integers(0, 3, (5, 6, 7))
    assert (smooth(label_map(array), sigma_mm=0.0).array == array).all()


def test_labels_touching_each_other_stay_in_touch() -> None:
    array = np.zeros((8, 12, 12))
    array[:, 2:10, 2:6] = 1
    array[:, 2:10, 6:10] = 2
    result = smooth(label_map(array), sigma_mm=1.0).array
    assert (result[:, 3:9, 3:9] == array[:, 3:9, 3:9]).all()


def test_bad_options_are_refused() -> None:
    given = label_map(np.zeros((2, 2, 2)))
    for value in (0, 255, -1):
        with pytest.raises(SettingsError, match="1–254"):
            keep_largest_component(given, labels=(value,))
    with pytest.raises(SettingsError, match="0 mm³ or more"):
        remove_small_islands(given, min_volume_mm3=-1.0)
    with pytest.raises(SettingsError, match="0 mm or more"):
        smooth(given, sigma_mm=float("nan"))
