"""The pass for the labelled voxels is compared with the whole pass: logits and every gradient."""

import copy

import numpy as np
import pytest
import torch

from unetseg import networks
from unetseg.config import TrainingSettings
from unetseg.data.batches import Batch
from unetseg.errors import ImageError
from unetseg.inference import ONEDNN, winograd
from unetseg.losses import DiceCrossEntropy
from unetseg.training import boxes, joined, targeted
from unetseg.training.state import TrainingState
from unetseg.training.step import set_training_mode, training_step
from unetseg.training.targeted import targeted_logits

NETWORKS = {
    "unet_3d": ("unet_3d", (24, 20, 24), {"base_channels": 1, "depth": 3}),
    "unet_3d, deeper": ("unet_3d", (40, 16, 16), {"base_channels": 1, "depth": 4}),
    "unet_3d, thick slices": (
        "unet_3d",
        (10, 24, 20),
        {"base_channels": 1, "depth": 3, "pooling": ((1, 2, 2), (2, 3, 2))},
    ),
    "unet_3d without norm": ("unet_3d", (16, 12, 20), {"base_channels": 1, "depth": 3, "norm": "none"}),
    "unet_2d": ("unet_2d", (64, 72), {"base_channels": 2, "depth": 4, "norm": "batch"}),
    "attention_unet": ("attention_unet", (24, 16, 16), {"base_channels": 2, "depth": 3}),
    "attention_unet, thick slices": (
        "attention_unet",
        (10, 12, 24),
        {"base_channels": 1, "depth": 4, "pooling": ((1, 2, 2), (1, 1, 3), (2, 3, 1))},
    ),
}


@pytest.fixture(autouse=True)
def cheap_boxes(monkeypatch):
    """The patches of these tests are so small that in a training they would hardly be cut."""
    monkeypatch.setattr(boxes, "VOXELS_PER_BOX", 200)
    monkeypatch.setattr(boxes, "SMALL_BOX_VOXELS", 800)


def network_and_size(name: str, **changes) -> tuple[networks.UNet, tuple[int, ...]]:
    """In float64, with statistics and gates as a training leaves them, in the mode of retraining."""
    torch.manual_seed(0)
    kind, size, arguments = NETWORKS[name]
    network = networks.build(kind, in_channels=2, classes=3, **(arguments | changes)).double()
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.2 * torch.rand_like(tensor) - (0.1 if tensor.dim() > 1 else 0.0))
    set_training_mode(network, freeze_statistics=True)
    return network, size


def image_for(weight: torch.Tensor) -> torch.Tensor:
    samples, *size = weight.shape
    return torch.randn((samples, 2, *size), dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def labelled_planes(size, *samples) -> torch.Tensor:
    """Weights (N, *size) of 1 on the planes (axis, index) of each sample."""
    weight = torch.zeros((len(samples), *size))
    for sample, planes in zip(weight, samples, strict=True):
        for axis, index in planes:
            sample.select(axis, index).fill_(1.0)
    return weight


def gradients(network, logits, factors) -> list[torch.Tensor]:
    """Of a loss that is not linear and different at each voxel; ``factors`` are 0 where nothing is labelled."""
    network.zero_grad()
    (logits**2 * factors[:, None]).sum().backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def assert_equal_to_the_whole_pass(network, weight, *, tolerance=1e-10):
    """Returns the share of the batch's voxels whose logits were computed."""
    image = image_for(weight).to(next(network.parameters()).dtype)
    places = torch.arange(weight.numel()).reshape(weight.shape)
    factors = (1.5 + torch.sin(places.double())) * (weight > 0)
    logits, region = targeted_logits(network, image, weight)
    assert sorted(region.of(places)[region.of(weight) > 0].tolist()) == places[weight > 0].tolist()
    whole = network(image)
    for channel in range(3):
        torch.testing.assert_close(logits[:, channel], region.of(whole[:, channel]), rtol=tolerance, atol=tolerance)
    expected = gradients(network, whole, factors)
    for found, wanted in zip(gradients(network, logits, region.of(factors)), expected, strict=True):
        # A bias in front of a norm has no gradient but the rounding of terms that cancel.
        assert float((found - wanted).abs().max()) <= tolerance * (1e-2 + float(wanted.abs().max()))
    return region.of(places).numel() / places.numel()


@pytest.mark.parametrize("name", NETWORKS)
def test_one_plane_across_each_axis_at_both_borders_and_inside(name):
    network, size = network_and_size(name)
    for axis, length in enumerate(size):
        weight = labelled_planes(size, *([(axis, index)] for index in (0, length // 2 - 1, length - 1)))
        assert assert_equal_to_the_whole_pass(network, weight) == pytest.approx(1 / length)


@pytest.mark.parametrize("name", NETWORKS)
def test_several_planes_other_ones_in_each_sample(name):
    network, size = network_and_size(name)
    last = len(size) - 1
    samples = ([(0, 1), (0, size[0] - 3)], [(last, size[last] // 2)], [])
    assert assert_equal_to_the_whole_pass(network, labelled_planes(size, *samples)) < 0.7


@pytest.mark.parametrize("name", NETWORKS)
def test_any_scattered_voxels(name):
    network, size = network_and_size(name)
    generator = np.random.default_rng(2)
    for share in (0.0005, 0.005):
        weight = torch.from_numpy((generator.random((2, *size)) < share).astype(np.float32))
        weight[0, (3,) * len(size)] = 0.5
        assert_equal_to_the_whole_pass(network, weight)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_comes_from_below_is_never_made_where_that_pays(name, monkeypatch):
    """By which way a level is computed changes nothing; the networks whose up-sampling is not linear have one way."""
    network, size = network_and_size(name)
    weight = labelled_planes(size, [(0, 0), (len(size) - 1, size[-1] // 2)], [(0, size[0] - 1)])
    calls = []
    add = targeted.add_from_below
    monkeypatch.setattr(targeted, "add_from_below", lambda *of: calls.append(1) or add(*of))
    for least, all_levels in ((10**9, 0), (0, network.depth - 1 if name.startswith("unet_3d") else 0)):
        calls.clear()
        monkeypatch.setattr(joined, "LEAST_VOXELS_PER_CHANNEL", least)
        assert_equal_to_the_whole_pass(network, weight)
        assert (len(calls) >= all_levels) if all_levels else not calls


def test_planes_that_cross_on_all_axes_are_cut_out_of_a_patch():
    arguments = {"base_channels": 1, "depth": 3}
    network = networks.build("unet_3d", in_channels=2, classes=3, **arguments).double()
    set_training_mode(network, freeze_statistics=True)
    weight = labelled_planes((32, 36, 40), [(0, 20), (1, 30), (2, 15)])
    share = assert_equal_to_the_whole_pass(network, weight)
    assert share == pytest.approx(float(weight.mean()))  # exactly the three planes


def test_a_single_sample_in_float32_has_the_same_gradients():
    network, size = network_and_size("unet_3d")
    weight = labelled_planes(size, [(1, 9)])
    assert assert_equal_to_the_whole_pass(network.float(), weight, tolerance=2e-5) < 0.1


def test_wide_layers_have_the_same_gradients(monkeypatch):
    """The ones that save multiplications, and the first one, of a single channel."""
    calls = []
    monkeypatch.setattr(winograd, "CALL_MACS", 0)
    monkeypatch.setattr(winograd, "convolve", lambda *of, do=winograd.convolve: calls.append(1) or do(*of))
    torch.manual_seed(0)
    network = networks.build("unet_3d", in_channels=1, classes=3, base_channels=32, depth=2)
    set_training_mode(network, freeze_statistics=True)
    exact = copy.deepcopy(network).double()
    weight = labelled_planes((12, 16, 14), [(1, 9), (0, 0)])
    image = image_for(weight)[:, :1]
    logits, region = targeted_logits(network, image.float(), weight)
    expected = gradients(exact, exact(image), weight)
    for found, wanted in zip(gradients(network, logits, region.of(weight)), expected, strict=True):
        assert float((found - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())
    assert len(calls) > 3 or not ONEDNN


def test_low_precision_is_kept():
    network, size = network_and_size("unet_3d")
    weight = labelled_planes(size, [(0, 9)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, _ = targeted_logits(network.float(), image_for(weight).float(), weight)
    assert logits.dtype == torch.bfloat16


@pytest.mark.parametrize("weight", [torch.ones((2, 24, 20, 24)), torch.zeros((2, 24, 20, 24))])
def test_where_all_or_nothing_is_labelled_the_whole_batch_is_computed(weight):
    network, _ = network_and_size("unet_3d")
    assert assert_equal_to_the_whole_pass(network, weight) == 1.0


@pytest.mark.parametrize(("changes", "frozen"), [({}, False), ({"norm": "instance"}, True), ({"norm": "group"}, True)])
def test_a_network_that_mixes_in_what_is_far_away_computes_the_whole_batch(changes, frozen):
    network, size = network_and_size("unet_3d", **changes)
    set_training_mode(network, freeze_statistics=frozen)
    assert assert_equal_to_the_whole_pass(network, labelled_planes(size, [(0, 3)])) == 1.0


def test_a_module_that_is_no_unet_computes_the_whole_batch():
    weight = labelled_planes((4, 5), [(0, 3)])
    assert assert_equal_to_the_whole_pass(torch.nn.Conv2d(2, 3, 1).double(), weight) == 1.0


def test_an_image_that_does_not_fit_is_refused_as_by_the_network():
    network, _ = network_and_size("unet_3d")
    weight = labelled_planes((24, 20, 23), [(0, 3)])
    with pytest.raises(ImageError, match="multiple of"):
        targeted_logits(network, image_for(weight), weight)


@pytest.mark.parametrize("samples", [1, 2])
def test_a_retraining_step_changes_the_weights_as_one_with_all_logits_does(samples, monkeypatch):
    weight = labelled_planes((24, 20, 24), *[[(0, 5 + sample), (2, 7)] for sample in range(samples)])
    target = torch.randint(3, weight.shape, generator=torch.Generator().manual_seed(3))
    batch = Batch(image_for(weight).float(), target, weight)
    results = []
    for local in (True, False):
        network, _ = network_and_size("unet_3d")
        monkeypatch.setattr(type(network), "is_local", local)
        settings = TrainingSettings(iterations=1)
        state = TrainingState(network.float(), settings=settings)
        options = {"learning_rate": 0.01, "precision": torch.float32, "freeze_statistics": True}
        loss = training_step(state, batch, DiceCrossEntropy(), settings=settings, **options).loss
        results.append((loss, [tensor["exp_avg"] for tensor in state.optimiser.state.values()]))
    (loss, momentum), (loss_of_all, momentum_of_all) = results
    assert loss == pytest.approx(loss_of_all, rel=1e-5)
    for found, wanted in zip(momentum, momentum_of_all, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
