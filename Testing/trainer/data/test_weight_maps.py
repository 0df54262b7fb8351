from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from unetseg.data.weight_maps import border_weight_map, class_weights
from unetseg.errors import SettingsError, TrainingDataError


def gaussian(total: float, sigma: float = 5.0) -> float:
    return math.exp(-(total**2) / (2 * sigma**2))


def test_two_pixels_by_hand() -> None:
    instances = np.zeros((1, 8), dtype=np.int32)
    instances[0, 2], instances[0, 6] = 1, 2
    # d1 + d2 is 4 between the two, 2 more with each pixel outside.
    totals = [8, 6, 4, 4, 4, 4, 4, 6]
    expected = [1 + 10 * gaussian(total) for total in totals]
    assert border_weight_map(instances)[0] == pytest.approx(expected, rel=1e-6)


def test_inside_an_object_the_distance_is_to_its_border() -> None:
    instances = np.zeros((9, 16), dtype=np.uint16)
    instances[2:7, 2:7] = 40  # its middle (4, 4) is 2 from its own border pixels
    instances[4, 12] = 3  # … and 8 from this one
    weights = border_weight_map(instances, class_weights=(0.5, 2.0), w0=4.0, sigma=6.0)
    assert weights[4, 4] == pytest.approx(2.0 + 4 * gaussian(2 + 8, 6.0))
    assert weights[4, 6] == pytest.approx(2.0 + 4 * gaussian(0 + 6, 6.0))
    assert weights[4, 9] == pytest.approx(0.5 + 4 * gaussian(3 + 3, 6.0))
    assert weights[0, 4] == pytest.approx(0.5 + 4 * gaussian(2 + math.hypot(4, 8), 6.0))


def test_the_spacing_counts_in_3d() -> None:
    instances = np.zeros((5, 1, 7), dtype=np.uint8)
    instances[0, 0, 3], instances[4, 0, 3] = 1, 2
    weights = border_weight_map(instances, spacing=(2.0, 1.0, 0.5))
    assert weights[2, 0, 3] == pytest.approx(1 + 10 * gaussian(8))
    assert weights[2, 0, 5] == pytest.approx(1 + 10 * gaussian(2 * math.hypot(4, 1)))


def test_of_three_instances_the_two_nearest_count() -> None:
    instances = np.zeros((1, 30), dtype=np.uint8)
    instances[0, [3, 10, 14]] = 1, 2, 3
    assert border_weight_map(instances)[0, 11] == pytest.approx(1 + 10 * gaussian(1 + 3))


@pytest.mark.parametrize("values", [[], [7]])
def test_fewer_than_two_instances_have_no_border_term(values: list[int]) -> None:
    instances = np.zeros((6, 6), dtype=np.int64)
    instances[1:3, 1 : 1 + len(values)] = values
    expected = np.where(instances == 0, 0.3, 0.9).astype(np.float32)
    assert (border_weight_map(instances, class_weights=(0.3, 0.9)) == expected).all()


def test_against_brute_force_on_touching_objects() -> None:
    generator = np.random.default_rng(0)
    seeds = np.zeros((24, 40), dtype=int)
    seeds[tuple(generator.integers(0, s, 12) for s in seeds.shape)] = np.arange(1, 13)
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    instances = seeds[tuple(nearest)]
    instances[generator.random(instances.shape) < 0.02] = 0
    maps = []
    for value in np.unique(instances[instances != 0]):
        inside = np.pad(instances == value, 1)
        border = inside & ~ndimage.binary_erosion(inside)
        maps.append(ndimage.distance_transform_edt(~border, sampling=(1.5, 1.0))[1:-1, 1:-1])
    first, second = np.sort(maps, axis=0)[:2]
    expected = 1 + 10 * np.exp(-((first + second) ** 2) / (2 * 2.0**2))
    weights = border_weight_map(instances, spacing=(1.5, 1.0), sigma=2.0)
    assert weights.dtype == np.float32
    assert weights == pytest.approx(expected, abs=2e-6)


def test_bad_border_maps_are_refused() -> None:
    with pytest.raises(TrainingDataError, match="2D or 3D array of integers"):
        border_weight_map(np.zeros((4, 4)))  # type: ignore[arg-type]
    with pytest.raises(TrainingDataError, match="2D or 3D"):
        border_weight_map(np.zeros(4, dtype=int))
    instances = np.zeros((4, 4), dtype=int)
    with pytest.raises(SettingsError, match="positive spacing per axis"):
        border_weight_map(instances, spacing=(1.0, 0.0))
    with pytest.raises(SettingsError, match="positive spacing per axis"):
        border_weight_map(instances, spacing=(1.0, 1.0, 1.0))
    with pytest.raises(SettingsError, match="positive sigma"):
        border_weight_map(instances, sigma=0.0)


def test_class_weights_by_hand() -> None:
    # 1/√1600 : 1/√400 : 1/√100 = 1 : 2 : 4, geometric mean 2.
    assert class_weights([1600, 400, 100], (0.25, 4.0)) == pytest.approx([0.5, 1.0, 2.0])


def test_class_weights_are_clipped_on_both_sides() -> None:
    assert class_weights(np.array([10**6, 1]), (0.25, 4.0)) == pytest.approx([0.25, 4.0])
    # 256 to 1, the most that a range of 1/4 to 4 evens out.
    assert class_weights([2560, 10], (0.25, 4.0)) == pytest.approx([0.25, 4.0])
    assert class_weights([1280, 10], (0.25, 4.0)) == pytest.approx([128**-0.25, 128**0.25])


def test_an_absent_class_has_the_upper_limit_and_no_influence() -> None:
    assert class_weights([1600, 0, 100], (0.25, 4.0)) == pytest.approx([0.5, 4.0, 2.0])


def test_bad_class_counts_are_refused() -> None:
    with pytest.raises(TrainingDataError, match="at least one labelled voxel"):
        class_weights([0, 0], (0.25, 4.0))
    for limits in ((0.0, 4.0), (4.0, 0.25), (float("nan"), 1.0)):
        with pytest.raises(SettingsError, match="positive and ascending"):
            class_weights([1, 1], limits)


def test_no_torch_is_imported() -> None:
    code = "import sys, unetseg.data.weight_maps; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
