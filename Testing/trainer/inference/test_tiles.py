"""Blended tiles give back what they were cut from; those of networks without padding equal the single pass."""

from __future__ import annotations

import math

import pytest
import torch

from inference_networks import CPU, assert_same, random_image, random_network, single_pass
from unetseg.errors import MemoryLimitError
from unetseg.inference import Engine, predict
from unetseg.inference.memory import Attempt
from unetseg.inference.tiles import TilePlan, _spread_starts, least_tile_bytes, plan_tiles, run_tiles
from unetseg.volume import Shape

POOLING_3D = ((2, 2, 2), (2, 2, 2))
POOLING_2D = ((2, 2), (2, 2))
PLENTY = Attempt(CPU, 2**40)


def through(network, image, plan: TilePlan, *, compute, first_slice=0):
    shares: list[float] = []
    slabs = list(
        run_tiles(network, image, plan, first_slice=first_slice, storage=CPU, compute=compute, progress=shares.append)
    )
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    return slabs[0][0], torch.cat([slab for _, slab in slabs], 1)


def identity(network, tile):
    return tile


@pytest.mark.parametrize("image", [torch.full((2, 21, 19, 30), 3.25), random_image(21, 19, 30), random_image(5, 40, 7)])
@pytest.mark.parametrize("patch_size", [(8, 8, 8), (16, 12, 8), (24, 40, 32)])
def test_blended_tiles_of_an_identity_give_the_image_back(image, patch_size: Shape):
    network = random_network("unet_3d", norm="instance", pooling=POOLING_3D, classes=2)
    plan = plan_tiles(network, tuple(image.shape[1:]), PLENTY, patch_size=patch_size)
    _, result = through(network, image, plan, compute=identity)
    assert torch.allclose(result, image, rtol=1e-5, atol=1e-6)


def test_tiles_overlap_by_half_at_least_and_end_at_the_edge():
    assert _spread_starts(5, 8) == (0,)
    assert _spread_starts(8, 8) == (0,)
    assert _spread_starts(9, 8) == (0, 1)
    assert _spread_starts(21, 8) == (0, 3, 6, 10, 13)


def test_the_middle_of_a_tile_counts_most():
    """Two tiles along W put out 0 and 1: where they overlap, the nearer centre prevails."""
    network = random_network("unet_3d", norm="group", pooling=POOLING_3D, classes=2)
    plan = plan_tiles(network, (8, 8, 12), PLENTY, patch_size=(8, 8, 8))
    assert plan.starts == ((0,), (0,), (0, 4))
    values = iter([0.0, 1.0])
    _, result = through(network, random_image(8, 8, 12), plan, compute=lambda _, tile: tile * 0 + next(values))
    row = result[0, 0, 0]
    assert torch.equal(row[:4], torch.zeros(4))
    assert torch.equal(row[8:], torch.ones(4))
    assert row[5] == pytest.approx(1 / (1 + math.exp(2)))  # σ is 1 voxel; the centres are 1.5 and 2.5 away
    assert row[6] == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize("norm", ["instance", "group"])
@torch.inference_mode()
def test_a_network_with_instance_or_group_norm_sees_patches_of_the_plan_whatever_the_memory(norm):
    """An image of the patch's size is one plain pass; a larger one is not, however much memory there is."""
    network = random_network("unet_3d", norm=norm, pooling=POOLING_3D)
    image = random_image(16, 12, 8)

    def predicted(image):
        engine = Engine(network, patch_size=(16, 12, 8))
        return torch.cat([slab for _, slab in predict(engine, image, device=CPU)], 1)

    assert_same(predicted(image), network(image[None])[0])
    larger = random_image(32, 24, 16)
    assert (predicted(larger) - network(larger[None])[0].softmax(0)).abs().max() > 1e-3


@torch.inference_mode()
def test_slices_are_tiles_that_do_not_overlap():
    network = random_network("unet_2d", norm="instance", pooling=POOLING_2D, padding="same")
    image = random_image(5, 16, 20)
    result = torch.cat([slab for _, slab in predict(Engine(network, patch_size=(1, 16, 20)), image, device=CPU)], 1)
    assert_same(result, single_pass(network, image))


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(
    ("name", "pooling", "shape"),
    [("unet_2d", ((2, 2),) * 3, (3, 45, 30)), ("unet_3d", ((1, 2, 2), (2, 2, 2)), (5, 10, 9))],
)
@torch.inference_mode()
def test_tiles_without_padding_equal_the_single_pass(name, pooling, norm, shape):
    network = random_network(name, norm=norm, pooling=pooling, padding="valid")
    image = random_image(*shape)
    expected = single_pass(network, image)
    whole = plan_tiles(network, shape, PLENTY, patch_size=shape)
    least = least_tile_bytes(network, shape, PLENTY, patch_size=shape)
    smallest = plan_tiles(network, shape, Attempt(CPU, least), patch_size=shape)
    assert len(smallest.starts[2]) > 1
    for plan in (whole, smallest):
        _, logits = through(network, image, plan, compute=lambda function, tile: function(tile))
        assert_same(logits.softmax(0), expected)


@torch.inference_mode()
def test_tiles_go_on_from_any_slice():
    network = random_network("unet_3d", norm="instance", pooling=POOLING_3D)
    image = random_image(30, 8, 8)
    plan = plan_tiles(network, (30, 8, 8), PLENTY, patch_size=(8, 8, 8))
    _, whole = through(network, image, plan, compute=lambda function, tile: function(tile))
    start, rest = through(network, image, plan, compute=lambda function, tile: function(tile), first_slice=17)
    assert start <= 17
    assert torch.allclose(rest[:, 17 - start :], whole[:, 17:], atol=1e-5)


def test_tiles_that_do_not_fit_are_refused():
    network = random_network("unet_3d", norm="instance", pooling=POOLING_3D)
    with pytest.raises(MemoryLimitError, match=r"needs at least .* GB on cpu"):
        plan_tiles(network, (30, 30, 30), Attempt(CPU, 1000), patch_size=(8, 8, 8))
