from __future__ import annotations

import torch
from torch import nn

from unetseg.networks import UNet3d


def paper(**arguments):
    with torch.device("meta"):
        return UNet3d(in_channels=3, classes=3, **arguments)


def test_the_drawn_network_has_19_069_955_parameters_and_4_672_in_its_norms():
    network = paper()
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm3d)]
    in_norms = sum(parameter.numel() for layer in norms for parameter in layer.parameters())
    total = sum(parameter.numel() for parameter in network.parameters())
    assert in_norms == 4_672
    assert total - in_norms == 19_069_955


def test_up_convolutions_have_no_bias_and_keep_their_channels():
    assert [(up.in_channels, up.out_channels, up.bias) for up in paper().ups] == [
        (128, 128, None), (256, 256, None), (512, 512, None),
    ]  # fmt: skip


def test_channels_double_before_pooling():
    channels = [(block[0].in_channels, block[0].out_channels, block[3].out_channels) for block in paper().encoders]
    assert channels == [(3, 32, 64), (64, 64, 128), (128, 128, 256), (256, 256, 512)]
    channels = [(block[0].in_channels, block[0].out_channels, block[3].out_channels) for block in paper().decoders]
    assert channels == [(192, 64, 64), (384, 128, 128), (768, 256, 256)]


def test_without_padding_132_132_116_becomes_44_44_28():
    network = paper(padding="valid")
    assert network.output_size((116, 132, 132)) == (28, 44, 44)
    assert network(torch.empty(1, 3, 116, 132, 132, device="meta")).shape == (1, 3, 28, 44, 44)


def test_a_norm_stands_before_each_relu():
    for block in [*paper().encoders, *paper().decoders]:
        assert [type(layer) for layer in block] == [nn.Conv3d, nn.BatchNorm3d, nn.ReLU] * 2


def test_a_level_that_does_not_pool_along_d_keeps_its_slices():
    network = UNet3d(in_channels=1, classes=2, base_channels=2, depth=3, pooling=[[1, 2, 2], [1, 2, 2]])
    assert network.size_multiple == (1, 4, 4)
    assert [tuple(features.shape[2:]) for features in network.encode(torch.zeros(1, 1, 5, 8, 12))] == [
        (5, 8, 12), (5, 4, 6), (5, 2, 3),
    ]  # fmt: skip
    assert network(torch.zeros(1, 1, 5, 8, 12)).shape == (1, 2, 5, 8, 12)
