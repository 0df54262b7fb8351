from __future__ import annotations

import pytest
import torch

from unetseg.errors import ImageError
from unetseg.networks import UNet2d, UNet3d


def small_2d(**arguments):
    return UNet2d(in_channels=1, classes=2, base_channels=2, **arguments)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((1, 1), (16, 16)), ((16, 24), (16, 32)), ((23, 25), (16, 32)), ((256, 250), (256, 256)), ((8, 7), (16, 16))],
)
def test_nearest_size_with_padding_is_a_multiple(size, nearest):
    assert small_2d(depth=5).nearest_valid_size(size) == nearest


@pytest.mark.parametrize(
    ("size", "nearest"), [((572, 572), (572, 572)), ((580, 579), (588, 572)), ((1, 190), (188, 188))]
)
def test_nearest_size_without_padding(size, nearest):
    assert small_2d(depth=5, padding="valid").nearest_valid_size(size) == nearest


def test_smallest_size_without_padding_leaves_at_least_one_voxel_and_the_next_smaller_none():
    network = small_2d(depth=5, padding="valid")
    (smallest, _) = network.nearest_valid_size((1, 1))
    assert network.output_size((smallest,))[0] > 0
    assert network.output_size((smallest - 16,))[0] <= 0


def test_anisotropic_pooling_has_its_own_multiple_per_axis():
    network = UNet3d(in_channels=1, classes=2, base_channels=2, depth=3, pooling=[[1, 2, 2], [2, 2, 3]])
    assert network.size_multiple == (2, 4, 6)
    assert network.nearest_valid_size((7, 9, 8)) == (8, 8, 6)
    assert network(torch.zeros(1, 1, 2, 8, 6)).shape == (1, 2, 2, 8, 6)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_size_that_does_not_fit_is_refused_with_the_nearest_one(padding):
    network = small_2d(depth=3, padding=padding)
    with pytest.raises(ImageError) as caught:
        network(torch.zeros(1, 1, 50, 61))
    nearest = network.nearest_valid_size((50, 61))
    assert f"nearest valid size is {nearest}" in str(caught.value)
    assert network(torch.zeros(1, 1, *nearest)).shape[2:] == network.output_size(nearest)


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 1, 8), (1, 1, 8, 8, 8)])
def test_wrong_channels_or_axes_are_refused(shape):
    with pytest.raises(ImageError, match=r"\(N, 1, H, W\)"):
        small_2d(depth=2)(torch.zeros(shape))


def test_norms_refuse_the_variance_of_a_single_value():
    one_voxel = torch.zeros(1, 1, 4, 4)
    for norm in ("instance", "batch"):
        with pytest.raises(ImageError, match="more than one voxel"):
            small_2d(depth=3, norm=norm)(one_voxel)
    assert small_2d(depth=3, norm="batch").eval()(one_voxel).isfinite().all()
    assert small_2d(depth=3, norm="batch")(torch.zeros(2, 1, 4, 4)).isfinite().all()
    assert small_2d(depth=3, norm="instance")(torch.zeros(1, 1, 4, 8)).isfinite().all()


def test_a_network_is_local_without_norm_and_with_batch_norm_in_eval():
    assert small_2d(norm="none").is_local
    assert not small_2d(norm="batch").is_local
    assert small_2d(norm="batch").eval().is_local
    assert not small_2d(norm="instance").eval().is_local
    assert not small_2d(norm="group").eval().is_local


def test_frozen_batch_norm_is_local_while_training():
    network = small_2d(norm="batch").train()
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in layers:
        layer.eval()
    assert network.is_local
    layers[3].train()
    assert not network.is_local
