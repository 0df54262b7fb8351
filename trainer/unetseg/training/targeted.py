"""The forward pass of a network for the labelled voxels of a batch only.

The loss reads logits at labelled voxels only, and in retraining these are a few planes. Where the network's output
depends on its receptive field only, each level is computed just in the boxes that they depend on, along every axis
and for every sample. Logits and gradients equal those of the whole pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..inference import CHANNELS_LAST
from ..inference.composite import composed
from ..networks import UNet, UNet3d
from .boxes import Boxes, clipped, container, cover, grown, merged, slices, whole
from .convolution import convolve
from .joined import add_from_below, composing_pays


@dataclass(frozen=True, eq=False)
class Region:
    """Some voxels of a batch (N, *s): those of one or several disjoint boxes.

    Attributes:
        boxes: each a slice of samples and one along each spatial axis.
    """

    boxes: tuple[tuple[slice, ...], ...]

    def of(self, values: Tensor) -> Tensor:
        """The values (N, *s) in the region, arranged as ``targeted_logits`` arranges its logits."""
        return self.arrange([values[box][:, None] for box in self.boxes]).squeeze(1)

    @staticmethod
    def arrange(parts: Sequence[Tensor]) -> Tensor:
        """The boxes' values (n, C, *r): of one box as they are, of several in a row, (1, C, 1, voxels)."""
        if len(parts) == 1:
            return parts[0]
        rows = [part.movedim(1, 0).flatten(1) for part in parts]
        return torch.cat(rows, 1)[None, :, None]


def targeted_logits(network: nn.Module, image: Tensor, weight: Tensor) -> tuple[Tensor, Region]:
    """The logits of a region that holds every voxel whose weight is above 0, and that region.

    Args:
        image: (N, C, *s) as the network takes it.
        weight: (N, *s), on any device.

    Returns:
        The logits, (n, K, *r) where the region is one box, else (1, K, 1, voxels); equal to those of
        ``network(image)`` there, with equal gradients (a dropout draws other voxels, by the same rule).
        The region is the whole batch where the network is none of ours, mixes in what is far away (norms
        that are not frozen) or has padding "valid", and where nothing is labelled.
    """
    sizes = (image.shape[0], *image.shape[2:])
    if isinstance(network, UNet) and network.padding == "same":
        network.check_input(image)
        targets = cover((weight > 0).cpu().numpy()) if network.is_local else whole(sizes)
        targets = targets if len(targets) else whole(sizes)
        region = Region(tuple(map(slices, targets)))
        return region.arrange(_TargetedPass(network, sizes, targets).logits(image)), region
    return network(image), Region((tuple(slice(0, size) for size in sizes),))


class _Pieces:
    """Parts of one level's map: of each box (axes, 2) its tensor (n, C, *r)."""

    def __init__(self, boxes: Boxes, tensors: Sequence[Tensor]) -> None:
        self.boxes = boxes
        self.tensors = tensors

    def read(self, needed: Boxes) -> list[Tensor]:
        """The map in each needed box, which lies within one of the pieces."""
        holders = [container(self.boxes, box) for box in needed]
        crops: dict[int, Tensor] = {}
        for holder in set(holders):
            numbers = [number for number, each in enumerate(holders) if each == holder]
            places = needed[numbers] - self.boxes[holder, :, :1]
            crops |= zip(numbers, _crops(self.tensors[holder], places), strict=True)
        return [crops[number] for number in range(len(needed))]


class _TargetedPass:
    """What is computed of each level's map for some boxes of the logits: the same for all images of a size.

    ``sizes`` (N, *s) are those of the image. Per level, ``encoded`` and ``decoded`` are the boxes in which the
    encoder's and the decoder's output is computed, ``joined`` those of the next level's map that make the
    decoder's input.
    """

    def __init__(self, network: UNet, sizes: tuple[int, ...], targets: Boxes) -> None:
        self.network = network
        self.sizes = [sizes]
        self.factors = [np.array([1, *pooling])[:, None] for pooling in network.pooling]
        self.decoded = [targets]
        self.joined: list[Boxes] = []
        for level, factors in enumerate(self.factors):
            self.sizes.append(tuple(self.sizes[level] // factors[:, 0]))
            self.joined.append(self._joined(level))
            self.decoded.append(merged(self.joined[level], self.sizes[level + 1]))
        self.encoded = [self.decoded[-1]]
        for level in reversed(range(len(self.factors))):
            pooled = self._entered(level + 1, self.encoded[0])
            self.encoded.insert(0, merged(pooled * self.factors[level], self.sizes[level]))

    def logits(self, image: Tensor) -> list[Tensor]:
        """Of each target (n, K, *r)."""
        features = self._encode(image)
        deeper = features.pop()
        for level in reversed(range(len(features))):
            deeper = self._decode(level, features.pop(), deeper)
        return [self.network.head(tensor) for tensor in deeper.tensors]

    def _encode(self, image: Tensor) -> list[_Pieces]:
        inputs, features = _Pieces(whole(self.sizes[0]), [image]), []
        for level, (encoder, boxes) in enumerate(zip(self.network.encoders, self.encoded, strict=True)):
            entering = inputs.read(self._entered(level, boxes))
            layers, sizes = list(_folded(encoder)), self.sizes[level]
            encoded = [_convolved(layers, *each, sizes) for each in zip(entering, boxes, strict=True)]
            features.append(_Pieces(boxes, encoded))
            if level < len(self.factors):
                pooled = [self.network.pools[level](tensor) for tensor in features[level].tensors]
                inputs = _Pieces(boxes // self.factors[level], pooled)
        return features

    def _decode(self, level: int, skips: _Pieces, deeper: _Pieces) -> _Pieces:
        boxes, joined, sizes = self.decoded[level], self.joined[level], self.sizes[level]
        layers, below = list(_folded(self.network.decoders[level])), deeper.read(joined)
        if composing_pays(self.network, level, below[0], grown(boxes, 1, sizes)):
            return _Pieces(boxes, self._decode_apart(level, layers, skips, below))
        fine = joined * self.factors[level]
        places = self._entered(level, boxes) - fine[..., :1]
        entering = [
            _crops(self.network.join(level, *maps), place[None])[0]
            for *maps, place in zip(skips.read(fine), below, places, strict=True)
        ]
        return _Pieces(boxes, [_convolved(layers, *each, sizes) for each in zip(entering, boxes, strict=True)])

    def _decode_apart(
        self, level: int, layers: Sequence[_Kernel | nn.Module], skips: _Pieces, below: Sequence[Tensor]
    ) -> list[Tensor]:
        """The first convolution takes the skip and what comes from below each on its own; nothing is joined."""
        first, *rest = cast("Sequence[Any]", layers)
        boxes, sizes = self.decoded[level], self.sizes[level]
        up = cast(Tensor, cast(UNet3d, self.network).ups[level].weight)
        channels = first.weight.shape[1] - up.shape[1]
        of_skip = _Kernel(first.weight[:, :channels].contiguous(), first.bias)
        kernel = composed(first.weight[:, channels:], up)
        results = []
        for skip, deeper, box, joined in zip(
            skips.read(self._entered(level, boxes)), below, boxes, self.joined[level], strict=True
        ):
            total = of_skip.convolved(skip, box, self.network.encoder_radius, sizes)
            middle = grown(box[None], 1, sizes)[0]
            total = add_from_below(total, deeper, kernel, self.network.pooling[level], middle, joined)
            results.append(_convolved(rest, total, box, sizes))
        return results

    def _entered(self, level: int, boxes: Boxes) -> Boxes:
        """Where an encoder or decoder of the level reads its input to compute these boxes."""
        return grown(boxes, self.network.encoder_radius, self.sizes[level])

    def _joined(self, level: int) -> Boxes:
        entered, factors = self._entered(level, self.decoded[level]), self.factors[level]
        margin = np.array([0, *self.network.join_margin[level]])[:, None]
        reached = np.concatenate([entered[..., :1] // factors - margin, -(-entered[..., 1:] // factors) + margin], -1)
        return clipped(reached, self.sizes[level + 1])


@dataclass(frozen=True, eq=False)
class _Kernel:
    """A convolution's weights (out, in, *k) and bias (out,)."""

    weight: Tensor
    bias: Tensor

    def convolved(self, x: Tensor, box: NDArray[np.int64], radius: int, sizes: Sequence[int]) -> Tensor:
        """A map of ``sizes`` in ``box`` grown by ``radius`` - 1, from ``x``, its input in ``box`` grown by ``radius``.

        So x becomes shorter by a voxel on every side that is no border of the map; on those that are it is padded with
        zeros, as the whole map is.
        """
        lost = np.abs(grown(box[None], radius, sizes) - grown(box[None], radius - 1, sizes))[0, 1:]
        even = lost[:, 0] == lost[:, 1]
        uneven_padding = np.where(even[:, None], 0, 1 - lost)[::-1].ravel().tolist()
        if any(uneven_padding):
            x = functional.pad(x, uneven_padding)
        return convolve(x, self.weight, self.bias, np.where(even, 1 - lost[:, 0], 0).tolist())


def _folded(block: nn.Module) -> Iterator[_Kernel | nn.Module]:
    """The layers of a double convolution; frozen batch norm, which scales and shifts a channel, is in the kernels.

    So no pass over the maps is needed for it, and by the chain rule all of its gradients are those of the kernels.
    """
    waiting = deque(block.children())
    while waiting:
        layer = waiting.popleft()
        if not isinstance(layer, (nn.Conv2d, nn.Conv3d)):
            yield layer
            continue
        weight, bias = layer.weight, cast(Tensor, layer.bias)
        if isinstance(waiting[0], (nn.BatchNorm2d, nn.BatchNorm3d)) and not waiting[0].training:
            norm = cast("nn.BatchNorm3d", waiting.popleft())
            mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
            scale = norm.weight * (variance + norm.eps).rsqrt()
            weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
            bias = (bias - mean) * scale + norm.bias
        yield _Kernel(weight, bias)


def _convolved(
    layers: Sequence[_Kernel | nn.Module], x: Tensor, box: NDArray[np.int64], sizes: Sequence[int]
) -> Tensor:
    """The output of these layers in a box of a map of ``sizes``, from their input ``x`` as far as it counts."""
    radius = sum(isinstance(layer, _Kernel) for layer in layers)
    for layer in layers:
        if isinstance(layer, _Kernel):
            x = layer.convolved(x, box, radius, sizes)
            radius -= 1
        else:
            x = layer(x)
    return x


def _crops(x: Tensor, places: Boxes) -> Sequence[Tensor]:
    """x (n, C, *r) at each of the places (axes, 2)."""
    if len(places) == 1 and (places[0] == whole((x.shape[0], *x.shape[2:]))).all():
        return [x]
    crops: tuple[Tensor, ...] = _Crops.apply(x, [_index(place) for place in places])  # type: ignore[no-untyped-call]
    return crops


def _index(place: NDArray[np.int64]) -> tuple[slice, ...]:
    samples, *axes = slices(place)
    return samples, slice(None), *axes


class _Crops(torch.autograd.Function):
    """Several parts of a tensor: their gradients are added up in one tensor, not in one of its size for each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, indices: list[tuple[slice, ...]]) -> tuple[Tensor, ...]:
        ctx.shape, ctx.indices = x.shape, indices
        return tuple(x[index] for index in indices)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        memory_format = CHANNELS_LAST[len(ctx.shape) - 2]
        total = torch.empty(
            ctx.shape, dtype=gradients[0].dtype, device=gradients[0].device, memory_format=memory_format
        ).zero_()
        for index, gradient in zip(ctx.indices, gradients, strict=True):
            total[index] += gradient
        return total, None
