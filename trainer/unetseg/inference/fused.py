"""A network's fast form for streaming: the same function with fewer operations, exact up to rounding.

- Batch norm in eval mode scales and shifts a channel: it is folded into the convolution before it.
- A convolution of [skip, up] is the sum of one of the skip and one of what comes from below; nothing is concatenated.
- An up-convolution and the convolution behind it are both linear. On the coarse grid they are one convolution
  (``Composite``): the up-sampled map, the widest of all, is never made, and 8·8 taps do the work of 27·8 and more.
- Halos shrink: where a slab ends inside the volume, its convolutions pad with nothing and put out less.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..networks import UNet, UNet2d, UNet3d
from ..networks.blocks import CONV
from . import winograd
from .composite import composed, spread
from .winograd import ONEDNN

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
"""By the number of spatial axes. Convolutions on a CPU are up to twice as fast in this layout."""

Cut = tuple[bool, bool]
"""Whether a slab's first and last slice lie inside the volume, instead of at its border, where zeros follow."""
WHOLE: Cut = (False, False)
CONVOLUTIONS = tuple(CONV.values())


class Convolution(nn.Module):
    """A convolution, and the ReLU behind it, that may leave out the padding along the first axis.

    Args:
        weight: (out, in, *k); ``bias``: (out,) or None.
        padding: zeros along each axis at the volume's borders. ``stride``: along each axis.
        relu: whether the output is cut off at 0.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, *, padding: Sequence[int], stride: Sequence[int], relu: bool
    ) -> None:
        super().__init__()
        # For one input channel both layouts are the same to torch, and only these strides make oneDNN work channels
        # last: twice as fast, and the layers behind it as well.
        channels_last = weight.detach().movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)
        self.register_buffer("weight", channels_last)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.weight: Tensor
        self.bias: Tensor | None
        self.padding, self.stride = list(padding), list(stride)
        self.relu = relu

    def forward(self, x: Tensor, cut: Cut = WHOLE, total: Tensor | None = None) -> Tensor:
        """Of (N, in, *s); with ``total``, a tensor of the output's size, their sum before the ReLU.

        On a side that is ``cut`` the output is shorter by the padding.
        """
        padding = [0 if all(cut) else self.padding[0], *self.padding[1:]]
        y = self._convolve(x, padding)
        if cut[0] != cut[1] and padding[0]:
            y = y.narrow(2, padding[0] if cut[0] else 0, y.shape[2] - padding[0])
        if total is not None:
            y += total
        return y.relu_() if self.relu else y

    def _convolve(self, x: Tensor, padding: list[int]) -> Tensor:
        """By oneDNN wherever it is: for a thin slab torch takes its own routine, up to 15 times as slow."""
        if x.is_cpu and ONEDNN:
            if winograd.pays(x, self.weight, self.stride, padding):
                return winograd.convolve(x, self.weight, self.bias, padding)
            ones = [1] * len(padding)
            return torch.mkldnn_convolution(x, self.weight, self.bias, padding, self.stride, ones, 1)
        convolve: Any = functional.conv3d if len(padding) == 3 else functional.conv2d
        result: Tensor = convolve(x, self.weight, self.bias, stride=self.stride, padding=padding)
        return result


class Composite(nn.Module):
    """The convolution of a map that an up-convolution brings up, as one convolution of the map below (``composite``).

    Args:
        up: its kernel is its stride f, so that it is linear and each fine voxel sees one coarse voxel.
        weight: (out, channels of ``up``, 3, …), of the zero-padded convolution behind it; ``bias``: (out,).
    """

    def __init__(self, up: nn.ConvTranspose2d | nn.ConvTranspose3d, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.factor = up.stride
        self.channels = len(weight)
        # What the up-convolution's own bias adds through each tap; at a border the taps outside add nothing.
        through = torch.einsum("ou...,u->...o", weight, up.bias) if up.bias is not None else None
        if through is not None:
            bias = bias + through.flatten(0, -2).sum(0)
        ones = [1] * len(self.factor)
        taps = composed(weight, up.weight)
        places = math.prod(self.factor)
        self.convolution = Convolution(taps, bias.repeat(places), padding=ones, stride=ones, relu=False)
        self.register_buffer("through", through)
        self.through: Tensor | None

    def forward(self, x: Tensor, rows: slice, cut: Cut) -> Tensor:
        """Slices of the fine map (N, out, rows, …) from a slab (N, in, n, …) of the coarse one.

        Args:
            rows: counted from the first fine slice that lies in ``x``. On a side that is ``cut`` the outermost coarse
                slice serves the one beside it; of its own fine slices only the innermost can be had.
        """
        coarse = self.convolution(x, cut)
        box = [(rows.start, rows.stop), *((0, f * n) for f, n in zip(self.factor[1:], x.shape[3:], strict=True))]
        shape = (len(x), self.channels, *(stop - start for start, stop in box))
        fine = torch.empty(shape, dtype=coarse.dtype, device=x.device, memory_format=CHANNELS_LAST[len(box)])
        for place, source in spread(self.factor, self.channels, box, [int(cut[0]), *[0] * (len(box) - 1)]):
            fine[place] = coarse[source]
        if self.through is not None:
            self._take_back(fine, self.through, cut)
        return fine

    @staticmethod
    def _take_back(fine: Tensor, through: Tensor, cut: Cut) -> None:
        """Subtract, in place and at the volume's borders, the bias through the taps that lie outside."""
        inside = functional.pad(torch.ones([min(3, size) for size in fine.shape[2:]]), (1, 1) * (fine.dim() - 2))
        if cut[0]:
            inside[0] = inside[1]
        if cut[1]:
            inside[-1] = inside[-2]
        parts = [_border_parts(size) for size in fine.shape[2:]]
        for index in itertools.product(*(range(len(part)) for part in parts)):
            outside = 1 - inside[tuple(slice(at, at + 3) for at in index)]
            if bool(outside.any()):
                missing = (through * outside[..., None].to(through)).flatten(0, -2).sum(0)
                place = [part[at] for part, at in zip(parts, index, strict=True)]
                fine[(slice(None), slice(None), *place)] -= missing.reshape(-1, *[1] * len(index))


def _border_parts(size: int) -> list[slice]:
    """An axis in its first voxel, those between, and its last."""
    if size < 3:
        return [slice(at, at + 1) for at in range(size)]
    return [slice(0, 1), slice(1, -1), slice(-1, None)]


def fold(network: UNet) -> UNet:
    """A copy in eval mode whose convolutions are of the kind above, batch norm and ReLU within them."""
    folded = copy.deepcopy(network).eval()
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Sequential):
                setattr(parent, name, nn.Sequential(*_chain(list(child))))
            elif isinstance(child, CONVOLUTIONS):
                setattr(parent, name, _convolution(child))
    return folded


def _chain(layers: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """The layers, with norm and ReLU taken into the convolution before them where that is exact."""
    waiting = deque(layers)
    while waiting:
        layer = waiting.popleft()
        if isinstance(layer, CONVOLUTIONS):
            if waiting and isinstance(waiting[0], nn.modules.batchnorm._BatchNorm):
                layer = fuse_conv_bn_eval(layer, waiting[0])
                waiting.popleft()
            relu = bool(waiting) and isinstance(waiting[0], nn.ReLU)
            if relu:
                waiting.popleft()
            layer = _convolution(layer, relu=relu)
        yield layer


def _convolution(layer: nn.Conv2d | nn.Conv3d, *, relu: bool = False) -> Convolution:
    padding = cast("tuple[int, ...]", layer.padding)
    return Convolution(layer.weight, layer.bias, padding=padding, stride=layer.stride, relu=relu)


def is_fusible(network: UNet) -> bool:
    """Whether the network has a fast form: it is local and has padding "same"."""
    return network.is_local_in_eval and network.padding == "same"


class FusedUNet(nn.Module):
    """The fast form of a network that is fusible; the one given is left as it is.

    ``encode``, ``pool``, ``join``, ``finish`` and ``head`` are the network's, for some ``rows`` of the slices along
    its first axis; of those beside them, where there are any, what they are given must have at least one.

    Attributes:
        network: the folded copy, without what ``joins`` do instead. What it says of its geometry holds.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = fold(network)
        self.joins = nn.ModuleList(Join(self.network, level) for level in range(network.depth - 1))
        for replaced in ("decoders", "ups"):
            if hasattr(self.network, replaced):
                setattr(self.network, replaced, nn.ModuleList())

    def encode(self, level: int, place: int, x: Tensor, rows: slice) -> Tensor:
        """The output of the encoder's first or second convolution (``place`` 0 or 1) from its input (N, C, *s)."""
        return _convolved(convolutions(self.network.encoders[level])[place], x, rows)

    def pool(self, level: int, x: Tensor) -> Tensor:
        pooled: Tensor = self.network.pools[level](x)
        return pooled

    def join(self, level: int, skip: Tensor, deeper: Tensor, rows: slice) -> Tensor:
        """The output of the decoder's first convolution; ``deeper`` are the slices whose windows make up ``skip``."""
        joined: Tensor = self.joins[level](self, skip, deeper, rows)
        return joined

    def finish(self, level: int, x: Tensor, rows: slice) -> Tensor:
        """The output of the decoder's second convolution from that of its first."""
        return _convolved(cast(Join, self.joins[level]).second, x, rows)

    def head(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network.head(x)
        return logits

    def upsample(self, level: int, deeper: Tensor) -> Tensor:
        return self.network.upsample(level, deeper)

    def gate(self, level: int, skip: Tensor, deeper: Tensor) -> Tensor:
        return self.network.gate(level, skip, deeper)


class Join(nn.Module):
    """A decoder whose first convolution takes the skip and what comes from below each on its own."""

    def __init__(self, network: UNet, level: int) -> None:
        super().__init__()
        self.level = level
        first, self.second = convolutions(network.decoders[level])
        channels = len(convolutions(network.encoders[level])[-1].weight)
        of_skip, of_deeper = first.weight[:, :channels], first.weight[:, channels:]
        padding, stride = first.padding, first.stride
        self.first = Convolution(of_skip, None, padding=padding, stride=stride, relu=True)
        self.below: Composite | Convolution
        if isinstance(network, (UNet2d, UNet3d)):
            self.below = Composite(cast("nn.ConvTranspose3d", network.ups[level]), of_deeper, cast(Tensor, first.bias))
        else:
            self.below = Convolution(of_deeper, first.bias, padding=padding, stride=stride, relu=False)

    def forward(self, network: FusedUNet, skip: Tensor, deeper: Tensor, rows: slice) -> Tensor:
        cut = _cut(rows, skip.shape[2])
        needed = slice(rows.start - cut[0], rows.stop + cut[1])
        if isinstance(self.below, Composite):
            below = self.below(deeper, rows, cut)
        else:
            below = self.below(network.upsample(self.level, deeper)[:, :, needed], cut)
        joined: Tensor = self.first(network.gate(self.level, skip, deeper)[:, :, needed], cut, below)
        return joined


def convolutions(block: nn.Module) -> list[Convolution]:
    """Of a folded double convolution."""
    return [layer for layer in block.children() if isinstance(layer, Convolution)]


def _convolved(layer: Convolution, x: Tensor, rows: slice) -> Tensor:
    cut = _cut(rows, x.shape[2])
    y: Tensor = layer(x[:, :, rows.start - cut[0] : rows.stop + cut[1]], cut)
    return y


def _cut(rows: slice, length: int) -> Cut:
    """Where there are slices beside the rows, so that a convolution needs no padding."""
    return rows.start > 0, rows.stop < length
