"""3D U-Net (Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger 2016, arXiv 1606.06650)."""

from __future__ import annotations

from torch import Tensor, nn

from .arguments import Pooling
from .base import UNet
from .blocks import CONV, double_conv, initialise, up_conv


class UNet3d(UNet):
    """The network of the paper's figure 2; its defaults are the drawn one but for the padding.

    Level l has twice a 3³ convolution with norm and ReLU, of ``base_channels``·2^l and twice as many channels:
    32-64, 64-128, 128-256, 256-512, doubled *before* the 2³ max-pooling against bottlenecks. A 2³
    up-convolution without bias keeps its channels and is concatenated to the skip: 768→256→256 and so on.

    3 inputs and 3 classes: 19,069,955 parameters as the paper counts them, and 4,672 scales and shifts of the
    batch norm, which the count leaves out. The paper's batch norm uses the statistics of its single patch
    in testing too, and so acts like norm "instance"; here "batch" is the usual one with running statistics,
    so that in eval the output depends on the receptive field only.

    Args:
        in_channels: 1 … 64.
        classes: 1 … 256, background included.
        base_channels: channels of the first convolution; the deepest level may have 1024.
        depth: number of levels, 2 … 7.
        norm: before each ReLU: "none", "batch", "instance" or "group".
        dropout: probability after the deepest level's convolutions, 0 … below 1; the paper has none.
        padding: "valid" as in the paper ((D, H, W) 116×132×132 → 28×44×44), or "same": zeros around, the size
            is kept.
        pooling: factors (d, h, w) per transition to the next level, 1 … 4; None: 2 everywhere. (1, 2, 2)
            leaves thick slices apart. The up-convolution on the way back has the same kernel and stride.

    Raises ``SettingsError`` for an argument out of its limits.
    """

    supported_dimensions = (3,)

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        base_channels: int = 32,
        depth: int = 4,
        norm: str = "batch",
        dropout: float = 0.0,
        padding: str = "same",
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__(
            dimensions=3,
            in_channels=in_channels,
            classes=classes,
            base_channels=base_channels,
            growth=2,
            depth=depth,
            norm=norm,
            dropout=dropout,
            padding=padding,
            pooling=pooling,
        )
        channels = [2 * base_channels * 2**level for level in range(depth)]
        self.encoders = nn.ModuleList(
            double_conv(
                in_channels if level == 0 else channels[level - 1],
                channels[level] // 2,
                channels[level],
                dimensions=3,
                norm=norm,
                padding=padding,
                dropout=dropout if level == depth - 1 else 0.0,
            )
            for level in range(depth)
        )
        self.ups = nn.ModuleList(
            up_conv(channels[level + 1], channels[level + 1], self.pooling[level], bias=False)
            for level in range(depth - 1)
        )
        self.decoders = nn.ModuleList(
            double_conv(width + 2 * width, width, width, dimensions=3, norm=norm, padding=padding)
            for width in channels[:-1]
        )
        self.head = CONV[3](channels[0], classes, 1)
        initialise(self, self.head)

    def upsample(self, level: int, deeper: Tensor) -> Tensor:
        upsampled: Tensor = self.ups[level](deeper)
        return upsampled
