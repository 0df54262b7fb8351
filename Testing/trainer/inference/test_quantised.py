"""The form in 8 bit computes what the network computes, to within its steps, and the same in any memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inference_networks import CPU, random_image, random_network, single_pass
from unetseg.errors import SettingsError
from unetseg.inference import Engine, predict, quantised
from unetseg.inference.calibration import calibrate
from unetseg.inference.fused import CHANNELS_LAST, Convolution, FusedUNet
from unetseg.inference.layout import OVERHEAD_BYTES, least_layout_bytes, plan_layout
from unetseg.inference.memory import Attempt
from unetseg.inference.precision import choose_precision
from unetseg.inference.quantised import (
    Int8Convolution,
    QuantisedUNet,
    RoundedConvolution,
    RoundedSum,
    activation_names,
    activations,
    is_available,
)

PATCH = (8, 8, 8)
NETWORKS = [
    ("unet_3d", ((2, 2, 2), (1, 2, 2))),
    ("unet_2d", ((2, 2), (3, 2))),
    ("attention_unet", ((1, 2, 2), (2, 2, 2), (2, 2, 2))),
]

needs_int8 = pytest.mark.skipif(not is_available(), reason="no convolution in 8 bit here")


def steps(largest: int, *shape: int) -> Tensor:
    values = torch.randint(0, largest + 1, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return values.contiguous(memory_format=CHANNELS_LAST[len(shape) - 2])


def layer(weight: Tensor, bias: Tensor | None = None) -> Convolution:
    axes = weight.dim() - 2
    padding = [size // 2 for size in weight.shape[2:]]
    return Convolution(weight, bias, padding=padding, stride=[1] * axes, relu=True)


@needs_int8
@pytest.mark.parametrize("shape", [(5, 4, 6), (7, 9)])
@torch.inference_mode()
def test_whole_numbers_are_convolved_exactly(shape):
    """Weights up to 127 are their own steps; here one step of the output is worth 60, one of the input 0.5."""
    weight = torch.randint(-20, 21, (3, 16, *[3] * len(shape))).float()
    weight[:, 0].flatten(1)[:, 0] = 127
    x, bias = steps(255, 1, 16, *shape), torch.tensor([5.0, -7.5, 0.0])
    given = layer(weight, bias)
    convolve = functional.conv3d if len(shape) == 3 else functional.conv2d
    exact = convolve(0.5 * x.double(), weight.double(), bias.double(), padding=1)
    as_float = Int8Convolution(given, 0.5, dtype=torch.float32)(x)
    torch.testing.assert_close(as_float.double(), exact, rtol=1e-6, atol=1e-3)
    rounded = Int8Convolution(given, 0.5, 60.0, dtype=torch.uint8)(x)
    assert rounded.dtype == torch.uint8
    assert rounded.is_contiguous(memory_format=CHANNELS_LAST[len(shape)])
    error = rounded.double() - (exact / 60).clamp(0, 255)
    assert error.abs().max() <= 0.5 + 1e-4
    assert (exact < 0).any(), "nothing to cut off"
    assert (exact > 255 * 60).any(), "nothing to cut off"


@needs_int8
@torch.inference_mode()
def test_weights_are_rounded_to_the_steps_of_their_channel():
    """A channel's small weights keep their digits beside another's large ones."""
    weight = torch.tensor([1000.0, 127 * 0.001]).reshape(2, 1, 1, 1, 1).repeat(1, 2, 1, 1, 1)
    weight[:, 1] *= torch.tensor([0.1, 10.4 / 127]).reshape(2, 1, 1, 1)
    x = torch.tensor([0, 1], dtype=torch.uint8).reshape(1, 2, 1, 1, 1)  # shows the second weight of both
    result = Int8Convolution(layer(weight), 1.0, dtype=torch.float32)(x).flatten()
    assert result.tolist() == pytest.approx([13 * 1000 / 127, 10 * 0.001])


@needs_int8
@torch.inference_mode()
def test_a_sum_is_rounded_to_the_nearest_step():
    """In steps of 2: 0.5 · 3 · 2 + total; what is below 0 or above 255 is cut off."""
    given = layer(torch.full((1, 1, 1, 1), 3.0))
    total = torch.tensor([0.0, 0.9, 1.1, -1.4, -1.6, -9.0, 252.9, 260.0])
    x = torch.full((1, 1, 2, 4), 2, dtype=torch.uint8)
    result = RoundedSum(given, 0.5, 2.0)(x, total=total.reshape(1, 1, 2, 4))
    assert result.flatten().tolist() == [2, 2, 3, 0, 0, 0, 254, 255]


@torch.inference_mode()
def test_the_image_is_convolved_in_float_and_rounded_to_the_nearest_step():
    given = layer(torch.full((1, 1, 1, 1, 1), 10.0), torch.tensor([1.0]))
    x = torch.tensor([-1.0, 0.0, 0.13, 0.25, 50.66, 60.0])
    assert RoundedConvolution(given, 2.0)(x.reshape(1, 1, 1, 2, 3)).flatten().tolist() == [0, 1, 1, 2, 254, 255]


@pytest.mark.parametrize("pooling", [(2, 2, 2), (1, 3, 2), (4, 1), (1, 1)])
@torch.inference_mode()
def test_pooling_takes_the_largest_of_a_window(pooling):
    name = f"unet_{len(pooling)}d"
    network = random_network(name, norm="batch", pooling=(pooling,))
    x = steps(255, 2, 3, *(3 * factor for factor in pooling))
    pool = functional.max_pool3d if len(pooling) == 3 else functional.max_pool2d
    pooled = QuantisedUNet.pool(FusedUNet(network), 0, x)
    assert pooled.dtype == torch.uint8
    assert torch.equal(pooled.float(), pool(x.float(), pooling))


@pytest.mark.parametrize(("name", "pooling"), NETWORKS)
@torch.inference_mode()
def test_every_activation_has_a_name(name, pooling):
    network = random_network(name, norm="batch", pooling=pooling)
    found = activations(FusedUNet(network))
    assert sorted(found) == sorted(activation_names(network))
    assert len(set(found.values())) == len(found)


@needs_int8
@pytest.mark.parametrize(("name", "pooling"), NETWORKS)
@torch.inference_mode()
def test_every_activation_is_off_by_a_few_steps_at_most(name, pooling):
    """At the borders, too, where an up-convolution's bias is not seen through all taps."""
    network = random_network(name, norm="batch", pooling=pooling)
    for up in getattr(network, "ups", ()):
        if up.bias is not None:
            torch.nn.init.constant_(up.bias, 1.0)
    image = torch.randn(1, 2, *(2 * size for size in network.size_multiple))
    image = image.contiguous(memory_format=CHANNELS_LAST[network.dimensions])
    exact = outputs(FusedUNet(network), image)
    ranges = {name: float(output.max()) for name, output in exact.items()}
    rounded = outputs(QuantisedUNet(network, ranges), image)
    for name in (name for name in exact if not name.startswith("gates")):  # theirs are rounded later
        error = rounded[name].float() - exact[name] * 255 / ranges[name]
        assert error.abs().max() < 12, name


def outputs(fused: FusedUNet, image: Tensor) -> dict[str, Tensor]:
    """Of each of the ``activations``, in one pass."""
    found: dict[str, Tensor] = {}
    for name, convolution in activations(fused).items():
        convolution.register_forward_hook(lambda _, __, output, name=name: found.update({name: output}))
    features = [encoded(fused, 0, image)]
    for level in range(fused.network.depth - 1):
        features.append(encoded(fused, level + 1, fused.pool(level, features[-1])))
    y = features.pop()
    while features:
        skip = features.pop()
        rows = slice(0, skip.shape[2])
        y = fused.finish(len(features), fused.join(len(features), skip, y, rows), rows)
    return found


def encoded(fused: FusedUNet, level: int, x: Tensor) -> Tensor:
    rows = slice(0, x.shape[2])
    return fused.encode(level, 1, fused.encode(level, 0, x, rows), rows)


def predicted(network, image, ranges, **options):
    engine = Engine(network, patch_size=PATCH, ranges=ranges)
    slabs = predict(engine, image, device=CPU, precision="int8", **options)
    return torch.cat([slab for _, slab in slabs], 1)


@needs_int8
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("name", "pooling"), NETWORKS)
def test_a_network_in_8_bit_is_the_network_rounded(name, norm, pooling):
    network, image = random_network(name, norm=norm, pooling=pooling), random_image(21, 26, 19)
    rounded = predicted(network, image, calibrate(network, [image]))
    expected = single_pass(network, image).softmax(0)
    assert 0 < (rounded - expected).abs().max() < 0.15
    assert (rounded - expected).abs().mean() < 0.01
    assert (rounded.argmax(0) == expected.argmax(0)).float().mean() > 0.97


@needs_int8
@pytest.mark.parametrize(("name", "pooling"), NETWORKS)
def test_any_memory_gives_the_same(name, pooling):
    """Sums are exact, and what is rounded before them is the same in all slabs; only the softmax is not."""
    network, image = random_network(name, norm="batch", pooling=pooling), random_image(64, 26, 19)
    ranges = dict.fromkeys(activation_names(network), 4.0)
    shape, roomy = (64, 26, 19), Attempt(CPU, 2**40, precision=torch.uint8)
    whole = predicted(network, image, ranges)
    least = least_layout_bytes(network, shape, roomy)
    most = plan_layout(network, shape, roomy).needed_bytes
    layouts = set()
    for share in (0.5, 0.2, 0.1, 0):
        budget = least + int(share * (most - least))
        layouts.add(plan_layout(network, shape, Attempt(CPU, budget, precision=torch.uint8)))
        assert (predicted(network, image, ranges, memory_bytes=budget) - whole).abs().max() < 1e-6
    assert len(layouts) >= 2


def test_maps_that_wait_take_a_quarter_of_the_memory_and_sums_all_of_it():
    network = random_network("unet_3d", norm="batch", pooling=((2, 2, 2), (2, 2, 2)))
    single, eight = (
        least_layout_bytes(network, (64, 64, 64), Attempt(CPU, 0, precision=kind)) - OVERHEAD_BYTES
        for kind in (torch.float32, torch.uint8)
    )
    assert 0.3 * single < eight < 0.9 * single


@pytest.mark.parametrize("error", [AttributeError("no qconv"), RuntimeError("schema"), TypeError("arguments")])
def test_without_the_operators_int8_is_not_available(monkeypatch, error):
    def missing(*arguments, **options):
        raise error

    monkeypatch.setattr(quantised, "Int8Convolution", missing)
    assert not is_available.__wrapped__()


@needs_int8
def test_sums_that_overflow_are_found(monkeypatch):
    given = Int8Convolution._convolve
    monkeypatch.setattr(
        Int8Convolution, "_convolve", lambda self, x, padding: (given(self, x, padding) * 0.9).to(torch.uint8)
    )
    assert not is_available.__wrapped__()


def test_int8_is_refused_where_it_cannot_be_had(monkeypatch):
    network = random_network("unet_3d", norm="batch", pooling=((2, 2, 2),))
    ranges = dict.fromkeys(activation_names(network), 1.0)
    monkeypatch.setattr("unetseg.inference.precision.is_available", lambda: True)
    assert choose_precision("int8", network, CPU, ranges) == torch.uint8
    with pytest.raises(SettingsError, match=r"int8 is for the CPU. Received: cuda:1. Choose another precision, or the"):
        choose_precision("int8", network, torch.device("cuda:1"), ranges)
    for wrong in (None, {}, {**ranges, "encoders.9.0": 1.0}):
        with pytest.raises(SettingsError, match=r"calibrated for it\. Run unetseg calibrate"):
            choose_precision("int8", network, CPU, wrong)
    with pytest.raises(SettingsError, match="batch norm or none"):
        choose_precision("int8", random_network("unet_3d", norm="instance", pooling=((2, 2, 2),)), CPU, ranges)
    monkeypatch.setattr("unetseg.inference.precision.is_available", lambda: False)
    with pytest.raises(SettingsError, match="no int8 for this processor"):
        choose_precision("int8", network, CPU, ranges)
