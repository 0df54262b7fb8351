"""The loss of 3D U-Net and no more, as everybody writes it: each step computes the logits of its whole patch.

Else it is ``plain``, which has the product's fast step.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from torch import Tensor, nn

from unetseg.networks import UNet
from unetseg.training import step
from unetseg.training.targeted import targeted_logits
from unetseg.volume import LabelArray

from . import plain
from .task import Task


class Whole(nn.Module):
    """A network as a module of unknown inner life: of such a one a step computes all logits."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return logits


def run(task: Task) -> LabelArray:
    def of_the_whole(network: UNet, *batch: Any) -> Any:
        return targeted_logits(Whole(network), *batch)

    with mock.patch.object(step, "targeted_logits", of_the_whole):
        return plain.run(task)
