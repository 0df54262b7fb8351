"""Tiles, for networks that streaming cannot walk: with instance or group norm, or without padding.

Instance and group norm take their statistics from the tile. In training they took them from patches of the
plan's size, so tiles have just that size, however much memory there is: other tiles, or one pass over the
whole image, would be another network. Neighbours overlap by half and are blended with Gaussian weights
(nnU-Net, Isensee 2021).

Networks without padding see a margin around what they put out (the overlap-tile strategy of U-Net, Ronneberger
2015; beyond the image, its edge is repeated). Where they are local too, tiles need no overlap, may have any
size, and equal one pass over the whole image with its margin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..networks import UNet
from ..volume import Shape
from .layout import CPU_PASS_PIXELS, align_up, along_volume, estimated_bytes, pass_floats, size_multiple
from .memory import Attempt, too_little_memory
from .streaming import Compute, Slab

OVERLAP = 0.5
WEIGHT_STD = 1 / 8
"""Standard deviation of the Gaussian weight, as a share of the tile's length (nnU-Net)."""


@dataclass(frozen=True)
class TilePlan:
    """Tiles of one image, along D, H, W; for a network in 2D, a tile is a batch of slices along D.

    Attributes:
        size: voxels that the network sees.
        output: voxels that it puts out, in the middle of ``size``.
        starts: where the outputs begin in the image; the last ones may reach beyond its far edges.
        blended: Gaussian weights where outputs overlap, instead of equal ones.
        needed_bytes: the estimated peak on the device, without the network.
    """

    size: Shape
    output: Shape
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    blended: bool
    needed_bytes: int


def plan_tiles(network: UNet, shape: Shape, attempt: Attempt, *, patch_size: Shape) -> TilePlan:
    """The tiles for an image of ``shape`` (d, h, w) within the attempt's budget.

    Raises:
        MemoryLimitError: not even the smallest tiles fit.
    """
    for plan in _tile_plans(network, shape, attempt, patch_size):
        if plan.needed_bytes <= attempt.budget_bytes:
            return plan
    raise too_little_memory(attempt, least_tile_bytes(network, shape, attempt, patch_size=patch_size))


def least_tile_bytes(network: UNet, shape: Shape, attempt: Attempt, *, patch_size: Shape) -> int:
    """What the smallest tiles take on the attempt's device."""
    return min(plan.needed_bytes for plan in _tile_plans(network, shape, attempt, patch_size))


def _tile_plans(network: UNet, shape: Shape, attempt: Attempt, patch_size: Shape) -> Iterator[TilePlan]:
    """Plans with less and less memory: fewer slices at a time in 2D; then, for local networks, smaller tiles."""
    first_axis = 3 - network.dimensions
    if network.is_local_in_eval:
        size = _size_for_output(network, shape[first_axis:])
    else:
        size = network.nearest_valid_size(patch_size[first_axis:])
    slices = 1
    if network.dimensions == 2:
        slices = shape[0] if attempt.device.type != "cpu" else max(1, CPU_PASS_PIXELS // math.prod(size))
        slices = min(slices, shape[0])
    while slices > 1:
        yield _tile_plan(network, shape, attempt, along_volume(network, size, slices))
        slices //= 2
    yield _tile_plan(network, shape, attempt, along_volume(network, size, 1))
    while network.is_local_in_eval:
        output = network.output_size(size)
        smaller = _size_for_output(network, [max(output) // 2 if each == max(output) else each for each in output])
        if smaller == size:
            return
        size = smaller
        yield _tile_plan(network, shape, attempt, along_volume(network, size, 1))


def _size_for_output(network: UNet, wanted: Sequence[int]) -> tuple[int, ...]:
    """The smallest size that fits and puts out ``wanted`` voxels, and a window of the pooling at least."""
    smallest = network.nearest_valid_size([1] * network.dimensions)
    sizes = zip(wanted, smallest, network.output_size(smallest), network.size_multiple, strict=True)
    return tuple(least + align_up(max(want, step, out) - out, step) for want, least, out, step in sizes)


def _tile_plan(network: UNet, shape: Shape, attempt: Attempt, size: Shape) -> TilePlan:
    output = along_volume(network, network.output_size(size[3 - network.dimensions :]), size[0])
    starts = [
        _aligned_starts(length, out, step)
        if network.is_local_in_eval or (axis == 0 and network.dimensions == 2)
        else _spread_starts(length, out)
        for axis, (length, out, step) in enumerate(zip(shape, output, size_multiple(network), strict=True))
    ]
    floats = pass_floats(network, size)
    if not attempt.offload:
        floats += (2 * network.classes + 1) * output[0] * math.prod(shape[1:])
    return TilePlan(
        size, output, (starts[0], starts[1], starts[2]), not network.is_local_in_eval, estimated_bytes(floats)
    )


def _aligned_starts(length: int, output: int, multiple: int) -> tuple[int, ...]:
    """Side by side, on the grid of the pooling: the same windows as in one pass over everything."""
    return tuple(range(0, length, output // multiple * multiple))


def _spread_starts(length: int, output: int) -> tuple[int, ...]:
    """Evenly from edge to edge, overlapping by at least half."""
    last = max(0, length - output)
    intervals = math.ceil(last / (output * (1 - OVERLAP)))
    return tuple(round(last * index / intervals) for index in range(intervals + 1)) if intervals else (0,)


def run_tiles(
    network: UNet,
    image: Tensor,
    plan: TilePlan,
    *,
    first_slice: int,
    storage: torch.device,
    compute: Compute,
    progress: Callable[[float], None],
) -> Iterator[Slab]:
    """Logits of an image (C, d, h, w), slab by slab from ``first_slice`` (or some slices before it) to the end.

    ``progress`` is told the share of these slices that is done.
    """
    shape = image.shape[1:]
    weight = _weight(plan).to(storage)
    rows = [start for start in plan.starts[0] if start + plan.output[0] > first_slice]
    in_plane = list(itertools.product(*plan.starts[1:]))
    total = torch.zeros(network.classes, plan.output[0], *shape[1:], device=storage)
    weights = torch.zeros(plan.output[0], *shape[1:], device=storage)
    for row, (start, following) in enumerate(zip(rows, [*rows[1:], shape[0]], strict=True)):
        for column, (h, w) in enumerate(in_plane):
            logits = _tile_logits(network, image, plan, (start, h, w), compute).to(storage)
            inside = logits[:, :, : shape[1] - h, : shape[2] - w]
            part = (slice(h, h + inside.shape[2]), slice(w, w + inside.shape[3]))
            share = weight[:, : inside.shape[2], : inside.shape[3]]
            total[(slice(None), slice(None), *part)] += inside * share
            weights[(slice(None), *part)] += share
            progress((row + (column + 1) / len(in_plane)) / len(rows))
        done = following - start
        yield start, total[:, :done] / weights[:done]
        total = _moved_up(total, done, axis=1)
        weights = _moved_up(weights, done, axis=0)


def _moved_up(sums: Tensor, slices: int, *, axis: int) -> Tensor:
    """Without the first ``slices`` along the axis, and as many zeros behind."""
    moved = torch.zeros_like(sums)
    left = sums.shape[axis] - slices
    moved.narrow(axis, 0, left).copy_(sums.narrow(axis, slices, left))
    return moved


def _tile_logits(network: UNet, image: Tensor, plan: TilePlan, start: Sequence[int], compute: Compute) -> Tensor:
    """Logits (K, d, h, w) of the tile whose output begins at ``start``; beyond the image its edge is repeated."""
    tile = image
    for axis, (first, size, output) in enumerate(zip(start, plan.size, plan.output, strict=True)):
        begin = first - (size - output) // 2
        indices = torch.arange(begin, begin + size, device=image.device).clamp(0, image.shape[axis + 1] - 1)
        tile = tile.index_select(axis + 1, indices)
    if network.dimensions == 2:
        return compute(network, tile.transpose(0, 1)).transpose(0, 1).float()
    return compute(network, tile[None])[0].float()


def _weight(plan: TilePlan) -> Tensor:
    """How much each voxel of an output counts, (d, h, w), at most 1."""
    weight = torch.ones(())
    for output, starts in zip(plan.output, plan.starts, strict=True):
        place = torch.arange(output) - (output - 1) / 2
        gaussian = torch.exp(-0.5 * (place / (WEIGHT_STD * output)) ** 2)
        blended = plan.blended and any(after - before < output for before, after in itertools.pairwise(starts))
        weight = weight[..., None] * (gaussian if blended else torch.ones(output))
    return weight
