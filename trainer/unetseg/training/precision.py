"""The precision of a training's convolutions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import torch

from ..inference import AUTO, CHANNELS_LAST, PRECISIONS, faster_precision, has_bfloat16
from ..networks import UNet
from .convolution import convolve

SLAB = (8, 48, 48)
"""Voxels of what is measured."""


def training_precision(name: str, network: UNet, device: torch.device) -> torch.dtype:
    """The named precision.

    ``auto`` is bfloat16 on a CUDA device that has it, and on a CPU where a short measurement finds it faster, once for
    a width of network; else float32. Losses and weights are float32 in any case.
    """
    if name != AUTO:
        return PRECISIONS[name]
    if device.type != "cpu":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    # Of the second level: between the few channels of the first and the many of the deepest.
    channels = max(tensor.shape[0] for tensor in network.encoders[1].parameters())
    return _fastest_on_cpu(network.dimensions, channels, torch.get_num_threads())


def rounded(precision: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """While it is open, convolutions round to the precision."""
    # Even switched off, autocast refuses devices and types that it does not know in this version of torch.
    return contextlib.nullcontext() if precision == torch.float32 else torch.autocast(device.type, dtype=precision)


@functools.cache
def _fastest_on_cpu(dimensions: int, channels: int, threads: int) -> torch.dtype:
    return faster_precision(torch.device("cpu"), lambda precision: _step(precision, dimensions, channels))


def _step(precision: torch.dtype, dimensions: int, channels: int) -> Callable[[], object]:
    """A convolution as the training computes it, and its gradients, to be called."""
    size = (1, channels, *SLAB) if dimensions == 3 else (SLAB[0], channels, *SLAB[1:])
    image = torch.ones(size).to(memory_format=CHANNELS_LAST[dimensions]).requires_grad_()
    weight = torch.ones(channels, channels, *[3] * dimensions, requires_grad=True)
    bias = torch.zeros(channels, requires_grad=True)

    def run() -> object:
        with rounded(precision, image.device):
            y = convolve(image, weight, bias, [1] * dimensions)
        return torch.autograd.grad(y, (image, weight, bias), torch.ones_like(y))

    return run
