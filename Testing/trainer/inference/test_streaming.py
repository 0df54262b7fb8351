"""Streaming equals the single pass, for every network and however it is cut."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch

from inference_networks import CPU, assert_same, random_image, random_network, single_pass
from unetseg.inference.fused import FusedUNet
from unetseg.inference.layout import Layout, align_up, padded_shape
from unetseg.inference.memory import Attempt
from unetseg.inference.predict import _compute
from unetseg.inference.streaming import Map, stream


def streamed(network, image, layout, *, first_slice=0):
    """The first slice and the probabilities from there on; checks order and progress on the way."""
    shares: list[float] = []
    slabs = list(
        stream(
            FusedUNet(network),
            image,
            layout,
            first_slice=first_slice,
            storage=CPU,
            compute=partial(_compute, Attempt(CPU, 0)),
            progress=shares.append,
        )
    )
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    for (start, slab), (following, _) in itertools.pairwise(slabs):
        assert start + slab.shape[1] == following
    return slabs[0][0], torch.cat([slab for _, slab in slabs], 1).softmax(0)


def steps_of(network, length, slices):
    """Per level at most the wanted slices, in whole windows of its pooling."""
    pools = [*(pooling[0] for pooling in network.pooling), 1]
    lengths = itertools.accumulate([length, *pools[:-1]], int.__floordiv__)
    wanted = zip(lengths, pools, itertools.cycle(slices), strict=False)
    return tuple(min(length, align_up(step, pool)) for length, pool, step in wanted)


POOLINGS_3D = [
    ((2, 2, 2), (2, 2, 2)),
    ((1, 2, 2), (2, 2, 2)),
    ((2, 1, 2), (4, 3, 1)),
    ((1, 2, 2), (1, 2, 2), (2, 2, 2)),
]
CUTS = [((4, 8), 0), ((4, 4), 1), ((8, 4), 3), ((12, 8), 2), ((99, 4), 1), ((4, 99), 0), ((2, 2), 1), ((4, 1), 0)]
"""Slices at a time on even and odd levels, and how many levels encode again for the skip connection."""


@pytest.mark.parametrize(("name", "arguments"), [("unet_3d", {}), ("attention_unet", {"dimensions": 3})])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("pooling", POOLINGS_3D)
@torch.inference_mode()
def test_slabs_in_3d_equal_the_single_pass(name, arguments, norm, pooling):
    network = random_network(name, norm=norm, pooling=pooling, **arguments)
    image = random_image(37, 17, 11)
    expected = single_pass(network, image)
    whole = padded_shape(network, image.shape[1:])
    for slices, recomputed in CUTS:
        layout = Layout(whole, steps_of(network, whole[0], slices), recomputed, 0)
        assert_same(streamed(network, image, layout)[1], expected)


@pytest.mark.parametrize(
    ("name", "arguments"), [("unet_2d", {"padding": "same"}), ("attention_unet", {"dimensions": 2})]
)
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("pooling", [((2, 2), (2, 2)), ((1, 2), (2, 3))])
@torch.inference_mode()
def test_batches_and_slabs_in_2d_equal_the_single_pass(name, arguments, norm, pooling):
    network = random_network(name, norm=norm, pooling=pooling, **arguments)
    image = random_image(5, 33, 21)
    expected = single_pass(network, image)
    _, height, width = padded_shape(network, image.shape[1:])
    for batch, slices, recomputed in ((1, (99, 99), 0), (2, (4, 8), 1), (5, (8, 4), 3)):
        layout = Layout((batch, height, width), steps_of(network, height, slices), recomputed, 0)
        assert_same(streamed(network, image, layout)[1], expected)


@pytest.mark.parametrize("tile", [(28, 16, 32), (8, 32, 12), (12, 8, 24), (20, 12, 12)])
@torch.inference_mode()
def test_tiles_with_their_receptive_field_equal_the_single_pass(tile):
    network = random_network("unet_3d", norm="batch", pooling=((2, 2, 2), (2, 2, 2)))
    image = random_image(25, 30, 21)
    assert_same(streamed(network, image, Layout(tile, (8, 4, 4), 1, 0))[1], single_pass(network, image))


@torch.inference_mode()
def test_tiles_of_slices_equal_the_single_pass():
    network = random_network("unet_2d", norm="none", pooling=((2, 2), (2, 2)), padding="same")
    image = random_image(3, 70, 90)
    assert_same(streamed(network, image, Layout((2, 32, 24), (16, 8, 8), 0, 0))[1], single_pass(network, image))


@pytest.mark.parametrize("first_slice", [1, 17, 36])
@torch.inference_mode()
def test_streaming_goes_on_from_any_slice(first_slice):
    network = random_network("attention_unet", norm="batch", pooling=((2, 2, 2), (1, 2, 2)), dimensions=3)
    image = random_image(37, 17, 11)
    layout = Layout((16, 20, 12), (4, 4, 4), 1, 0)
    start, probabilities = streamed(network, image, layout, first_slice=first_slice)
    assert first_slice - 2 < start <= first_slice
    assert_same(probabilities, single_pass(network, image)[:, start:])


def counted(made: list[tuple[int, int]], start: int, stop: int) -> torch.Tensor:
    """Slices that are their own numbers; ``made`` learns of the call."""
    made.append((start, stop))
    return torch.arange(start, stop).reshape(1, 1, -1)


def test_a_map_is_made_once_in_order_and_dropped_behind_its_slowest_reader():
    made: list[tuple[int, int]] = []
    alive: list[int] = []
    numbers = Map(partial(counted, made), 10, 4, readers=2, storage=CPU)
    for reader, start, stop in ((0, 0, 3), (0, 2, 7), (1, 0, 5), (0, 6, 10), (1, 4, 9), (1, 8, 10)):
        assert numbers.read(start, stop, reader=reader).flatten().tolist() == list(range(start, stop))
        alive.append(sum(piece.shape[2] for _, piece in numbers._pieces))
    assert made == [(0, 4), (4, 8), (8, 10)]
    assert alive == [4, 8, 8, 10, 6, 6]


def test_a_map_of_a_single_reader_keeps_no_more_than_was_read():
    made: list[tuple[int, int]] = []
    alive: list[int] = []
    numbers = Map(partial(counted, made), 12, 4, readers=1, storage=CPU, lead=1)
    for start, stop in ((0, 5), (3, 9), (7, 12)):
        assert numbers.read(start, stop).flatten().tolist() == list(range(start, stop))
        alive.append(sum(piece.shape[2] for _, piece in numbers._pieces))
    assert made == [(0, 5), (5, 9), (9, 12)]  # one slice more the first time
    assert alive == [5, 6, 5]
