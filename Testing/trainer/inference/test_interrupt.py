"""Cancelling within a pass: before every layer, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unetseg.errors import CancelledError
from unetseg.inference import interruptible


class CancelAfter:
    """Raises at the n-th check."""

    def __init__(self, checks: int) -> None:
        self.left = checks

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise CancelledError


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3)))


def test_each_layer_is_checked_once_forward_and_once_backward():
    network, counter = layers(), CancelAfter(100)
    with interruptible(network, counter):
        loss = network(torch.ones(1, 1, 8, 8)).sum()
        assert counter.left == 97
        loss.backward()
        assert counter.left == 94


@pytest.mark.parametrize("checks", range(1, 7))
def test_cancelling_at_any_layer_ends_the_pass(checks):
    network = layers()
    with pytest.raises(CancelledError), interruptible(network, CancelAfter(checks)):
        network(torch.ones(1, 1, 8, 8)).sum().backward()
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in network.modules())


def test_gradients_are_the_same():
    network = layers()
    image = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network(image).sum().backward()
    expected = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    with interruptible(network, lambda: None):
        network(image).sum().backward()
    assert all(torch.equal(p.grad, e) for p, e in zip(network.parameters(), expected, strict=True))


def test_without_a_check_nothing_is_hooked():
    network = layers()
    with interruptible(network, None):
        assert not any(layer._forward_pre_hooks for layer in network.modules())
