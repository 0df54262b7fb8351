"""What every entry of the table of networks must do, in every number of dimensions it can be built in."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from unetseg import losses
from unetseg.errors import SettingsError
from unetseg.networks import NETWORKS, PRESETS, build, preset_arguments

VARIANTS = [(name, dimensions) for name, network in NETWORKS.items() for dimensions in network.supported_dimensions]
NORMS = ["none", "batch", "instance", "group"]


def small(name, dimensions, *, in_channels=2, classes=3, **arguments):
    """Four channels, three levels, deterministic; random running statistics and gates, as after training."""
    torch.manual_seed(0)
    extra = {"dimensions": dimensions} if len(NETWORKS[name].supported_dimensions) > 1 else {}
    arguments = {"base_channels": 4, "depth": 3} | extra | arguments
    network = build(name, in_channels=in_channels, classes=classes, **arguments)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if hasattr(module, "psi"):
            nn.init.normal_(module.psi.weight)
    return network.eval()


def image_for(network, *blocks, samples=1):
    size = [block * multiple for block, multiple in zip(blocks, network.size_multiple, strict=False)]
    return torch.randn(samples, network.in_channels, *size)


def walk(network, x):
    """The level-wise walk as inference does it."""
    features = [network.encoders[0](x)]
    for pool, encoder in zip(network.pools, list(network.encoders)[1:], strict=True):
        features.append(encoder(pool(features[-1])))
    y = features[-1]
    for level in reversed(range(len(features) - 1)):
        y = network.decode(level, features[level], y)
    return network.head(y)


@pytest.fixture(params=VARIANTS, ids=lambda variant: f"{variant[0]}-{variant[1]}d")
def variant(request):
    return request.param


@pytest.mark.parametrize("norm", NORMS)
def test_logits_for_any_channels_and_classes(variant, norm):
    network = small(*variant, in_channels=3, classes=5, norm=norm)
    logits = network(image_for(network, 3, 2, 4, samples=2))
    assert logits.shape == (2, 5, *image_for(network, 3, 2, 4).shape[2:])
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert 1e-3 < logits.std() < 1e2


def test_single_input_and_class(variant):
    network = small(*variant, in_channels=1, classes=1)
    assert network(image_for(network, 2, 2, 2)).shape[1] == 1


def test_level_wise_walk_is_the_forward_pass(variant):
    network = small(*variant, norm="batch")
    image = image_for(network, 2, 3, 2)
    assert torch.equal(walk(network, image), network(image))


def test_every_level_uses_its_skip_and_the_deeper_features(variant):
    network = small(*variant)
    features = network.encode(image_for(network, 2, 2, 2))
    deeper = features[2]
    for level in (1, 0):
        decoded = network.decode(level, features[level], deeper)
        assert not torch.equal(decoded, network.decode(level, 2 * features[level], deeper))
        assert not torch.equal(decoded, network.decode(level, features[level], 2 * deeper))
        deeper = decoded


def test_interface_of_the_levels(variant):
    name, dimensions = variant
    network = small(name, dimensions)
    assert network.dimensions == dimensions
    assert (network.in_channels, network.classes, network.padding) == (2, 3, "same")
    assert network.pooling == ((2,) * dimensions,) * 2
    assert (len(network.encoders), len(network.pools)) == (3, 2)
    assert network.size_multiple == (4,) * dimensions
    assert [len(margins) for margins in network.decode_margin] == [dimensions] * 2


def cut(tensor, axis, start, stop):
    start, stop = max(start, 0), min(stop, tensor.shape[axis])
    return tensor.narrow(axis, start, stop - start), start


@pytest.mark.parametrize(
    ("name", "dimensions", "axis"),
    [(name, dimensions, axis) for name, dimensions in VARIANTS for axis in range(dimensions)],
)
@pytest.mark.parametrize("first", [1, 2, 3])
def test_slabs_with_the_stated_margins_are_exact(name, dimensions, axis, first):
    """Every level computed slab by slab gives what the whole gives: halo of the encoder, margin of decode."""
    pooling = [[2] * dimensions, [2] * dimensions]
    pooling[0][axis] = first
    network = small(name, dimensions, norm="batch", pooling=pooling)
    blocks = [2] * dimensions
    blocks[axis] = 6
    with torch.no_grad():
        features = network.encode(image_for(network, *blocks))
        _check_encoder(network, features, axis + 2)
        deeper = features[2]
        for level in (1, 0):
            whole = network.decode(level, features[level], deeper)
            _check_decoder(network, level, features[level], deeper, whole, axis + 2)
            deeper = whole


def _check_encoder(network, features, axis):
    pooled = network.pools[0](features[0])
    part, start = cut(pooled, axis, 3 - network.encoder_radius, 6 + network.encoder_radius)
    slab = network.encoders[1](part).narrow(axis, 3 - start, 3)
    torch.testing.assert_close(slab, features[1].narrow(axis, 3, 3), atol=1e-5, rtol=1e-5)


def _check_decoder(network, level, skip, deeper, whole, axis):
    factor, margin = network.pooling[level][axis - 2], network.decode_margin[level][axis - 2]
    for a in range(0, deeper.shape[axis], 3):
        b = min(a + 3, deeper.shape[axis])
        part, start = cut(deeper, axis, a - margin, b + margin)
        skip_part, _ = cut(skip, axis, factor * (a - margin), factor * (b + margin))
        slab = network.decode(level, skip_part, part).narrow(axis, factor * (a - start), factor * (b - a))
        expected = whole.narrow(axis, factor * a, factor * (b - a))
        torch.testing.assert_close(slab, expected, atol=1e-5, rtol=1e-5)


def test_one_voxel_changes_the_output_only_within_the_receptive_field(variant):
    network = small(*variant, norm="batch", in_channels=1)
    image = image_for(network, *(20, 1, 1) if network.dimensions == 3 else (20, 1))
    place = image.shape[2] // 2
    changed = image.clone()
    changed[:, :, place] += 10
    with torch.no_grad():
        difference = (network(changed) - network(image)).abs().amax(dim=(0, 1, *range(3, image.ndim)))
    low, high = _reach(network, place)
    assert 0 < low < high < len(difference) - 1
    assert difference[place] > 0
    assert not difference[:low].any()
    assert not difference[high + 1 :].any()


def _reach(network, place):
    """First and last voxel along axis 0 that may change with the voxel ``place``."""
    radius, reached, low, high = network.encoder_radius, [], place, place
    for level in range(network.depth):
        if level > 0:
            low, high = low // network.pooling[level - 1][0], high // network.pooling[level - 1][0]
        low, high = low - radius, high + radius
        reached.append((low, high))
    for level in reversed(range(network.depth - 1)):
        factor, margin = network.pooling[level][0], network.decode_margin[level][0]
        low = factor * (min(low, reached[level][0] // factor) - margin)
        high = factor * (max(high, reached[level][1] // factor) + margin + 1) - 1
    return low, high


def test_a_sample_does_not_depend_on_its_batch_in_eval(variant):
    network = small(*variant, norm="batch")
    image = image_for(network, 2, 2, 2, samples=3)
    torch.testing.assert_close(network(image)[1:2], network(image[1:2]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_every_parameter_takes_part_in_training(variant, norm):
    network = small(*variant, norm=norm).train()
    network(image_for(network, 2, 2, 2, samples=2)).square().mean().backward()
    unused = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
    # A norm takes out the bias before it, and psi's bias may act through nothing else.
    assert not [name for name in unused if not name.endswith("bias")]


@pytest.mark.parametrize("norm", NORMS)
def test_a_few_steps_on_a_labelled_strip_learn_it(variant, norm):
    network = small(*variant, in_channels=1, classes=2, base_channels=8, norm=norm).train()
    image = 0.3 * image_for(network, 2, 3, 2)
    truth = torch.zeros(image.shape[2:], dtype=torch.int64)
    truth[(slice(2, 6),) * network.dimensions] = 1
    image[0, 0] += 2.0 * truth
    weight = torch.zeros(truth.shape)
    weight[3:5] = 1
    loss, optimiser = losses.build("dice_cross_entropy"), torch.optim.AdamW(network.parameters(), lr=2e-3)
    values = []
    for _ in range(25):
        optimiser.zero_grad()
        values.append(loss(network(image), truth[None], weight[None]))
        values[-1].backward()
        optimiser.step()
    assert values[-1] < 0.4 * values[0]


def test_the_input_is_not_changed(variant):
    network = small(*variant)
    image = image_for(network, 2, 2, 2)
    before = image.clone()
    network(image)
    assert torch.equal(image, before)


def test_channels_last_gives_the_same(variant):
    network = small(*variant, norm="batch")
    image = image_for(network, 2, 2, 2)
    expected = network(image)
    layout = torch.channels_last if network.dimensions == 2 else torch.channels_last_3d
    torch.testing.assert_close(
        network.to(memory_format=layout)(image.to(memory_format=layout)), expected, atol=1e-5, rtol=1e-4
    )


def test_bfloat16_autocast_runs_and_agrees_roughly(variant):
    network = small(*variant, norm="batch")
    image = image_for(network, 2, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(image).float()
    expected = network(image)
    assert (logits - expected).abs().max() < 0.1 * expected.abs().max()


def test_same_seed_same_weights(variant):
    first, second = small(*variant).state_dict(), small(*variant).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_two_weights_share_memory(variant):
    tensors = small(*variant, norm="batch").state_dict().values()
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_on_the_meta_device_a_network_has_shapes_but_no_memory(name, monkeypatch):
    """And draws no random numbers, for which torch would load its compiler."""
    monkeypatch.setattr(nn.init, "normal_", lambda *args, **kwargs: pytest.fail("drew weights without memory"))
    with torch.device("meta"):
        network = build(name, in_channels=1, classes=2)
    assert all(tensor.is_meta for tensor in network.state_dict().values())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("preset", ["compact", "paper"])
def test_presets_are_json_and_build(name, preset):
    arguments = json.loads(json.dumps(preset_arguments(name, preset)))
    with torch.device("meta"):
        network = build(name, in_channels=1, classes=3, **arguments)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count > 5e6 if preset == "paper" else 1e6 <= count <= 5e6


def test_every_network_has_its_presets():
    assert PRESETS.keys() == NETWORKS.keys()
    assert all(set(presets) == {"compact", "paper"} for presets in PRESETS.values())


def test_unknown_names_list_the_known_ones_and_suggest():
    with pytest.raises(SettingsError, match=r"attention_unet, unet_2d, unet_3d.*Did you mean unet_3d\?"):
        build("unet3d", in_channels=1, classes=2)
    with pytest.raises(SettingsError, match=r"Did you mean base_channels\?"):
        build("unet_3d", in_channels=1, classes=2, base_chanels=8)
    with pytest.raises(SettingsError, match=r"compact, paper.*Did you mean compact\?"):
        preset_arguments("unet_3d", "compat")


def test_preset_arguments_are_a_copy():
    preset_arguments("unet_3d", "compact")["base_channels"] = 99
    assert preset_arguments("unet_3d", "compact")["base_channels"] == 8
