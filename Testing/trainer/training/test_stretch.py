"""The precision of a stretch of training."""

import pytest
import torch

from unetseg.training.stretch import training_precision


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_only_devices_that_have_bfloat16_compute_in_it_unasked(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # by emulation too
    assert training_precision("auto", torch.device("cuda:0")) == expected
    assert training_precision("bfloat16", torch.device("cuda:0")) == torch.bfloat16
    assert training_precision("auto", torch.device("cpu")) == torch.float32
