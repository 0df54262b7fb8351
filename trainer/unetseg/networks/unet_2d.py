"""U-Net (Ronneberger, Fischer, Brox 2015, arXiv 1505.04597)."""

from __future__ import annotations

from torch import Tensor, nn

from .arguments import Pooling
from .base import UNet
from .blocks import CONV, double_conv, initialise, up_conv


class UNet2d(UNet):
    """The network of the paper's figure 1; its defaults are the drawn one but for the padding.

    Level l has ``base_channels``·2^l channels, 64 … 1024. Each of its levels is twice a 3×3 convolution with
    ReLU; 2×2 max-pooling leads down, a 2×2 up-convolution that halves the channels leads up and is
    concatenated to the skip. 1 input and 2 classes: 31,030,658 parameters.

    Args:
        in_channels: 1 … 64.
        classes: 1 … 256, background included.
        base_channels: channels of level 0; the deepest level may have 1024.
        depth: number of levels, 2 … 7.
        norm: before each ReLU: "none" as in the paper, "batch", "instance" or "group".
        dropout: probability at the end of the contracting path (§3.1), 0 … below 1.
        padding: "valid" as in the paper (572×572 → 388×388, skips cropped about their centre), or "same":
            zeros around, the size is kept.
        pooling: factors (h, w) per transition to the next level, 1 … 4; None: 2 everywhere. The up-convolution
            on the way back has the same kernel and stride.

    Raises ``SettingsError`` for an argument out of its limits.
    """

    supported_dimensions = (2,)

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        base_channels: int = 64,
        depth: int = 5,
        norm: str = "none",
        dropout: float = 0.0,
        padding: str = "same",
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__(
            dimensions=2,
            in_channels=in_channels,
            classes=classes,
            base_channels=base_channels,
            growth=1,
            depth=depth,
            norm=norm,
            dropout=dropout,
            padding=padding,
            pooling=pooling,
        )
        channels = [base_channels * 2**level for level in range(depth)]
        self.encoders = nn.ModuleList(
            double_conv(
                in_channels if level == 0 else channels[level - 1],
                channels[level],
                channels[level],
                dimensions=2,
                norm=norm,
                padding=padding,
                dropout=dropout if level == depth - 1 else 0.0,
            )
            for level in range(depth)
        )
        self.ups = nn.ModuleList(
            up_conv(channels[level + 1], channels[level], self.pooling[level], bias=True) for level in range(depth - 1)
        )
        self.decoders = nn.ModuleList(
            double_conv(2 * width, width, width, dimensions=2, norm=norm, padding=padding) for width in channels[:-1]
        )
        self.head = CONV[2](base_channels, classes, 1)
        initialise(self, self.head)

    def upsample(self, level: int, deeper: Tensor) -> Tensor:
        upsampled: Tensor = self.ups[level](deeper)
        return upsampled
