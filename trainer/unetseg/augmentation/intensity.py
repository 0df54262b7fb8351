"""Random changes of an image's values; labels and weights are not concerned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..config import AugmentationSettings
from ..volume import Vector
from .smooth import random_field

BIAS_GRID_SHARE = 0.5
"""Control points of the bias field lie half a patch apart: it varies slowly over the patch."""


def augment_intensity(
    image: Tensor, generator: np.random.Generator, settings: AugmentationSettings, *, spacing_mm: Vector
) -> Tensor:
    """Apply each change with its probability, and with strengths drawn anew for each channel.

    Args:
        image: float32, (C, d, h, w), normalised (about N(0, 1)).
        spacing_mm: of the patch; blur and low resolution are isotropic in millimetres, their strength is meant in
            voxels of the finest axis.

    Returns:
        float32, (C, d, h, w); ``image`` itself is not changed. The order follows nnU-Net: what the scanner does to
        the signal, then what display and normalisation do.
    """
    fineness = np.min(spacing_mm) / np.asarray(spacing_mm)
    changes: tuple[tuple[float, Callable[[Tensor], Tensor]], ...] = (
        (settings.bias_field_probability, lambda x: _bias_field(x, generator, settings.bias_field_strength)),
        (settings.noise_probability, lambda x: _noise(x, generator, settings.noise_std)),
        (settings.blur_probability, lambda x: _blur(x, generator.uniform(*settings.blur_sigma_voxels) * fineness)),
        (
            settings.low_resolution_probability,
            lambda x: _low_resolution(x, generator.uniform(*settings.low_resolution_zoom) / fineness),
        ),
        (settings.brightness_contrast_probability, lambda x: _brightness_contrast(x, generator, settings)),
        (settings.gamma_probability, lambda x: _gamma(x, generator.uniform(*settings.gamma))),
    )
    for probability, change in changes:
        if generator.random() < probability:
            image = torch.stack([change(channel) for channel in image])
    return image


def _bias_field(channel: Tensor, generator: np.random.Generator, strength: float) -> Tensor:
    """Multiply what lies above the darkest voxel by exp(strength · smooth unit field), as MR receive coils do."""
    grid = [max(1.0, size * BIAS_GRID_SHARE) for size in channel.shape]
    # Times 3: the field's standard deviation is about a third.
    field = 3 * random_field(generator, count=1, shape=channel.shape, grid_voxels=grid)[0]
    darkest = channel.min()
    return (channel - darkest) * torch.exp(strength * field) + darkest


def _noise(channel: Tensor, generator: np.random.Generator, std: float) -> Tensor:
    """Add Gaussian noise whose own standard deviation is uniform in 0 … ``std``."""
    noise = generator.standard_normal(tuple(channel.shape), dtype=np.float32)
    return channel + float(generator.uniform(0, std)) * torch.from_numpy(noise)


def _blur(channel: Tensor, sigma_voxels: NDArray[np.float64]) -> Tensor:
    """Gaussian blur, cut at 3 σ, with the border repeated outside."""
    for axis, sigma in enumerate(sigma_voxels):
        radius = int(np.ceil(3 * sigma))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        size = channel.shape[axis]
        padded = channel.index_select(axis, torch.arange(-radius, size + radius).clamp(0, size - 1))
        weights = (kernel / kernel.sum()).tolist()
        blurred = torch.zeros_like(channel)
        for offset, weight in enumerate(weights):
            blurred.add_(padded.narrow(axis, offset, size), alpha=weight)
        channel = blurred
    return channel


def _low_resolution(channel: Tensor, zoom: NDArray[np.float64]) -> Tensor:
    """Sample coarsely (nearest) and back (linear), as if acquired at ``zoom`` times the resolution per axis.

    Axes that are coarse already (``zoom`` ≥ 1) keep their voxels.
    """
    size = channel.shape
    coarse = [max(1, round(n * min(1.0, factor))) for n, factor in zip(size, zoom.tolist(), strict=True)]
    small = F.interpolate(channel[None, None], size=coarse, mode="nearest-exact")
    return F.interpolate(small, size=size, mode="trilinear", align_corners=False)[0, 0]


def _brightness_contrast(channel: Tensor, generator: np.random.Generator, settings: AugmentationSettings) -> Tensor:
    """Scale the distance from the mean, add an offset."""
    mean = channel.mean()
    contrast = float(generator.uniform(*settings.contrast))
    return (channel - mean) * contrast + mean + float(generator.normal(0.0, settings.brightness_std))


def _gamma(channel: Tensor, gamma: float) -> Tensor:
    """Raise the values, scaled to 0 … 1, to the power ``gamma``; their range stays. A constant patch is unchanged."""
    darkest, brightest = channel.aminmax()
    span = brightest - darkest
    if float(span) == 0.0:
        return channel
    return ((channel - darkest) / span) ** gamma * span + darkest
