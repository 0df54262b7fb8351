"""Fewer multiplications, the same convolution."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from inference_networks import CPU, assert_same, single_pass
from unetseg.inference import Engine, fused, predict, winograd
from unetseg.networks import build

needs_onednn = pytest.mark.skipif(not fused.ONEDNN, reason="this build of torch has no oneDNN")


def channels_last(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last_3d)


def test_four_numbers_filtered_by_three():
    """y[i] = 2·d[i] + 3·d[i + 1] - d[i + 2] of 1, 4, 9, 16, 25, 36."""
    of_input, of_kernel, of_output = winograd._mixtures()
    products = (of_input @ torch.tensor([1.0, 4, 9, 16, 25, 36])) * (of_kernel @ torch.tensor([2.0, 3, -1]))
    torch.testing.assert_close(of_output @ products, torch.tensor([5.0, 19, 41, 71]))
    assert of_output[:, 0].tolist() == [1, 1, 1, 1]  # where the bias enters


@needs_onednn
@pytest.mark.parametrize("group_values", [1, 2**21])
@pytest.mark.parametrize("padding", [(0, 0, 0), (0, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize(("samples", "depth"), [(1, 3), (1, 4), (2, 7), (1, 10)])
@torch.inference_mode()
def test_in_16_bit_it_rounds_little_more_than_the_plain_convolution(samples, depth, padding, group_values, monkeypatch):
    monkeypatch.setattr(winograd, "GROUP_VALUES", group_values)
    torch.manual_seed(0)
    x, weight, bias = channels_last(samples, 64, depth, 8, 9), torch.randn(48, 64, 3, 3, 3), torch.randn(48)
    exact = functional.conv3d(x.double(), weight.double(), bias.double(), padding=padding)
    x, weight, bias = (tensor.bfloat16() for tensor in (x, weight, bias))
    plain = functional.conv3d(x, weight, bias, padding=padding)
    result = winograd.convolve(x, weight, bias, padding)
    assert result.dtype == torch.bfloat16
    assert (result - exact).square().mean() < 2.5**2 * (plain - exact).square().mean()
    assert (result - exact).abs().max() < 0.05 * exact.square().mean().sqrt()
    unbiased = winograd.convolve(x, weight, None, padding)
    torch.testing.assert_close(unbiased + bias[:, None, None, None], result, atol=1.0, rtol=0.02)


@needs_onednn
@torch.inference_mode()
def test_small_integers_are_convolved_exactly_in_16_bit():
    """All sums stay below 2^8, so that nothing is rounded, whatever is padded."""
    torch.manual_seed(0)
    x = torch.randint(-1, 2, (1, 32, 5, 4, 4)).float().contiguous(memory_format=torch.channels_last_3d)
    weight = 2.0 * torch.randint(-1, 2, (32, 32, 3, 3, 3)) * (torch.rand(32, 32, 3, 3, 3) < 0.05)
    expected = functional.conv3d(x, weight, padding=1)
    assert torch.equal(winograd.convolve(x.bfloat16(), weight.bfloat16(), None, SAME).float(), expected)


@needs_onednn
@pytest.mark.parametrize("padding", [(0, 0, 0), (0, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("depth", [6, 7, 8, 9, 10, 13])
@torch.inference_mode()
def test_it_is_the_convolution_whatever_is_left_of_the_last_four_slices(depth, padding):
    torch.manual_seed(0)
    x, weight, bias = channels_last(1, 32, depth, 5, 4), torch.randn(40, 32, 3, 3, 3), torch.randn(40)
    expected = functional.conv3d(x.double(), weight.double(), bias.double(), padding=padding)
    result = winograd.convolve(x, weight, bias, padding)
    assert (result - expected).abs().max() < 1e-5 * expected.abs().max()
    assert result.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(
        winograd.convolve(x, weight, None, padding), result - bias[:, None, None, None], atol=1e-3, rtol=0
    )


@needs_onednn
@torch.inference_mode()
def test_a_part_of_a_slab_need_not_be_copied_by_the_caller():
    x, weight = channels_last(1, 32, 12, 5, 4), torch.randn(32, 32, 3, 3, 3)
    expected = functional.conv3d(x[:, :, 2:11], weight)
    assert (winograd.convolve(x[:, :, 2:11], weight, None, (0, 0, 0)) - expected).abs().max() < 1e-3


def mean_square_gradients(convolve, *tensors: torch.Tensor) -> list[torch.Tensor]:
    leaves = [tensor.detach().clone(memory_format=torch.preserve_format).requires_grad_() for tensor in tensors]
    convolve(*leaves).square().mean().backward()
    return [leaf.grad for leaf in leaves]


@needs_onednn
@pytest.mark.parametrize("size", [(9, 5, 4), (5, 12, 4), (4, 5, 11)], ids=["across d", "across h", "across w"])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("group_values", [1, 2**21])
@pytest.mark.parametrize("padding", [(0, 1, 1), (1, 1, 1)])
def test_gradients_are_those_of_the_convolution(size, samples, group_values, padding, monkeypatch):
    monkeypatch.setattr(winograd, "GROUP_VALUES", group_values)
    torch.manual_seed(0)
    tensors = channels_last(samples, 32, *size), torch.randn(40, 32, 3, 3, 3), torch.randn(40)
    exact = mean_square_gradients(
        lambda x, weight, bias: functional.conv3d(x, weight, bias, padding=padding), *(t.double() for t in tensors)
    )
    found = mean_square_gradients(lambda *leaves: winograd.convolve(*leaves, padding), *tensors)
    for gradient, expected in zip(found, exact, strict=True):
        assert (gradient - expected).abs().max() < 1e-5 * expected.abs().max()


@needs_onednn
def test_without_a_bias_there_is_no_gradient_of_one():
    x, weight = channels_last(1, 32, 8, 3, 3), torch.randn(32, 32, 3, 3, 3)
    found = mean_square_gradients(lambda *leaves: winograd.convolve(*leaves, None, SAME), x, weight)
    exact = mean_square_gradients(lambda *leaves: functional.conv3d(*leaves, padding=1), x, weight)
    for gradient, expected in zip(found, exact, strict=True):
        assert (gradient - expected).abs().max() < 1e-4 * expected.abs().max()


SAME = (1, 1, 1)


@needs_onednn
@pytest.mark.parametrize(
    ("image", "kernel", "stride", "padding", "expected"),
    [
        ((1, 64, 8, 48, 48), (64, 64, 3, 3, 3), (1, 1, 1), SAME, True),
        ((4, 64, 8, 24, 24), (64, 64, 3, 3, 3), (1, 1, 1), SAME, True),
        ((1, 64, 8, 16, 16), (64, 64, 3, 3, 3), (1, 1, 1), SAME, False),  # too small
        ((1, 64, 2, 96, 96), (64, 64, 3, 3, 3), (1, 1, 1), (0, 1, 1), False),  # nothing is written
        ((1, 16, 8, 96, 96), (16, 16, 3, 3, 3), (1, 1, 1), SAME, False),  # mixing costs more than it saves
        ((1, 64, 8, 48, 48), (64, 64, 2, 2, 2), (1, 1, 1), SAME, False),
        ((1, 64, 8, 48, 48), (64, 64, 3, 3, 3), (2, 2, 2), SAME, False),
        ((1, 64, 96, 96), (64, 64, 3, 3), (1, 1), (1, 1), False),
    ],
)
def test_where_it_pays(image, kernel, stride, padding, expected):
    for precision in (torch.float32, torch.bfloat16):
        x = torch.empty(image, dtype=precision)
        assert winograd.pays(x, torch.empty(kernel, dtype=precision), stride, padding) == expected
    assert not winograd.pays(torch.empty(image, dtype=torch.float64), torch.empty(kernel), stride, padding)


@needs_onednn
@pytest.mark.parametrize(("precision", "expected"), [(torch.float32, True), (torch.bfloat16, False)])
def test_slices_are_copied_in_float32_only(precision, expected):
    """A slab of one slice can be filtered across rows and columns only."""
    x = torch.empty((1, 64, 3, 96, 96), dtype=precision)
    assert winograd.pays(x, torch.empty((64, 64, 3, 3, 3), dtype=precision), (1, 1, 1), (0, 1, 1)) == expected


def test_what_is_held_worked_out_by_hand():
    """Four slices of 50 × 50 voxels with 64 channels: six mixtures and six results; in bfloat16 four for every two."""
    assert winograd.workspace_values(64, 2500, 4, torch.float32) == 12 * 2500 * 64
    assert winograd.workspace_values(64, 2500, 4, torch.bfloat16) == 8 * 2500 * 64 * 2
    assert winograd.workspace_values(16, 2500, 4, torch.float32) == 0


@needs_onednn
@torch.inference_mode()
def test_a_wide_network_still_equals_the_single_pass(monkeypatch):
    calls = []
    monkeypatch.setattr(winograd, "CALL_MACS", 0)
    monkeypatch.setattr(winograd, "convolve", lambda *of, do=winograd.convolve: calls.append(1) or do(*of))
    torch.manual_seed(0)
    network = build("unet_3d", in_channels=2, classes=3, base_channels=32, depth=2).eval()
    image = torch.randn(2, 25, 10, 12)
    slabs = predict(Engine(network, patch_size=(8, 8, 8)), image, device=CPU)
    assert_same(torch.cat([slab for _, slab in slabs], 1), single_pass(network, image))
    assert len(calls) >= 5
