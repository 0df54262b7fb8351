"""Convolutions with a padding of one's own, fast also for a single small sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..inference import ONEDNN

CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}

NATIVE_ROWS = 20_480
"""Up to so many rows (channels × d × h) of a single sample torch's own convolution is called."""


def convolve(layer: nn.Module, x: Tensor, padding: Sequence[int]) -> Tensor:
    """The convolution of a layer (of a type of ``CONVOLUTIONS``, with stride 1) with other zero padding.

    Torch's own convolution, which it takes for a small single sample on the CPU, is up to ten times as slow as
    oneDNN's; here oneDNN computes such a sample as well. Not where it has no gradient, like the image: under
    autocast that is all that still is float32.
    """
    native = x.is_cpu and x.dtype == torch.float32 and len(x) == 1 and x.shape[:-1].numel() <= NATIVE_ROWS
    if native and x.requires_grad and ONEDNN:
        y: Tensor = _OneDnnConvolution.apply(x, layer.weight, layer.bias, list(padding))  # type: ignore[no-untyped-call]
        return y
    return CONVOLUTIONS[type(layer)](x, layer.weight, layer.bias, padding=tuple(padding))


class _OneDnnConvolution(torch.autograd.Function):
    """Of stride 1, with bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: list[int]) -> Tensor:
        ctx.padding = padding
        ctx.save_for_backward(x, weight)
        ones = [1] * len(padding)
        return torch.mkldnn_convolution(x, weight, bias, padding, ones, ones, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        ones, zeros = [1] * len(ctx.padding), [0] * len(ctx.padding)
        # The layout of x is what makes torch choose oneDNN here.
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            *(gradient, x.to_mkldnn(), weight, [len(weight)], ones, ctx.padding, ones, False, zeros, 1),
            [True, True, True],
        )
        return of_x, of_weight, of_bias, None
