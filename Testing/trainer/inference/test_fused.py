"""The fast form computes what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inference_networks import random_network
from unetseg.inference import fused
from unetseg.inference.composite import composed
from unetseg.inference.fused import Composite, Convolution, FusedUNet, fold

CUTS = [(False, False), (True, False), (False, True), (True, True)]


@pytest.fixture(params=[True, False], ids=["oneDNN", "torch"])
def onednn(request, monkeypatch):
    if request.param and not fused.ONEDNN:
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(fused, "ONEDNN", request.param)


def convolution(layer: nn.Conv2d | nn.Conv3d, *, relu: bool = False) -> Convolution:
    return Convolution(layer.weight, layer.bias, padding=layer.padding, stride=layer.stride, relu=relu)


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
def test_a_convolution_is_the_layer_s_and_channels_last(layer, onednn):
    image = torch.randn(2, layer.in_channels, *([6, 8, 10][: layer.weight.dim() - 2]))
    last = fused.CHANNELS_LAST[layer.weight.dim() - 2]
    image = image.contiguous(memory_format=last)
    result = convolution(layer)(image)
    torch.testing.assert_close(result, layer(image))
    assert result.is_contiguous(memory_format=last)
    torch.testing.assert_close(convolution(layer, relu=True)(image), layer(image).relu())


@pytest.mark.parametrize("cut", CUTS)
@torch.inference_mode()
def test_a_cut_side_is_not_padded(cut):
    layer = nn.Conv3d(2, 3, 3, padding=1)
    whole = torch.randn(1, 2, 9, 5, 4)
    rows = slice(3 if cut[0] else 0, 7 if cut[1] else 9)
    expected = layer(whole)[:, :, rows.start + cut[0] : rows.stop - cut[1]]
    torch.testing.assert_close(convolution(layer)(whole[:, :, rows], cut), expected)


@torch.inference_mode()
def test_a_total_is_added_before_the_relu():
    layer, image = nn.Conv2d(1, 1, 1), torch.tensor([[[[1.0, -2.0]]]])
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    result = convolution(layer, relu=True)(image, total=torch.tensor([[[[-0.5, 3.0]]]]))
    assert result.tolist() == [[[[0.5, 1.0]]]]


FACTORS = [(2, 2, 2), (1, 2, 2), (3, 1, 2), (4, 2, 1), (2, 2), (1, 3)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("coarse", [(5, 3, 2), (5, 1, 1)])
@torch.inference_mode()
def test_the_composite_is_both_convolutions_on_every_slab(factor, bias, coarse, onednn):
    """Borders and corners included, where the bias of the up-convolution is not seen through all taps."""
    dimensions = len(factor)
    up = (nn.ConvTranspose3d if dimensions == 3 else nn.ConvTranspose2d)(3, 2, factor, stride=factor, bias=bias)
    layer = (nn.Conv3d if dimensions == 3 else nn.Conv2d)(2, 4, 3, padding=1)
    composite = Composite(up, layer.weight, layer.bias)
    below = torch.randn(2, 3, *coarse[:dimensions])
    expected = layer(up(below))
    for first, last in ((0, 5), (1, 5), (0, 4), (1, 4)):
        cut, fine = (first > 0, last < 5), factor[0] * (last - first)
        within_reach = slice(max(1, factor[0] - 1) if cut[0] else 0, fine - max(1, factor[0] - 1) if cut[1] else fine)
        result = composite(below[:, :, first:last], within_reach, cut)
        start = factor[0] * first
        torch.testing.assert_close(
            result, expected[:, :, start + within_reach.start : start + within_reach.stop], msg=f"{cut} {within_reach}"
        )


@pytest.mark.parametrize("factor", FACTORS)
def test_the_common_kernel_has_the_gradients_of_both_also_after_inference(factor):
    kernel = torch.randn((4, 2, *[3] * len(factor)), dtype=torch.float64, requires_grad=True)
    up = torch.randn((3, 2, *factor), dtype=torch.float64, requires_grad=True)
    with torch.inference_mode():
        composed(kernel, up)
    assert torch.autograd.gradcheck(composed, (kernel, up))


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("unet_3d", ((2, 2, 2), (1, 2, 2))), ("unet_2d", ((2, 2), (2, 2))), ("attention_unet", ((1, 2, 2), (2, 2, 2)))],
)
@torch.inference_mode()
def test_folding_changes_nothing_but_the_layers(name, pooling):
    network = random_network(name, norm="batch", pooling=pooling)
    image = torch.randn(1, 2, *([4, 8, 12][3 - network.dimensions :]))
    folded = fold(network)
    torch.testing.assert_close(folded(image), network(image))
    kinds = {type(module) for module in folded.modules()}
    assert not kinds & {nn.BatchNorm2d, nn.BatchNorm3d, nn.ReLU, nn.Conv2d, nn.Conv3d}


@torch.inference_mode()
def test_norms_of_the_image_s_own_statistics_stay():
    network = random_network("unet_3d", norm="instance", pooling=((2, 2, 2),))
    image = torch.randn(1, 2, 4, 8, 12)
    torch.testing.assert_close(fold(network)(image), network(image))


@pytest.mark.parametrize("rows", [slice(0, 8), slice(2, 6), slice(0, 4), slice(4, 8), slice(1, 7)])
@torch.inference_mode()
def test_rows_are_those_of_the_whole(rows):
    network = random_network("unet_3d", norm="batch", pooling=((2, 2, 2),))
    fast, everything = FusedUNet(network), slice(0, 8)
    image = torch.randn(1, 2, 8, 4, 6)
    between = fast.encode(0, 0, image, everything)
    skip, deeper = network.encode(image)
    torch.testing.assert_close(fast.encode(0, 1, between, everything), skip)
    joined = fast.join(0, skip, deeper, everything)
    torch.testing.assert_close(fast.finish(0, joined, everything), network.decode(0, skip, deeper))
    torch.testing.assert_close(fast.encode(0, 0, image, rows), between[:, :, rows])
    torch.testing.assert_close(fast.encode(0, 1, between, rows), skip[:, :, rows])
    torch.testing.assert_close(fast.join(0, skip, deeper, rows), joined[:, :, rows])


@torch.inference_mode()
def test_sixteen_bit_rounds_and_no_more():
    network = random_network("unet_3d", norm="batch", pooling=((2, 2, 2),))
    image = torch.randn(1, 2, 8, 8, 8)
    result = fold(network).to(torch.bfloat16)(image.bfloat16()).float()
    assert (result - network(image)).abs().max() < 0.03 * network(image).abs().max()
