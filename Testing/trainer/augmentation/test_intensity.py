from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unetseg.augmentation import augment_intensity
from unetseg.augmentation.intensity import _bias_field, _blur, _brightness_contrast, _gamma, _low_resolution, _noise
from unetseg.config import NO_AUGMENTATION, AugmentationSettings

SWITCHES = (
    "gamma_probability",
    "brightness_contrast_probability",
    "noise_probability",
    "blur_probability",
    "low_resolution_probability",
    "bias_field_probability",
)
ALL = AugmentationSettings(**dict.fromkeys(SWITCHES, 1.0))
ISOTROPIC = (1.0, 1.0, 1.0)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.from_numpy(generator(1).standard_normal((2, 6, 8, 10), dtype=np.float32))


def test_probability_zero_changes_nothing(image: torch.Tensor) -> None:
    assert torch.equal(augment_intensity(image, generator(), NO_AUGMENTATION, spacing_mm=ISOTROPIC), image)


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_change_has_its_own_probability_and_draws_per_channel(image: torch.Tensor, switch: str) -> None:
    twice = image[:1].expand(2, -1, -1, -1)
    before = twice.clone()
    settings = replace(NO_AUGMENTATION, **{switch: 1.0})
    changed = augment_intensity(twice, generator(), settings, spacing_mm=ISOTROPIC)
    assert torch.equal(twice, before)
    assert not torch.equal(changed[0], before[0])
    assert not torch.equal(changed[0], changed[1])
    assert torch.equal(changed, augment_intensity(twice, generator(), settings, spacing_mm=ISOTROPIC))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 7, 9), (3, 5, 1, 4)])
def test_all_changes_on_thin_and_constant_patches_stay_finite(shape: tuple[int, ...]) -> None:
    for patch in (torch.zeros(shape), torch.randn(shape, generator=torch.Generator().manual_seed(0))):
        changed = augment_intensity(patch, generator(), ALL, spacing_mm=(5.0, 1.0, 1.0))
        assert changed.shape == shape
        assert changed.dtype == torch.float32
        assert torch.isfinite(changed).all()


def test_gamma_by_hand() -> None:
    channel = torch.tensor([[[-1.0, 0.0, 1.0]]])
    assert _gamma(channel, 2.0).flatten().tolist() == [-1.0, -0.5, 1.0]
    constant = torch.full((1, 1, 3), 4.0)
    assert torch.equal(_gamma(constant, 2.0), constant)


def test_each_channel_is_scaled_by_its_own_range() -> None:
    channels = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 5.0, 10.0]]).reshape(2, 1, 1, 3)
    settings = replace(NO_AUGMENTATION, gamma_probability=1.0, gamma=(2.0, 2.0))
    changed = augment_intensity(channels, generator(), settings, spacing_mm=ISOTROPIC)
    assert changed.flatten(1).tolist() == [[-1.0, -0.5, 1.0], [0.0, 2.5, 10.0]]


def test_contrast_keeps_the_mean_and_brightness_shifts_it() -> None:
    channel = torch.tensor([[[1.0, 3.0]]])
    contrast = replace(NO_AUGMENTATION, contrast=(1.2, 1.2), brightness_std=0.0)
    np.testing.assert_allclose(_brightness_contrast(channel, generator(), contrast).flatten(), [0.8, 3.2], rtol=1e-6)
    bright = replace(NO_AUGMENTATION, contrast=(1.0, 1.0), brightness_std=0.1)
    shifts = [float((_brightness_contrast(channel, generator(seed), bright) - channel).mean()) for seed in range(200)]
    assert 0.085 < np.std(shifts) < 0.115


def test_noise_has_at_most_the_given_standard_deviation() -> None:
    stds = [float(_noise(torch.zeros(20, 20, 20), generator(seed), 0.1).std()) for seed in range(30)]
    assert max(stds) < 0.102
    assert 0.03 < np.mean(stds) < 0.07


def test_blur_of_a_point_is_the_gaussian() -> None:
    point = torch.zeros(9, 9, 9)
    point[4, 4, 4] = 1.0
    blurred = _blur(point, np.array([1.0, 0.5, 1.0]))
    np.testing.assert_allclose(float(blurred.sum()), 1.0, rtol=1e-5)
    np.testing.assert_allclose(float(blurred[5, 4, 4] / blurred[4, 4, 4]), np.exp(-0.5), rtol=1e-5)
    np.testing.assert_allclose(float(blurred[4, 5, 4] / blurred[4, 4, 4]), np.exp(-2.0), rtol=1e-5)
    constant = torch.full((3, 4, 5), 2.5)
    np.testing.assert_allclose(_blur(constant, np.array([1.0, 1.0, 1.0])), constant, rtol=1e-6)


def test_blur_is_isotropic_in_millimetres() -> None:
    point = torch.zeros(1, 9, 9, 9)
    point[0, 4, 4, 4] = 1.0
    settings = replace(NO_AUGMENTATION, blur_probability=1.0, blur_sigma_voxels=(1.0, 1.0))
    blurred = augment_intensity(point, generator(), settings, spacing_mm=(2.0, 1.0, 1.0))[0]
    np.testing.assert_allclose(blurred[5, 4, 4], blurred[4, 6, 4], rtol=1e-5)


def test_low_resolution_keeps_a_ramp_and_loses_a_checkerboard() -> None:
    ramp = torch.arange(16, dtype=torch.float32).expand(4, 4, 16)
    coarse = _low_resolution(ramp, np.array([0.5, 0.5, 0.5]))
    np.testing.assert_allclose(coarse[0, 0, 2:-2].diff(), np.ones(11), atol=1e-5)
    board = torch.tensor([1.0, -1.0]).repeat(8).expand(4, 4, 16)
    assert float(_low_resolution(board, np.array([1.0, 1.0, 0.5])).std()) == 0.0


def test_low_resolution_leaves_an_axis_that_is_coarse_already() -> None:
    along_thick = torch.tensor([1.0, -1.0]).repeat(4)[:, None, None].expand(8, 6, 6)[None]
    settings = replace(NO_AUGMENTATION, low_resolution_probability=1.0, low_resolution_zoom=(0.5, 0.5))
    assert torch.equal(augment_intensity(along_thick, generator(), settings, spacing_mm=(4.0, 1.0, 1.0)), along_thick)


def test_bias_field_is_smooth_positive_and_keeps_the_darkest_value() -> None:
    channel = torch.ones(16, 16, 16)
    channel[0, 0, 0] = -1.0
    factors = (_bias_field(channel, generator(2), 0.3) + 1.0)[1:] / 2.0
    assert _bias_field(channel, generator(2), 0.3).min() == -1.0
    assert (factors > 0).all()
    assert 0.05 < float(factors.log().std()) < 0.6
    assert float(factors.log().diff(dim=2).abs().max()) < 0.2
