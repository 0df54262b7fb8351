"""The same anatomy as if from another scanner."""

from __future__ import annotations

import numpy as np

from unetseg.volume import Volume


def shift_appearance(volume: Volume, generator: np.random.Generator) -> Volume:
    """Inverted contrast, a smooth bias of up to 30 %, noise of 5 % of the intensity range (1st to 99th percentile)."""
    array = volume.array
    low, high = np.percentile(array, [1, 99])
    inverted = 1.0 - np.clip((array - low) / (high - low), 0.0, 1.0)
    ramps = [np.linspace(-1.0, 1.0, n) for n in array.shape[1:]]
    strengths = generator.uniform(-0.3, 0.3, size=3)
    bias = 1.0 + sum(
        strength * ramp.reshape([-1 if axis == i else 1 for i in range(3)])
        for axis, (strength, ramp) in enumerate(zip(strengths, ramps, strict=True))
    )
    noisy = inverted * bias + generator.normal(0.0, 0.05, size=array.shape)
    return Volume((1000.0 * noisy).astype(np.float32), volume.geometry)
