"""oneDNN computes what torch's own convolutions compute."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unetseg.inference.onednn import use_onednn


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv3d(1, 5, 3, padding=1),
        nn.Conv3d(3, 4, 3),
        nn.Conv3d(4, 3, (1, 2, 2), stride=(1, 2, 2), bias=False),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.Conv2d(3, 2, 1),
    ],
)
@torch.inference_mode()
def test_convolutions_are_the_same(layer):
    image = torch.randn(2, layer.in_channels, *([6, 8, 10][: layer.weight.dim() - 2]))
    changed = nn.Sequential(copy.deepcopy(layer))
    use_onednn(changed)
    result = changed(image)
    assert torch.allclose(result, layer(image), atol=1e-5)
    last = torch.channels_last if layer.weight.dim() == 4 else torch.channels_last_3d
    assert result.is_contiguous(memory_format=last)


@torch.inference_mode()
def test_without_onednn_nothing_changes(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    layer = nn.Conv3d(1, 2, 3)
    use_onednn(layer)
    assert "forward" not in vars(layer)
