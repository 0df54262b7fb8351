from __future__ import annotations

import pytest
import torch
from torch import nn

from unetseg.networks import UNet2d


def paper(**arguments):
    with torch.device("meta"):
        return UNet2d(in_channels=1, classes=2, **arguments)


def test_the_drawn_network_has_31_030_658_parameters():
    assert sum(parameter.numel() for parameter in paper().parameters()) == 31_030_658


def test_without_padding_572_becomes_388():
    network = paper(padding="valid")
    assert network.output_size((572, 572)) == (388, 388)
    assert network(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)


def test_with_padding_the_size_is_kept():
    assert paper()(torch.empty(1, 1, 256, 48, device="meta")).shape == (1, 2, 256, 48)


def test_channels_double_on_the_way_down_and_halve_in_the_up_convolutions():
    network = paper()
    assert [encoder[0].out_channels for encoder in network.encoders] == [64, 128, 256, 512, 1024]
    assert [(up.in_channels, up.out_channels) for up in network.ups] == [(128, 64), (256, 128), (512, 256), (1024, 512)]
    assert all(up.kernel_size == up.stride == (2, 2) and up.bias is not None for up in network.ups)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_without_padding_the_result_is_the_inner_part_of_the_padded_one():
    """Depth 2, where both pool the same pairs of pixels: the crop of the skip must be the centred one."""
    torch.manual_seed(0)
    valid = UNet2d(in_channels=1, classes=2, base_channels=4, depth=2, padding="valid")
    same = UNet2d(in_channels=1, classes=2, base_channels=4, depth=2)
    same.load_state_dict(valid.state_dict())
    image = torch.randn(1, 1, 28, 32)
    inner = valid(image)
    assert inner.shape[2:] == (12, 16)
    torch.testing.assert_close(inner, same(image)[..., 8:-8, 8:-8])


def test_dropout_acts_in_training_at_the_end_of_the_contracting_path_only():
    torch.manual_seed(0)
    network = UNet2d(in_channels=1, classes=2, base_channels=4, depth=3, dropout=0.5)
    assert [isinstance(encoder[-1], nn.Dropout) for encoder in network.encoders] == [False, False, True]
    image = torch.randn(1, 1, 16, 16)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_a_norm_stands_before_each_relu(norm):
    block = UNet2d(in_channels=1, classes=2, base_channels=4, depth=2, norm=norm).encoders[1]
    assert [isinstance(layer, nn.ReLU) for layer in block] == [False, False, True, False, False, True]
