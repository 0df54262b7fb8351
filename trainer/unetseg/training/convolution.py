"""Convolutions with a padding of one's own, as fast as they can be had."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..inference import CHANNELS_LAST, ONEDNN, winograd

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {2: functional.conv2d, 3: functional.conv3d}
"""By the number of spatial axes."""


def convolve(x: Tensor, weight: Tensor, bias: Tensor, padding: Sequence[int]) -> Tensor:
    """The convolution, of stride 1, with zero padding.

    In float32 on the CPU with as few multiplications as pay, and by oneDNN: torch's own choice for a single sample is
    often its own convolution, up to ten times as slow.
    """
    if x.is_cpu and x.dtype == torch.float32 and not is_autocast():
        if winograd.pays(x, weight, [1] * len(padding), padding):
            return winograd.convolve(x, weight, bias, padding)
        if x.shape[1] == 1 and not x.requires_grad:
            return _applied(_ImageConvolution, x, weight, bias, padding)
        if len(x) == 1 and ONEDNN:
            return _applied(_OneDnnConvolution, x, weight, bias, padding)
    return CONVOLUTIONS[len(padding)](x, weight, bias, padding=tuple(padding))


def is_autocast() -> bool:
    """On the CPU; before torch 2.4 the question had a name of its own, which later ones warn of."""
    return torch.is_autocast_enabled("cpu") if hasattr(torch, "get_autocast_dtype") else torch.is_autocast_cpu_enabled()


def _applied(
    function: type[torch.autograd.Function], x: Tensor, weight: Tensor, bias: Tensor, padding: Sequence[int]
) -> Tensor:
    y: Tensor = function.apply(x, weight, bias, list(padding))  # type: ignore[no-untyped-call]
    return y


class _ImageConvolution(torch.autograd.Function):
    """As one matrix product, of an image of a single channel, which gets no gradient; the output is channels last.

    Convolutions of one channel are slow, and their output has a layout that each layer behind would have to change.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: list[int]) -> Tensor:
        ctx.taps, ctx.padding = weight.shape[2:], padding
        ctx.save_for_backward(x)
        sizes = [size + 2 * pad - taps + 1 for size, pad, taps in zip(x.shape[2:], padding, ctx.taps, strict=True)]
        y = torch.empty((len(x), len(weight), *sizes), memory_format=CHANNELS_LAST[len(sizes)])
        rows = y.movedim(1, -1).view(-1, len(weight))
        torch.addmm(bias, _seen(x, padding, ctx.taps).T, weight.flatten(1).T, out=rows)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (x,) = ctx.saved_tensors
        rows = gradient.movedim(1, -1).flatten(0, -2)
        of_weight = (_seen(x, ctx.padding, ctx.taps) @ rows).T
        return None, of_weight.reshape(-1, 1, *ctx.taps), rows.sum(0), None


def _seen(x: Tensor, padding: Sequence[int], taps: Sequence[int]) -> Tensor:
    """(taps, voxels of the output): what each tap of a kernel sees of an image of one channel."""
    padded = functional.pad(x[:, 0], [width for width in reversed(padding) for _ in range(2)])
    sizes = [size - count + 1 for size, count in zip(padded.shape[1:], taps, strict=True)]
    shifts = itertools.product(*map(range, taps))
    places = ([slice(start, start + size) for start, size in zip(shift, sizes, strict=True)] for shift in shifts)
    return torch.stack([padded[(slice(None), *place)] for place in places]).flatten(1)


class _OneDnnConvolution(torch.autograd.Function):
    """Of stride 1, with bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: list[int]) -> Tensor:
        ctx.padding = padding
        ctx.save_for_backward(x, weight)
        ones = [1] * len(padding)
        return torch.mkldnn_convolution(x, weight, bias, padding, ones, ones, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        ones, zeros = [1] * len(ctx.padding), [0] * len(ctx.padding)
        # The layout of x is what makes torch choose oneDNN here.
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            *(gradient, x.to_mkldnn(), weight, [len(weight)], ones, ctx.padding, ones, False, zeros, 1),
            [ctx.needs_input_grad[0], True, True],
        )
        return of_x, of_weight, of_bias, None
