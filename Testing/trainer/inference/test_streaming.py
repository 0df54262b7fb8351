"""Streaming equals the single pass, for every network and however it is cut."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from unetseg.inference.layout import Layout, padded_shape
from unetseg.inference.memory import Attempt
from unetseg.inference.predict import _compute
from unetseg.inference.streaming import stream
from unetseg.networks import UNet, build

CPU = torch.device("cpu")
COMPUTE = Attempt(CPU, 0)


def random_network(name: str, norm: str, pooling, **arguments) -> UNet:
    """A small network with random weights, gates that depend on the input, and unlike batch statistics."""
    torch.manual_seed(0)
    network = build(
        name, in_channels=2, classes=3, base_channels=4, norm=norm, pooling=pooling, depth=len(pooling) + 1, **arguments
    )
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.normal_(module.bias, 0, 0.2) if module.bias is not None else None
    for gate in getattr(network, "gates", nn.ModuleDict()).values():
        nn.init.normal_(gate.psi.weight)
        nn.init.zeros_(gate.psi.bias)
    return network.eval()


def single_pass(network: UNet, image: Tensor) -> Tensor:
    """Logits (K, d, h, w) of one pass over the whole image, padded by edge replication."""
    sizes = image.shape[1:]
    after = [p - s for p, s in zip(padded_shape(network, sizes), sizes, strict=True)]
    pad = [value for amount in reversed(after) for value in (0, amount)]
    padded = functional.pad(image[None], pad, mode="replicate")[0]
    logits = network(padded.transpose(0, 1)).transpose(0, 1) if network.dimensions == 2 else network(padded[None])[0]
    return logits[:, : sizes[0], : sizes[1], : sizes[2]]


def streamed(network: UNet, image: Tensor, layout: Layout, *, first_slice: int = 0) -> tuple[int, Tensor]:
    shares: list[float] = []
    slabs = list(
        stream(
            network,
            image,
            layout,
            first_slice=first_slice,
            storage=CPU,
            compute=lambda function, *tensors: _compute(COMPUTE, function, *tensors),
            progress=shares.append,
        )
    )
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1, abs=1e-3)
    for (start, slab), (following, _) in itertools.pairwise(slabs):
        assert start + slab.shape[1] == following
    return slabs[0][0], torch.cat([slab for _, slab in slabs], 1)


def assert_same(logits: Tensor, expected: Tensor) -> None:
    assert logits.shape == expected.shape
    assert (logits.softmax(0) - expected.softmax(0)).abs().max() < 1e-5
    assert torch.equal(logits.argmax(0), expected.argmax(0))


NETWORKS_3D = [("unet_3d", {}), ("attention_unet", {"dimensions": 3})]
POOLINGS_3D = [((2, 2, 2),) * 2, ((1, 2, 2), (2, 2, 2)), ((2, 1, 2), (4, 3, 1)), ((1, 2, 2), (1, 2, 2), (2, 2, 2))]


@pytest.mark.parametrize(("name", "arguments"), NETWORKS_3D)
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("pooling", POOLINGS_3D)
@torch.inference_mode()
def test_slabs_in_3d_equal_the_single_pass(name, arguments, norm, pooling):
    network = random_network(name, norm, pooling, **arguments)
    image = torch.randn(2, 37, 17, 11, generator=torch.Generator().manual_seed(1))
    expected = single_pass(network, image)
    whole = padded_shape(network, image.shape[1:])
    for slices, recomputed in ((4, 0), (4, 1), (8, len(pooling)), (12, 2), (99, 1)):
        steps = [min(whole[0], slices)]
        for level in range(len(pooling)):
            length = whole[0]
            for each in pooling[: level + 1]:
                length //= each[0]
            steps.append(min(length, 4 if level % 2 else 8))
        assert_same(streamed(network, image, Layout(whole, tuple(steps), recomputed, 0))[1], expected)
