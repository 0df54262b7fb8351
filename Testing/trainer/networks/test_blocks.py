from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unetseg.networks.blocks import center_crop, double_conv, initialise, norm_layers, up_conv


def test_center_crop_takes_the_middle():
    image = torch.arange(8.0).reshape(1, 1, 8).expand(1, 1, 6, 8).contiguous()
    assert center_crop(image, (2, 4))[0, 0].tolist() == [[2, 3, 4, 5], [2, 3, 4, 5]]
    assert torch.equal(center_crop(image, (6, 8)), image)


@pytest.mark.parametrize("factor", [(2, 2, 2), (1, 2, 3), (2, 1), (4, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_up_convolution_is_torch_s_with_the_same_gradients(factor, bias):
    layer = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[len(factor)]
    known = layer(3, 5, factor, stride=factor, bias=bias, dtype=torch.float64)
    up = up_conv(3, 5, factor, bias=bias).double()
    up.load_state_dict(known.state_dict())
    image = torch.randn((2, 3, 4, 2, 3)[: 2 + len(factor)], dtype=torch.float64)
    results = [module(image) for module in (up, known)]
    torch.testing.assert_close(*results)
    for result in results:
        result.square().sum().backward()
    for found, expected in zip(up.parameters(), known.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_up_convolution_scatters_each_voxel_into_its_own_block():
    up = up_conv(1, 1, (1, 2), bias=False)
    with torch.no_grad():
        up.weight.copy_(torch.tensor([[[[10.0, 1.0]]]]))
    assert up(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 0].tolist() == [[10, 1, 20, 2], [30, 3, 40, 4]]


def test_double_convolution_sums_twice_over_its_neighbourhood():
    block = double_conv(1, 1, 1, dimensions=2, norm="none", padding="valid")
    for convolution in (block[0], block[2]):
        nn.init.ones_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    assert block(torch.ones(1, 1, 5, 5)).tolist() == [[[[81.0]]]]
    assert block(-torch.ones(1, 1, 5, 5)).tolist() == [[[[0.0]]]]


def test_dropout_is_there_only_where_asked_for():
    assert not any(
        isinstance(layer, nn.Dropout) for layer in double_conv(1, 1, 1, dimensions=2, norm="none", padding="same")
    )
    block = double_conv(1, 1, 1, dimensions=2, norm="none", padding="same", dropout=0.25)
    assert isinstance(block[-1], nn.Dropout)
    assert block[-1].p == 0.25


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (12, 4), (6, 2), (5, 1)])
def test_group_norm_has_as_many_of_8_groups_as_divide_the_channels(channels, groups):
    (layer,) = norm_layers("group", 3, channels)
    assert layer.num_groups == groups


def test_norms_have_scale_and_shift_and_none_is_no_layer():
    assert norm_layers("none", 2, 4) == []
    for norm in ("batch", "instance", "group"):
        (layer,) = norm_layers(norm, 2, 4)
        assert [tuple(parameter.shape) for parameter in layer.parameters()] == [(4,), (4,)]


def test_initial_weights_have_the_standard_deviation_of_he():
    torch.manual_seed(0)
    body, up, head = nn.Conv3d(16, 64, 3), nn.ConvTranspose2d(64, 64, 2, stride=2), nn.Conv2d(256, 64, 1)
    initialise(nn.Sequential(body, up, head), head)
    assert body.weight.std().item() == pytest.approx(math.sqrt(2 / (16 * 27)), rel=0.02)
    assert up.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.02)
    assert head.weight.std().item() == pytest.approx(math.sqrt(1 / 256), rel=0.02)
    assert all(not layer.bias.any() for layer in (body, up, head))
