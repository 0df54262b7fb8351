from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unetseg.networks import AttentionUNet
from unetseg.networks.attention_unet import GridGate, resize

OPEN = 1 / (1 + math.exp(-3))


def small(**arguments):
    return AttentionUNet(**({"in_channels": 1, "classes": 2, "base_channels": 4, "depth": 4} | arguments))


def closed_unless_told(network):
    """Gates that look at their input, as after training."""
    for gate in network.gates.values():
        nn.init.normal_(gate.psi.weight)
    return network


def test_parameter_counts_stated_in_the_docstring():
    with torch.device("meta"):
        network = AttentionUNet(in_channels=1, classes=2)
    gates = sum(parameter.numel() for part in (network.gates, network.gating) for parameter in part.parameters())
    total = sum(parameter.numel() for parameter in network.parameters())
    assert (total, total - gates) == (6_213_141, 5_886_994)


def test_gates_stand_on_levels_2_to_4_of_5():
    with torch.device("meta"):
        network = AttentionUNet(in_channels=1, classes=2)
    assert list(network.gates) == ["1", "2", "3"]  # counted from 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_gates_start_open_whatever_the_input(dimensions):
    network = small(dimensions=dimensions)
    image = 100 * torch.randn(1, 1, *(16,) * dimensions)
    logits, coefficients = network.eval()(image, return_attention=True)
    assert torch.equal(logits, network(image))
    assert [tuple(alpha.shape) for alpha in coefficients] == [(1, 1, *(8,) * dimensions), (1, 1, *(4,) * dimensions)]
    for alpha in coefficients:
        torch.testing.assert_close(alpha, torch.full_like(alpha, OPEN))


def test_an_open_gate_only_scales_its_skip_by_0_95(monkeypatch):
    """Batch statistics take the factor out again: the outputs with and without gates agree."""
    torch.manual_seed(0)
    network = small(dimensions=2).train()
    image = torch.randn(2, 1, 32, 32)
    gated = network(image)
    monkeypatch.setattr(GridGate, "coefficients", lambda gate, skip, gating: torch.ones_like(skip[:, :1]))
    torch.testing.assert_close(gated, network(image), atol=1e-3, rtol=1e-3)


def test_an_open_gate_can_learn_to_close():
    network = small(dimensions=2)
    network(torch.randn(2, 1, 16, 16)).square().mean().backward()
    assert all(gate.psi.weight.grad.abs().max() > 0 for gate in network.gates.values())


def test_gate_coefficients_by_hand():
    """θ sums the skip's pair, φ takes g once, ψ halves: q = ReLU(x₁ + x₂ + g) / 2, α = σ(q) interpolated."""
    gate = GridGate(1, 1, (1, 2), norm="none")
    for layer, weight in ((gate.theta, 1.0), (gate.phi, 1.0), (gate.psi, 0.5)):
        nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(gate.phi.bias)
    nn.init.zeros_(gate.psi.bias)
    skip, gating = torch.tensor([[[[1.0, 2.0, 0.0, -9.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    first, second = 1 / (1 + math.exp(-2)), 0.5
    expected = [first, 0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second, second]
    assert gate.coefficients(skip, gating)[0, 0, 0].tolist() == pytest.approx(expected)


def test_a_closed_gate_hides_its_skip():
    network = small(dimensions=2, depth=3, norm="none").eval()
    nn.init.constant_(network.gates["1"].psi.bias, -100.0)
    skip, deeper = torch.rand(1, 8, 8, 8), torch.rand(1, 16, 4, 4)
    hidden = network.decode(1, skip, deeper)
    assert torch.equal(hidden, network.decode(1, torch.zeros_like(skip), deeper))


def test_attention_differs_where_the_image_does_and_stays_a_fraction():
    torch.manual_seed(0)
    network = closed_unless_told(small(dimensions=2)).eval()
    _, coefficients = network(torch.randn(1, 1, 32, 32), return_attention=True)
    assert all(0 <= alpha.min() < alpha.max() <= 1 for alpha in coefficients)


def test_the_deepest_level_passes_the_gating_block_and_the_others_do_not():
    calls = []
    network = small(dimensions=2, depth=5)
    network.gating.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0].shape[1]))
    network(torch.randn(1, 1, 32, 32))
    assert calls == [64]


def test_resizing_a_part_gives_the_part_of_the_resized_whole():
    whole = torch.randn(1, 2, 6, 5, 4)
    part = resize(whole[:, :, 1:5], (2, 1, 3))
    torch.testing.assert_close(part[:, :, 2:-2], resize(whole, (2, 1, 3))[:, :, 4:-4])
