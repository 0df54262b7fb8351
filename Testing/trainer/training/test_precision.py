"""Which precision a training computes in."""

from __future__ import annotations

import pytest
import torch

from unetseg.networks import build
from unetseg.training import precision
from unetseg.training.precision import training_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
FASTEST_ON_CPU = precision._fastest_on_cpu


@pytest.fixture(autouse=True)
def forgetful(float32, monkeypatch):
    """Measuring again, unlike all other tests."""
    FASTEST_ON_CPU.cache_clear()
    monkeypatch.setattr(precision, "_fastest_on_cpu", FASTEST_ON_CPU)
    yield
    FASTEST_ON_CPU.cache_clear()


def network(name="unet_3d"):
    return build(name, in_channels=1, classes=2, base_channels=4, depth=3)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_only_gpus_that_have_bfloat16_compute_in_it_unasked(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # by emulation too
    assert training_precision("auto", network(), GPU) == expected
    assert training_precision("bfloat16", network(), GPU) == torch.bfloat16
    assert training_precision("float32", network(), GPU) == torch.float32
    assert training_precision("auto", network(), torch.device("mps")) == torch.float32


@pytest.mark.parametrize("expected", [torch.float32, torch.bfloat16])
def test_a_cpu_takes_what_is_measured_once_at_the_second_levels_width(monkeypatch, expected):
    asked = []
    monkeypatch.setattr(precision, "_step", lambda *of: asked.append(of) or of[0])
    monkeypatch.setattr(precision, "faster_precision", lambda device, run_in: run_in(expected))
    assert training_precision("auto", network(), CPU) == expected
    assert training_precision("auto", network(), CPU) == expected
    assert asked == [(expected, 3, 16)]


@pytest.mark.parametrize("name", ["unet_2d", "unet_3d", "attention_unet"])
def test_the_measurement_runs(name):
    assert training_precision("auto", network(name), CPU) in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_is_measured_is_a_convolution_with_all_its_gradients(dimensions):
    """Of ones: a voxel off the border sees 3^n times its 2 channels."""
    for kind in (torch.float32, torch.bfloat16):
        of_image, of_weight, of_bias = precision._step(kind, dimensions, 2)()
        assert of_image.dtype == of_weight.dtype == torch.float32
        middle = tuple(size // 2 for size in of_image.shape[2:])
        assert of_image[(0, 0, *middle)] == 2 * 3**dimensions
        assert of_bias.tolist() == [8 * 48 * 48] * 2
        assert of_weight.shape == (2, 2, *[3] * dimensions)
