"""Attention U-Net (Oktay et al. 2018, arXiv 1804.03999)."""

from __future__ import annotations

from typing import Literal, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .arguments import Pooling
from .base import UNet
from .blocks import CONV, double_conv, initialise, norm_layers

LINEAR = {2: "bilinear", 3: "trilinear"}
OPEN_GATE_LOGIT = 3.0
"""Initial bias of a gate: σ(3) = 0.95."""


def resize(features: Tensor, factor: tuple[int, ...]) -> Tensor:
    """``features`` (N, C, *s) linearly interpolated to ``factor`` times their size along each axis.

    Corners are not aligned: the weights of a voxel then do not depend on the size of the whole, and slabs
    give what the whole volume gives.
    """
    size = [length * times for length, times in zip(features.shape[2:], factor, strict=True)]
    return F.interpolate(features, size=size, mode=LINEAR[len(size)], align_corners=False)


class GridGate(nn.Module):
    """Additive attention gate on a skip (the paper's eq. 1–2), with the gating signal g of the next level.

    q = ψ(ReLU(θ(x) + φ(g))) on the coarser grid, α = σ(q) interpolated linearly to the skip x's grid; the
    result is α·x through a 1×1(×1) convolution with norm and another with norm and ReLU. θ is a convolution
    with kernel and stride ``factor`` and without bias, φ and ψ are 1×1(×1) with bias, ψ has one output.

    Gates start open ("pass through feature vectors at all spatial locations"): ψ starts with weights 0
    and the bias 3, so α = 0.95 everywhere whatever the input; ψ's own gradient is not 0, and the gate closes
    where that helps.
    """

    def __init__(self, channels: int, gating_channels: int, factor: tuple[int, ...], *, norm: str) -> None:
        super().__init__()
        dimensions = len(factor)
        conv = CONV[dimensions]
        self.factor = factor
        self.theta = conv(channels, channels, factor, stride=factor, bias=False)  # type: ignore[arg-type]
        self.phi = conv(gating_channels, channels, 1)
        self.psi = conv(channels, 1, 1)
        self.transform = nn.Sequential(
            conv(channels, channels, 1),
            *norm_layers(norm, dimensions, channels),
            conv(channels, channels, 1),
            *norm_layers(norm, dimensions, channels),
            nn.ReLU(inplace=True),
        )

    def open(self) -> None:
        """Set ψ so that the gate lets everything through."""
        nn.init.zeros_(self.psi.weight)
        nn.init.constant_(self.psi.bias, OPEN_GATE_LOGIT)  # type: ignore[arg-type]

    def coefficients(self, skip: Tensor, gating: Tensor) -> Tensor:
        """α (N, 1, *s), each 0 … 1, on the grid of ``skip`` (N, channels, *s)."""
        q = self.psi(F.relu(self.theta(skip) + self.phi(gating)))
        return resize(torch.sigmoid(q), self.factor)

    def forward(self, skip: Tensor, alpha: Tensor) -> Tensor:
        gated: Tensor = self.transform(alpha * skip)
        return gated


class AttentionUNet(UNet):
    """U-Net with attention gates on its skips, in 2D or 3D.

    Level l has ``base_channels``·2^l channels, 16 … 256 as published (64 … 1024, divided by 4). Linear
    interpolation leads up and keeps its channels, so a decoder takes 3·``base_channels``·2^l. Gates stand on
    every level but the finest and the deepest: levels 2–4 of 5. Their gating signal is the decoded features
    of the next coarser level; the deepest level's pass a 1×1(×1) convolution with norm and ReLU first.

    Of the authors' code this is ``unet_CT_single_att_dsv_3D`` without deep supervision, which makes no sense
    of sparse labels (a labelled plane one voxel thick does not survive subsampling).
    3D, 1 input, 2 classes: 6,213,141 parameters, 5,886,994 of them without gates (their code with deep
    supervision: 472 more each). The paper reports 6.40 M and 5.88 M: the plain networks agree, the gates do
    not. Theirs lie between this variant (0.33 M) and the one with two gates a level (0.59 M, 6,472,784 in all).

    Args:
        in_channels: 1 … 64.
        classes: 1 … 256, background included.
        dimensions: 2 or 3.
        base_channels: channels of level 0; the deepest level may have 1024.
        depth: number of levels, 3 (the first with a gate) … 7.
        norm: before each ReLU: "none", "batch", "instance" or "group".
        dropout: probability after the deepest level's convolutions, 0 … below 1; the paper has none.
        pooling: factors per transition to the next level, 1 … 4 along each axis; None: 2 everywhere. (1, 2, 2)
            leaves thick slices apart.

    Raises ``SettingsError`` for an argument out of its limits.
    """

    supported_dimensions = (2, 3)
    min_depth = 3

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        dimensions: int = 3,
        base_channels: int = 16,
        depth: int = 5,
        norm: str = "batch",
        dropout: float = 0.0,
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__(
            dimensions=dimensions,
            in_channels=in_channels,
            classes=classes,
            base_channels=base_channels,
            growth=1,
            depth=depth,
            norm=norm,
            dropout=dropout,
            padding="same",
            pooling=pooling,
        )
        channels = [base_channels * 2**level for level in range(depth)]
        self.encoders = nn.ModuleList(
            double_conv(
                in_channels if level == 0 else channels[level - 1],
                channels[level],
                channels[level],
                dimensions=dimensions,
                norm=norm,
                padding="same",
                dropout=dropout if level == depth - 1 else 0.0,
            )
            for level in range(depth)
        )
        self.gating = nn.Sequential(
            CONV[dimensions](channels[-1], channels[-1], 1),
            *norm_layers(norm, dimensions, channels[-1]),
            nn.ReLU(inplace=True),
        )
        self.gates = nn.ModuleDict(
            {
                str(level): GridGate(channels[level], channels[level + 1], self.pooling[level], norm=norm)
                for level in range(1, depth - 1)
            }
        )
        self.decoders = nn.ModuleList(
            double_conv(width + 2 * width, width, width, dimensions=dimensions, norm=norm, padding="same")
            for width in channels[:-1]
        )
        self.head = CONV[dimensions](base_channels, classes, 1)
        initialise(self, self.head)
        for gate in self.gates.values():
            cast(GridGate, gate).open()

    @overload
    def forward(self, x: Tensor, return_attention: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, return_attention: Literal[True]) -> tuple[Tensor, tuple[Tensor, ...]]: ...

    def forward(self, x: Tensor, return_attention: bool = False) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (N, classes, *s) of an image (N, in_channels, *s).

        With ``return_attention`` also α (N, 1, *s_l) of each gated level l = 1 … depth - 2, for display.
        Raises ``ImageError`` where the channels, axes or size of ``x`` do not fit.
        """
        if not return_attention:
            return super().forward(x)
        self.check_input(x)
        features = self.encode(x)
        y = features.pop()
        coefficients: list[Tensor] = []
        while features:
            level, skip = len(features) - 1, features.pop()
            if level > 0:
                coefficients.insert(0, self.attention(level, skip, y))
            y = self.decode(level, skip, y)
        return self.head(y), tuple(coefficients)

    def upsample(self, level: int, deeper: Tensor) -> Tensor:
        return resize(deeper, self.pooling[level])

    def gate(self, level: int, skip: Tensor, deeper: Tensor) -> Tensor:
        if level == 0:
            return skip
        gated: Tensor = self.gates[str(level)](skip, self.attention(level, skip, deeper))
        return gated

    def attention(self, level: int, skip: Tensor, deeper: Tensor) -> Tensor:
        """α (N, 1, *s) of a gated level, 1 … depth - 2, from what ``decode`` gets there."""
        gating = self.gating(deeper) if level == self.depth - 2 else deeper
        return cast(GridGate, self.gates[str(level)]).coefficients(skip, gating)

    @property
    def join_margin(self) -> tuple[tuple[int, ...], ...]:
        """One voxel along the axes that are linearly interpolated."""
        return tuple(tuple(int(factor > 1) for factor in factors) for factors in self.pooling)
