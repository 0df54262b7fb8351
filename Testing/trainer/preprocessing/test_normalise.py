from __future__ import annotations

import numpy as np
import pytest

from unetseg.config import Normalisation
from unetseg.errors import ImageError, SettingsError
from unetseg.image_io import read_volume
from unetseg.preprocessing import foreground_statistics, normalise, sample_voxels

ZSCORE = Normalisation("zscore")


def head(size: int, air: int, *, seed: int = 0) -> np.ndarray:
    """A cube of tissue (mean 400, std 100) in air (Rician noise of 8)."""
    generator = np.random.default_rng(seed)
    shape = (size + 2 * air,) * 3
    image = np.abs(generator.normal(0, 8, shape) + 1j * generator.normal(0, 8, shape)).astype(np.float32)
    image[(slice(air, air + size),) * 3] = generator.normal(400, 100, (size,) * 3)
    return image


def test_ct_is_clipped_and_scaled_by_the_numbers_of_the_plan() -> None:
    image = np.array([-1000, -100, 50, 300, 3000], dtype=np.float32).reshape(1, 1, 1, 5)
    result = normalise(image, [Normalisation("ct", lower=-100, upper=300, mean=50, std=100)])
    assert result.ravel().tolist() == [-1.5, -1.5, 0.0, 2.5, 2.5]
    assert image.min() == -1000  # what was given stays


def test_zscore_is_of_the_tissue() -> None:
    image = head(20, 10)
    result = normalise(image[None], [ZSCORE])[0]
    tissue = result[10:30, 10:30, 10:30]
    assert tissue.mean() == pytest.approx(0, abs=0.02)
    assert tissue.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("air", [0, 5, 20])
def test_zscore_does_not_depend_on_the_air_around(air: int) -> None:
    mean, std = foreground_statistics(head(20, air))
    assert mean == pytest.approx(400, rel=0.01)
    assert std == pytest.approx(100, rel=0.03)


def test_zscore_of_an_already_standardised_image_keeps_its_dark_tissue() -> None:
    image = np.random.default_rng(0).normal(0, 1, (30, 30, 30)).astype(np.float32)
    mean, std = foreground_statistics(image)
    assert mean == pytest.approx(0, abs=0.05)
    assert std == pytest.approx(1, abs=0.1)


def test_single_huge_voxels_neither_rule_the_scale_nor_the_network() -> None:
    image = head(20, 0)
    expected = normalise(image[None], [ZSCORE])
    image[3, 3, 3], image[7, 7, 7] = 1.7e6, -1e5
    result = normalise(image[None], [ZSCORE])
    assert result[0, 3, 3, 3] == 5
    assert result[0, 7, 7, 7] == -5
    result[0, 3, 3, 3] = result[0, 7, 7, 7] = expected[0, 3, 3, 3] = expected[0, 7, 7, 7] = 0
    assert np.abs(result - expected).max() < 0.05


def test_percentile_by_hand() -> None:
    image = np.arange(101, dtype=np.float32).reshape(1, 1, 1, 101)
    result = normalise(image, [Normalisation("percentile", lower=10, upper=90)]).ravel()
    clipped = np.clip(np.arange(101), 10, 90)
    assert result == pytest.approx((clipped - 50) / clipped.std(), abs=1e-6)


@pytest.mark.parametrize("scheme", ["zscore", "percentile"])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1.7e6])
def test_an_image_of_one_value_becomes_zero(scheme: str, value: float) -> None:
    image = np.full((1, 3, 4, 5), value, dtype=np.float32)
    assert not normalise(image, [Normalisation(scheme, lower=0.5, upper=99.5)]).any()  # type: ignore[arg-type]


def test_percentiles_do_not_cut_off_the_only_bright_voxels() -> None:
    image = np.zeros((1, 20, 100, 100), dtype=np.float32)
    image[0, 10, 50, 40:50] = np.linspace(900, 1100, 10)  # 0.005 %
    result = normalise(image, [Normalisation("percentile", 0.5, 99.9)])
    assert result[image == 0].tolist() == [-5.0] * np.count_nonzero(image == 0)
    assert np.abs(result[image > 0]).max() < 2


@pytest.mark.parametrize("std", [0.0, 1e-9])
def test_a_ct_plan_without_spread_does_not_divide_by_it(std: float) -> None:
    result = normalise(np.full((1, 1, 1, 2), 7, np.float32), [Normalisation("ct", 0, 10, mean=5, std=std)])
    assert result.ravel().tolist() == [2, 2]


def test_each_channel_has_its_own_scheme() -> None:
    image = np.stack([head(12, 0), head(12, 0, seed=1)])
    result = normalise(image, [Normalisation("ct", -1e4, 1e4, 0, 2), ZSCORE])
    assert np.array_equal(result[0], image[0] / 2)
    assert np.array_equal(result[1], normalise(image[1:], [ZSCORE])[0])


def test_wrong_channels_and_unknown_schemes_are_refused() -> None:
    image = np.zeros((2, 1, 1, 1), dtype=np.float32)
    with pytest.raises(ImageError, match=r"needs 1 channel\(s\)\. Received: 2\."):
        normalise(image, [ZSCORE])
    with pytest.raises(SettingsError, match="Did you mean zscore"):
        normalise(image[:1], [Normalisation("z_score")])  # type: ignore[arg-type]


def test_a_sample_is_drawn_from_all_columns_and_repeats() -> None:
    array = np.broadcast_to(np.arange(100), (50, 40, 100)).copy()
    sample = sample_voxels(array, limit=20_000)
    assert sample.shape == (20_000,)
    assert np.abs(np.bincount(sample, minlength=100) - 200).max() < 75  # five standard deviations
    assert np.array_equal(sample, sample_voxels(array, limit=20_000))
    assert np.array_equal(sample_voxels(array, limit=200_000), array.ravel())


@pytest.mark.parametrize("name", ["hippocampus_056", "hippocampus_199"])
def test_real_crops_with_extreme_ranges_get_a_common_scale(data_dir, name: str) -> None:
    volume = read_volume(data_dir / "hippocampus" / "images" / f"{name}.nii.gz")
    result = normalise(volume.array, [ZSCORE])
    assert abs(float(np.median(result))) < 0.3
    assert 0.7 < float(np.diff(np.percentile(result, [25, 75]))[0]) < 2.0
