"""What comes from below to a decoder's first convolution, without the up-sampled map, the widest of the network.

The up-convolution and the part of the convolution that reads its output are one convolution on the coarse grid
(``inference.composite``), also for the gradients: those of its kernel become those of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..inference.composite import Index, spread
from ..networks import UNet, UNet3d
from .boxes import Boxes
from .convolution import convolve, is_autocast

LEAST_VOXELS_PER_CHANNEL = 60
"""With fewer voxels of the output, composing the kernel takes what the multiplications save."""


def composing_pays(network: UNet, level: int, deeper: Tensor, boxes: Boxes) -> bool:
    """Whether ``add_from_below`` may be used to compute these boxes, and is faster than up-sampling first."""
    if not isinstance(network, UNet3d) or not deeper.is_cpu or is_autocast():
        return False
    channels: int = network.decoders[level][0].out_channels  # type: ignore[index]
    return int(np.diff(boxes).prod(axis=(1, 2)).sum()) >= LEAST_VOXELS_PER_CHANNEL * channels


def add_from_below(
    total: Tensor, deeper: Tensor, kernel: Tensor, factor: Sequence[int], box: Boxes, deeper_box: Boxes
) -> Tensor:
    """The sum of ``total``, which it is written into, and the convolution of what is brought up of ``deeper``.

    Args:
        total: (n, out, *r), the box of the fine map.
        deeper: (n, in, *q), the box ``deeper_box`` of the coarse map; with what the fine voxels and those beside them
            lie in, as far as that is within the map.
        kernel: (places·out, in, *k), as ``composed`` makes it.
        factor: of the up-convolution, without bias.
        box, deeper_box: (axes, 2), the first axis counting samples.
    """
    fine = box[1:]
    windows = np.stack([fine[:, 0] // factor, -(-fine[:, 1] // factor)], -1)
    missing = np.abs(windows + np.array([-1, 1]) - deeper_box[1:])
    padded = functional.pad(deeper, missing[::-1].ravel().tolist())
    coarse = convolve(padded, kernel, kernel.new_zeros(len(kernel)), [0] * len(fine))
    places = list(spread(factor, total.shape[1], fine.tolist(), windows[:, 0].tolist()))
    y: Tensor = _Spread.apply(total, coarse, places)  # type: ignore[no-untyped-call]
    return y


class _Spread(torch.autograd.Function):
    """Each place's voxels of the coarse result, added where they belong."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, coarse: Tensor, places: list[tuple[Index, Index]]) -> Tensor:
        ctx.mark_dirty(total)
        ctx.shape, ctx.places = coarse.shape, places
        for fine, source in places:
            total[fine] += coarse[source]
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        of_coarse = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last_3d).zero_()
        for fine, source in ctx.places:
            of_coarse[source] = gradient[fine]
        return gradient, of_coarse, None
