"""Convolutions on a CPU by oneDNN always, also where torch prefers its own routine."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn


def use_onednn(network: nn.Module) -> None:
    """Let the convolutions of a network in eval mode on the CPU run in oneDNN, channels last; in place.

    For batch 1, torch takes its native 3D routine where channels · depth · height ≤ 20480, as in thin slabs: up
    to 15 times slower (16 channels, 8×152×256 voxels), and its unfolded input takes 27 times the memory.
    One input channel keeps oneDNN from channels last unless the strides of the weights ask for it: 2 times
    slower, and the layers behind are slowed down too. Without oneDNN nothing is changed.
    """
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (available and hasattr(torch, "mkldnn_convolution")):
        return
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            weight = layer.weight.detach().movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)
            layer.forward = partial(_convolve, layer, weight)  # type: ignore[method-assign]


def _convolve(layer: nn.Conv2d | nn.Conv3d, weight: Tensor, image: Tensor) -> Tensor:
    padding = cast("tuple[int, ...]", layer.padding)
    return torch.mkldnn_convolution(image, weight, layer.bias, padding, layer.stride, layer.dilation, layer.groups)
