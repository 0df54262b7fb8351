"""A network's fast form in 8 bit, for the CPU: about a third of the time of float32, and a quarter of its memory.

Features are not negative behind a ReLU. A map of them is uint8: the whole number of steps of range / 255, the range
being what ``calibrate`` has measured; more is cut off. Weights are int8, in steps of their own for each output channel.
A product of both is summed up exactly. Only the image and its convolution, sums of two convolutions, gates,
interpolations and the logits are float32.

torch has the convolutions for its compiler, under names that it does not promise to keep, and some processors lack the
instructions: ``is_available`` tries them out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..networks import AttentionUNet, UNet
from .fused import CHANNELS_LAST, WHOLE, Composite, Convolution, Cut, FusedUNet, Join, convolutions

LARGEST = 255
"""Steps in a range."""
HALF = 0.5
"""Cutting off the fraction of a number that is so much larger rounds it."""


def activation_names(network: UNet) -> Iterator[str]:
    """What has a range: each convolution of an encoder and a decoder, by its level and place, and each gated skip."""
    for level, place in itertools.product(range(network.depth), range(2)):
        yield f"encoders.{level}.{place}"
        if level < network.depth - 1:
            yield f"decoders.{level}.{place}"
    if isinstance(network, AttentionUNet):
        yield from (f"gates.{level}" for level in network.gates)


def activations(network: FusedUNet) -> dict[str, nn.Module]:
    """The layers of a fused network that put out what ``activation_names`` names."""
    found: dict[str, nn.Module] = {}
    for level, block in enumerate(network.network.encoders):
        found.update({f"encoders.{level}.{place}": layer for place, layer in enumerate(convolutions(block))})
    for level, join in enumerate(cast("Iterable[Join]", network.joins)):
        found.update({f"decoders.{level}.0": join.first, f"decoders.{level}.1": join.second})
    if isinstance(network.network, AttentionUNet):
        found.update({f"gates.{level}": gate for level, gate in network.network.gates.items()})
    return found


@functools.cache
def is_available() -> bool:
    """Whether this torch on this processor convolves in 8 bit, in 2D and 3D, without a wrong sum.

    Without the instructions for it (VNNI), two products are added up in 16 bit, which overflows for large ones.
    """
    try:
        return all(_sums_correctly(axes) for axes in CHANNELS_LAST)
    except (AttributeError, RuntimeError, TypeError):  # no such operator, or another under its name
        return False


def _sums_correctly(axes: int) -> bool:
    channels, ones = 32, [1] * axes
    weight = torch.full((channels, channels, *[3] * axes), 1.0)
    layer = Convolution(weight, torch.ones(channels), padding=ones, stride=ones, relu=True)
    steps = torch.full((1, channels, *[3] * axes), LARGEST, dtype=torch.uint8)
    total = 1.0 + channels * 3**axes * LARGEST  # in the middle, where no zeros are seen
    quantised = Int8Convolution(layer, 1.0, total / LARGEST, dtype=torch.uint8)(steps)
    exact = Int8Convolution(layer, 1.0, dtype=torch.float32)(steps)
    middle = (0, 0, *ones)
    return int(quantised[middle]) == LARGEST and bool(abs(exact[middle] - total) < 1e-3 * total)


class Int8Convolution(Convolution):
    """A convolution of uint8 steps.

    Args:
        input_step: the value of one step of the input; zero is zero.
        output_step: the same of the output.
        dtype: of the output: uint8, which is rounded and cut off below 0 (the ReLU) and above 255, or float32, still in
            steps but not rounded.
        rounding: is added to each output.
    """

    def __init__(
        self,
        given: Convolution,
        input_step: float,
        output_step: float = 1.0,
        *,
        dtype: torch.dtype,
        rounding: float = 0.0,
    ) -> None:
        nn.Module.__init__(self)
        self.padding, self.stride = given.padding, given.stride
        self.relu = False
        self._dtype = dtype
        self._input_step = input_step
        axes = len(self.padding)
        steps = given.weight.abs().amax(dim=tuple(range(1, 2 + axes))).clamp_min(torch.finfo(torch.float32).tiny) / 127
        weight = (given.weight / steps.reshape(-1, *[1] * (1 + axes))).round().to(torch.int8).contiguous()
        self._steps = steps / output_step
        self._zeros = torch.zeros(len(steps), dtype=torch.long)
        self._bias = (torch.zeros(len(steps)) if given.bias is None else given.bias / output_step) + rounding
        self._ones = [1] * axes
        self._packed: Tensor = torch.ops.onednn.qconv_prepack(
            weight, self._steps, input_step, 0, self.stride, self.padding, self._ones, 1, None
        )
        operators = torch.ops.onednn
        self._operator: Any = operators.qconv3d_pointwise if axes == 3 else operators.qconv2d_pointwise

    def _convolve(self, x: Tensor, padding: list[int]) -> Tensor:
        result: Tensor = self._operator(
            x, self._input_step, 0, self._packed, self._steps, self._zeros, self._bias,
            self.stride, padding, self._ones, 1, 1.0, 0, self._dtype, "none", [], "",
        )  # fmt: skip
        return result


class RoundedConvolution(Convolution):
    """The image's convolution: in float32, its output rounded to uint8 steps."""

    def __init__(self, given: Convolution, output_step: float) -> None:
        bias = torch.zeros(len(given.weight)) if given.bias is None else given.bias
        scaled = given.weight / output_step, bias / output_step + HALF
        super().__init__(*scaled, padding=given.padding, stride=given.stride, relu=False)

    def forward(self, x: Tensor, cut: Cut = WHOLE, total: Tensor | None = None) -> Tensor:
        return _cut_off(super().forward(x, cut, total))


class RoundedSum(Int8Convolution):
    """A convolution whose sum with the ``total``, both in steps, is rounded to uint8."""

    def __init__(self, given: Convolution, input_step: float, output_step: float) -> None:
        super().__init__(given, input_step, output_step, dtype=torch.float32, rounding=HALF)

    def forward(self, x: Tensor, cut: Cut = WHOLE, total: Tensor | None = None) -> Tensor:
        return _cut_off(super().forward(x, cut, total))


def _cut_off(steps: Tensor) -> Tensor:
    """The whole part, 0 … 255; ``steps`` serves as memory."""
    return steps.clamp_(0, LARGEST).to(torch.uint8)


class QuantisedUNet(FusedUNet):
    """The fast form of a network in 8 bit. It takes float32 and puts out float32; maps between levels are uint8.

    Args:
        ranges: of each of ``activation_names``, the largest value that counts.
    """

    def __init__(self, network: UNet, ranges: Mapping[str, float]) -> None:
        super().__init__(network)
        self._steps = {name: ranges[name] / LARGEST for name in activation_names(network)}
        for level, block in enumerate(self.network.encoders):
            self.network.encoders[level] = nn.Sequential(*self._encoder(level, convolutions(block)))
        for level, join in enumerate(cast("Iterable[Join]", self.joins)):
            self._quantise_join(level, join)
        head: Any = self.network.head
        self.network.head = Int8Convolution(head, self._steps["decoders.0.1"], dtype=torch.float32)

    def pool(self, level: int, x: Tensor) -> Tensor:
        """The largest of each window; torch's own pooling has no 8 bit in 3D."""
        for axis, factor in enumerate(self.network.pooling[level], start=2):
            each = (x[(slice(None),) * axis + (slice(first, None, factor),)] for first in range(factor))
            x = functools.reduce(torch.maximum, each)
        return x

    def upsample(self, level: int, deeper: Tensor) -> Tensor:
        """Between two numbers of steps lie others."""
        return _cut_off(super().upsample(level, deeper.float()).add_(HALF))

    def gate(self, level: int, skip: Tensor, deeper: Tensor) -> Tensor:
        step = self._steps.get(f"gates.{level}")
        if step is None:
            return skip
        gated = super().gate(level, skip * self._steps[f"encoders.{level}.1"], deeper * self._deeper_step(level))
        return _cut_off(gated.div_(step).add_(HALF))

    def _deeper_step(self, level: int) -> float:
        """Of what the decoder of ``level`` gets from below."""
        deepest = level + 1 == self.network.depth - 1
        return self._steps[f"{'encoders' if deepest else 'decoders'}.{level + 1}.1"]

    def _encoder(self, level: int, layers: Sequence[Convolution]) -> Iterator[Convolution]:
        first, second = layers
        between = self._steps[f"encoders.{level}.0"]
        if level == 0:
            yield RoundedConvolution(first, between)
        else:
            yield Int8Convolution(first, self._steps[f"encoders.{level - 1}.1"], between, dtype=torch.uint8)
        yield Int8Convolution(second, between, self._steps[f"encoders.{level}.1"], dtype=torch.uint8)

    def _quantise_join(self, level: int, join: Join) -> None:
        skip = self._steps.get(f"gates.{level}", self._steps[f"encoders.{level}.1"])
        deeper, joined = self._deeper_step(level), self._steps[f"decoders.{level}.0"]
        join.first = RoundedSum(join.first, skip, joined)
        if isinstance(join.below, Composite):
            join.below.convolution = Int8Convolution(join.below.convolution, deeper, joined, dtype=torch.float32)
            if join.below.through is not None:
                join.below.through /= joined
        else:
            join.below = Int8Convolution(join.below, deeper, joined, dtype=torch.float32)
        join.second = Int8Convolution(join.second, joined, self._steps[f"decoders.{level}.1"], dtype=torch.uint8)
