"""A network ready to predict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ..model_file import Model
from ..networks import UNet
from ..volume import Shape
from .fused import FusedUNet, fold, is_fusible
from .memory import Attempt
from .quantised import QuantisedUNet


class Engine:
    """A network, and the form in which it computes: made when it is first needed, kept for the next image.

    Only the last form is kept. The network's weights must not change meanwhile.

    Args:
        patch_size: of the training, (d, h, w).
        ranges: of the network's activations, as ``calibrate`` measures them; without them there is no int8.
    """

    def __init__(self, network: UNet, *, patch_size: Shape, ranges: Mapping[str, float] | None = None) -> None:
        self.network, self.patch_size, self.ranges = network, patch_size, ranges
        self._made: tuple[tuple[torch.device, torch.dtype], nn.Module] | None = None

    @classmethod
    def of(cls, model: Model) -> Engine:
        int8 = model.document.int8
        ranges = None if int8 is None else int8.ranges
        return cls(model.network, patch_size=model.document.plan.patch_size, ranges=ranges)

    @torch.inference_mode()
    def form(self, attempt: Attempt) -> nn.Module:
        """A ``FusedUNet`` of a network that is fusible, else a folded one: on the attempt's device, in its precision.

        The network is left as it is.
        """
        key = attempt.device, attempt.precision
        if self._made is None or self._made[0] != key:
            self._made = None  # so that the old and the new are never in memory together
            self._made = key, self._make(attempt)
        return self._made[1]

    def _make(self, attempt: Attempt) -> nn.Module:
        if attempt.precision == torch.uint8 and self.ranges is not None:
            return QuantisedUNet(self.network, self.ranges)
        make = FusedUNet if is_fusible(self.network) else fold
        return make(self.network).to(attempt.device, attempt.precision)
