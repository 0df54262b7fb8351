"""What the networks are made of: double convolution, up-convolution, norm, and their initial weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
MAX_POOL: dict[int, type[nn.MaxPool2d | nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORM: dict[int, type[nn.BatchNorm2d | nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM: dict[int, type[nn.InstanceNorm2d | nn.InstanceNorm3d]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)

NORMS = ("none", "batch", "instance", "group")
MAX_GROUPS = 8


def norm_layers(norm: str, dimensions: int, channels: int) -> list[nn.Module]:
    """The norm as a list of one layer, or of none for ``"none"``; every norm has a learned scale and shift.

    ``"batch"`` is the usual one: statistics of the batch in training, running statistics in eval.
    ``"group"`` has 8 groups, or the largest power of two below that divides the channels.
    """
    if norm == "batch":
        return [BATCH_NORM[dimensions](channels)]
    if norm == "instance":
        return [INSTANCE_NORM[dimensions](channels, affine=True)]
    if norm == "group":
        return [nn.GroupNorm(math.gcd(MAX_GROUPS, channels), channels)]
    return []


def double_conv(
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    *,
    dimensions: int,
    norm: str,
    padding: str,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Twice: 3×3(×3) convolution with bias, norm, ReLU; then dropout where it is above 0.

    An output voxel depends on the input up to 2 voxels away. With padding ``"valid"`` the output is 4 voxels
    smaller along each axis.
    """
    layers: list[nn.Module] = []
    for channels, features in ((in_channels, mid_channels), (mid_channels, out_channels)):
        layers.append(CONV[dimensions](channels, features, 3, padding=1 if padding == "same" else 0))
        layers += norm_layers(norm, dimensions, features)
        layers.append(nn.ReLU(inplace=True))
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class _UpConvolution(nn.modules.conv._ConvTransposeNd):
    """A transposed convolution whose kernel is its stride: each output voxel sees one input voxel.

    So it is one matrix product, which on a CPU is several times as fast as torch's routine for small samples, and keeps
    channels last.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, out, *f·s) of (N, in, *s), f the stride; ``output_size`` has no say, for all sizes follow."""
        samples, _, *sizes = input.shape
        axes = range(1, len(sizes) + 1)
        rows = input.movedim(1, -1) @ self.weight.movedim(1, -1).flatten(1)
        windows = rows.reshape(samples, *sizes, *self.stride, self.out_channels)
        order = [0, *(axis for each in axes for axis in (each, each + len(sizes))), 2 * len(sizes) + 1]
        fine = [factor * size for factor, size in zip(self.stride, sizes, strict=True)]
        y: Tensor = windows.permute(order).reshape(samples, *fine, self.out_channels)
        if self.bias is not None:
            y = y + self.bias
        return y.movedim(-1, 1)


class UpConvolution2d(_UpConvolution, nn.ConvTranspose2d):
    """Of images (N, in, h, w)."""


class UpConvolution3d(_UpConvolution, nn.ConvTranspose3d):
    """Of volumes (N, in, d, h, w)."""


UP_CONVOLUTION: dict[int, type[UpConvolution2d | UpConvolution3d]] = {2: UpConvolution2d, 3: UpConvolution3d}


def up_conv(in_channels: int, out_channels: int, factor: tuple[int, ...], *, bias: bool) -> nn.Module:
    """Transposed convolution with kernel = stride = ``factor``."""
    return UP_CONVOLUTION[len(factor)](in_channels, out_channels, factor, stride=factor, bias=bias)  # type: ignore[arg-type]


def center_crop(features: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of (N, C, *s) with the spatial ``size``; itself where the size is already that."""
    for axis, wanted in enumerate(size, start=2):
        features = features.narrow(axis, (features.shape[axis] - wanted) // 2, wanted)
    return features


def initialise(network: nn.Module, head: nn.Module) -> None:
    """Gaussian weights with standard deviation √(2/N), N = inputs of one neuron (He 2015), and biases of 0.

    A transposed convolution whose stride is its kernel adds up N = its input channels. The ``head`` has no
    ReLU behind it and gets √(1/N), so that the first logits are of order 1. Norms keep scale 1 and shift 0.
    Weights without memory (on the meta device) are left: to draw them torch would load its compiler, 1.5 s.
    """
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS) and not module.weight.is_meta:
            transposed = isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
            inputs = module.in_channels * (1 if transposed else math.prod(module.kernel_size))
            nn.init.normal_(module.weight, std=math.sqrt((1 if module is head else 2) / inputs))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
