"""From a file's intensities to network input of about zero mean and unit variance, by modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Normalisation, Scheme
from ..errors import ImageError, unknown_name
from ..volume import FloatArray

OUTLIER_LIMIT = 5.0
"""z-scores are clipped to ± this: single voxels of a million times the mean would rule every convolution."""

AIR_FRACTION = 0.1
"""Voxels darker than this fraction of the bright tissue are air: its noise is Rician, of a few per cent."""

SAMPLE_VOXELS = 1_000_000
"""Statistics are taken from at most this many voxels, which fixes a percentile to about 0.05 %."""


def normalise(image: FloatArray, normalisation: Sequence[Normalisation]) -> FloatArray:
    """A normalised copy of (C, d, h, w), one entry of ``normalisation`` a channel.

    An image of one value becomes 0 everywhere under ``zscore`` and ``percentile``.
    Raises ``ImageError`` where the channels do not fit.
    """
    if len(image) != len(normalisation):
        raise ImageError(
            f"The model needs {len(normalisation)} channel(s)",
            received=f"{len(image)}",
            remedy="Give one image per channel, in the order of training",
        )
    result = np.empty(image.shape, dtype=np.float32)
    for channel, settings, out in zip(image, normalisation, result, strict=True):
        if settings.scheme not in SCHEMES:
            raise unknown_name("normalisation", settings.scheme, SCHEMES)
        SCHEMES[settings.scheme](channel, settings, out)
        if settings.inverted:
            np.negative(out, out=out)
    return result


def sample_voxels(array: NDArray[Any], limit: int = SAMPLE_VOXELS) -> NDArray[Any]:
    """All values of an array as (n,), or ``limit`` of them drawn at random: the same ones each time."""
    values = array.reshape(-1)
    if values.size <= limit:
        return values
    return values[np.random.default_rng(0).integers(values.size, size=limit)]


def foreground_statistics(image: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of what is not air, hardly moved by how much air surrounds it.

    Foreground is what is brighter than ``AIR_FRACTION`` of the way from the image's floor (0, or the 0.5th
    percentile where that is negative) to the 99th percentile of the foreground itself, found by iteration.
    Both figures ignore the darkest and brightest 0.5 % of it. Without any foreground (an image of one
    value), the mean of all and 0.
    """
    voxels = sample_voxels(image).astype(np.float64)
    floor = min(0.0, float(np.percentile(voxels, 0.5)))
    foreground = voxels
    for _ in range(3):
        threshold = floor + AIR_FRACTION * (float(np.percentile(foreground, 99)) - floor)
        foreground = voxels[voxels > threshold]
        if not foreground.size:
            return float(voxels.mean()), 0.0
    inner = np.clip(foreground, *np.percentile(foreground, [0.5, 99.5]))
    return float(inner.mean()), float(inner.std())


def _ct(image: FloatArray, settings: Normalisation, out: FloatArray) -> None:
    np.clip(image, settings.lower, settings.upper, out=out)
    _standardise(out, settings.mean, settings.std)


def _zscore(image: FloatArray, settings: Normalisation, out: FloatArray) -> None:
    mean, std = foreground_statistics(image)
    np.copyto(out, image)
    _standardise(out, mean, std)
    np.clip(out, -OUTLIER_LIMIT, OUTLIER_LIMIT, out=out)


def _percentile(image: FloatArray, settings: Normalisation, out: FloatArray) -> None:
    voxels = sample_voxels(image).astype(np.float64)
    lower, upper = np.percentile(voxels, [settings.lower, settings.upper])
    if lower == upper:  # a few bright voxels in nothing: cutting them off would leave nothing
        _zscore(image, settings, out)
        return
    voxels = np.clip(voxels, lower, upper)
    np.clip(image, lower, upper, out=out)
    _standardise(out, float(voxels.mean()), float(voxels.std()))


def _standardise(image: FloatArray, mean: float, std: float) -> None:
    """In place; an image of one value, whose deviation is rounding noise, is only shifted."""
    image -= np.float32(mean)
    if std > 1e-6 * abs(mean):
        image /= np.float32(std)


SCHEMES: Mapping[Scheme, Callable[[FloatArray, Normalisation, FloatArray], None]] = {
    "ct": _ct,
    "zscore": _zscore,
    "percentile": _percentile,
}
