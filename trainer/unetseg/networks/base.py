"""The walk through the levels that all U-Nets share, and the image sizes that fit.

Inference walks the same levels itself, slab by slab and in a fused form (``encoders``, ``pools``, ``upsample``,
``gate``, ``decoders``, ``head``)::

    features = [encoders[0](x)]
    for pool, encoder in zip(pools, encoders[1:]):
        features.append(encoder(pool(features[-1])))
    y = features[depth - 1]
    for level in depth - 2 … 0:
        y = decode(level, features[level], y)
    logits = head(y)

What a slab needs beside itself, in voxels: ``encoder_radius`` around the wanted output of an encoder; and for
``decode`` see ``decode_margin``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import ImageError
from .arguments import Pooling, check_arguments, check_width
from .blocks import BATCH_NORM, MAX_POOL, center_crop


class UNet(nn.Module, ABC):
    """Encoders, pools and decoders over ``depth`` levels; level 0 has the resolution of the input.

    Attributes:
        dimensions: 2 or 3, the number of spatial axes.
        pooling: per transition from level l to l + 1, the factor along each axis.
        encoders, pools: depth and depth - 1 modules.
        head: 1×1(×1) convolution to the logits of the classes.
        encoder_radius: an encoder's output voxel depends on its input this many voxels around it.
        supported_dimensions: that the network can be built in.

    ``growth`` is how many times ``base_channels`` level 0 hands on; each level below has twice as many.
    """

    supported_dimensions: ClassVar[tuple[int, ...]]
    min_depth: ClassVar[int] = 2
    encoder_radius: ClassVar[int] = 2
    encoders: nn.ModuleList
    decoders: nn.ModuleList
    head: nn.Module

    def __init__(
        self,
        *,
        dimensions: int,
        in_channels: int,
        classes: int,
        base_channels: int,
        growth: int,
        depth: int,
        norm: str,
        dropout: float,
        padding: str,
        pooling: Pooling | None,
    ) -> None:
        super().__init__()
        check_arguments(
            supported_dimensions=self.supported_dimensions,
            dimensions=dimensions,
            in_channels=in_channels,
            classes=classes,
            base_channels=base_channels,
            depth=depth,
            min_depth=self.min_depth,
            norm=norm,
            dropout=dropout,
            padding=padding,
            pooling=pooling,
        )
        check_width(growth * base_channels * 2 ** (depth - 1))
        self.dimensions = dimensions
        self.in_channels = in_channels
        self.classes = classes
        self.depth = depth
        self.norm = norm
        self.padding = padding
        self.pooling = ((2,) * dimensions,) * (depth - 1) if pooling is None else tuple(map(tuple, pooling))
        self.pools = nn.ModuleList(MAX_POOL[dimensions](factor, stride=factor) for factor in self.pooling)

    @abstractmethod
    def upsample(self, level: int, deeper: Tensor) -> Tensor:
        """The decoded features of level + 1 brought to the resolution of ``level``."""

    def gate(self, level: int, skip: Tensor, deeper: Tensor) -> Tensor:
        """What the encoder's ``skip`` hands to the decoder: all of it, unless the network has gates."""
        return skip

    def join(self, level: int, skip: Tensor, deeper: Tensor) -> Tensor:
        """What ``decode`` convolves: the encoder's ``skip`` beside ``deeper`` brought to its resolution."""
        upsampled = self.upsample(level, deeper)
        return torch.cat([center_crop(self.gate(level, skip, deeper), upsampled.shape[2:]), upsampled], dim=1)

    @property
    def join_margin(self) -> tuple[tuple[int, ...], ...]:
        """Per level and axis: voxels of level + 1 that ``join`` needs around a slab."""
        return tuple((0,) * self.dimensions for _ in self.pooling)

    def decode(self, level: int, skip: Tensor, deeper: Tensor) -> Tensor:
        """Features of ``level`` from the encoder's ``skip`` there and the decoded features of level + 1.

        With padding "same", ``skip`` is exactly ``pooling[level]`` times as large as ``deeper``, and so is the
        result; with "valid", ``skip`` is cropped about its centre and the result is 4 voxels smaller.
        """
        features: Tensor = self.decoders[level](self.join(level, skip, deeper))
        return features

    @property
    def decode_margin(self) -> tuple[tuple[int, ...], ...]:
        """Per level 0 … depth - 2 and axis: voxels *of level + 1* that ``decode`` needs around a slab.

        With padding "same", ``decode(level, skip[f·(a - m) : f·(b + m)], deeper[a - m : b + m])`` is exact in
        its part [f·a : f·b], f the pooling factor and m the margin; at the borders of the volume both are
        cut off and the zero padding there is the true one.
        """
        return tuple(
            tuple(joined - (-self.encoder_radius // factor) for joined, factor in zip(margins, factors, strict=True))
            for margins, factors in zip(self.join_margin, self.pooling, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes, *s) of an image (N, in_channels, *s); smaller than s with padding "valid".

        Raises ``ImageError`` where the channels, axes or size of ``x`` do not fit.
        """
        self.check_input(x)
        features = self.encode(x)
        y = features.pop()
        while features:
            y = self.decode(len(features) - 1, features.pop(), y)
        logits: Tensor = self.head(y)
        return logits

    def encode(self, x: Tensor) -> list[Tensor]:
        """The encoders' features, finest level first."""
        features = [self.encoders[0](x)]
        for pool, encoder in zip(self.pools, list(self.encoders)[1:], strict=True):
            features.append(encoder(pool(features[-1])))
        return features

    @property
    def is_local(self) -> bool:
        """Whether the output at a voxel depends only on its receptive field, as the network is now.

        True without norm, and with batch norm while all its layers are in eval mode.
        """
        batch_norms = (module for module in self.modules() if isinstance(module, tuple(BATCH_NORM.values())))
        return self.is_local_in_eval and not any(layer.training for layer in batch_norms)

    @property
    def is_local_in_eval(self) -> bool:
        """Whether it does in eval mode. Instance and group norm always mix in statistics of the whole input."""
        return self.norm in ("none", "batch")

    @property
    def size_multiple(self) -> tuple[int, ...]:
        """With padding "same" the image's size along each axis must be a multiple of this."""
        return tuple(math.prod(factors) for factors in zip(*self.pooling, strict=True))

    def nearest_valid_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The size that fits, nearest to ``size`` along each axis; of two equally near the larger."""
        return tuple(self._nearest(length, axis) for axis, length in enumerate(size))

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The spatial size of the logits for an image of a ``size`` that fits; the same with padding "same"."""
        if self.padding == "same":
            return tuple(size)
        return tuple(length - self._valid_loss(axis) for axis, length in enumerate(size))

    def check_input(self, x: Tensor) -> None:
        """Raises ``ImageError`` where ``x`` is not (N, in_channels, *s) with sizes s that fit."""
        size = tuple(x.shape[2:])
        if len(size) != self.dimensions or x.shape[1] != self.in_channels:
            raise ImageError(
                f"The network takes images (N, {self.in_channels}, {'D, H, W' if self.dimensions == 3 else 'H, W'})",
                received=f"shape {tuple(x.shape)}",
            )
        nearest = self.nearest_valid_size(size)
        if size != nearest:
            rule = (
                f"With {self.depth} levels the size must be a multiple of {self.size_multiple}"
                if self.padding == "same"
                else f"Without padding, {self.depth} levels fit only some sizes"
            )
            raise ImageError(rule, received=size, remedy=f"The nearest valid size is {nearest}")
        self._check_statistics(x)

    def _check_statistics(self, x: Tensor) -> None:
        """Raises ``ImageError`` where a norm would have to take the variance of a single value."""
        if self.norm == "instance" or (self.norm == "batch" and not self.is_local):
            samples = 1 if self.norm == "instance" else x.shape[0]
            if x.shape[2:].numel() * samples == math.prod(self.size_multiple):
                raise ImageError(
                    f"Norm {self.norm!r} needs more than one voxel at the deepest level",
                    received=f"size {tuple(x.shape[2:])}, reduced by {self.size_multiple}",
                    remedy="Use a larger image or a smaller depth",
                )

    def _nearest(self, length: int, axis: int) -> int:
        step = self.size_multiple[axis]
        if self.padding == "same":
            return max(1, (2 * length + step) // (2 * step)) * step
        smallest = self._smallest_valid(axis)
        return smallest + max(0, (2 * (length - smallest) + step) // (2 * step)) * step

    def _smallest_valid(self, axis: int) -> int:
        """Padding "valid": the image's length for the fewest deepest voxels that leave a voxel of output."""
        needed = 1
        for factors in self.pooling:
            needed = -(-(needed + 4) // factors[axis])
        for factors in reversed(self.pooling):
            needed = (needed + 4) * factors[axis]
        return needed + 4

    def _valid_loss(self, axis: int) -> int:
        """Padding "valid": how many voxels shorter the output is than the image."""
        loss = 4
        for factors in reversed(self.pooling):
            loss = 4 + factors[axis] * loss + 4
        return loss
