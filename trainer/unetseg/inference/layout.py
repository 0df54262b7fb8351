"""How a volume is cut for exact streaming: the fastest way that fits into the memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..networks import AttentionUNet, UNet
from ..volume import Shape
from .devices import GIB
from .memory import Attempt, too_little_memory
from .winograd import LENGTHS, workspace_values

FLOAT_BYTES = torch.float32.itemsize
OVERHEAD_BYTES = 128 * 2**20
CPU_LAYER_FLOP = 2e11
"""One layer of a slab on two CPU cores then takes about a second, the longest that cancelling should wait."""
CPU_PASS_PIXELS = 2**20
SLAB_SLICES = (256, 128, 64, 32, 16, 8, 4, 2)
CPU_CALL_MACS, ACCELERATOR_CALL_MACS = 2e7, 5e9
"""Multiply-adds for which one call of a convolution takes as long as for its own overhead."""
KERNEL_MACS = 1000
"""The same for each of its weights, which each call brings into the layout that it computes in."""
SPARE_COSTS = (1.03, 1.15)
"""Of the layouts that cost up to 3 % more than the cheapest, the one with the least memory is taken. Where that is more
than 1 GiB, up to 15 % are spent on saving memory."""


@dataclass(frozen=True)
class Layout:
    """How one volume (d, h, w) is cut.

    Attributes:
        tile: voxels computed together along each axis, halo excluded; for a network in 2D, the first is the
            number of slices in a pass. Elsewhere a multiple of the size multiple.
        steps: per level, how many slices along the network's first axis are computed at a time: all of them, or
            whole windows of the level's pooling.
        recomputed: levels 0 … recomputed - 1 compute their encoder features again for the skip connection
            instead of keeping them.
        needed_bytes: the estimated peak on the device, without the network.
    """

    tile: Shape
    steps: tuple[int, ...]
    recomputed: int
    needed_bytes: int


def align_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple


def size_multiple(network: UNet) -> Shape:
    """The size multiple along D, H, W: 1 along D for a network in 2D."""
    return along_volume(network, network.size_multiple, 1)


def padded_shape(network: UNet, shape: Sequence[int]) -> Shape:
    """``shape`` (d, h, w) grown to the size multiple."""
    d, h, w = (align_up(size, multiple) for size, multiple in zip(shape, size_multiple(network), strict=True))
    return d, h, w


def receptive_halo(network: UNet) -> Shape:
    """Voxels along D, H, W beyond a tile that its output depends on, as multiples of the size multiple."""
    reaches = [align_up(_reach(network, axis), multiple) for axis, multiple in enumerate(network.size_multiple)]
    return along_volume(network, reaches, 0)


def _reach(network: UNet, axis: int, level: int = 0, beyond: int = 0) -> int:
    """Voxels beyond an aligned border of ``level``'s input on which its decoded map up to ``beyond`` depends."""
    if level < len(network.pooling):
        pool = network.pooling[level][axis]
        deeper = align_up(beyond, pool) // pool + network.decode_margin[level][axis]
        beyond = pool * _reach(network, axis, level + 1, deeper)
    return beyond + network.encoder_radius


def encoder_macs(network: UNet) -> list[int]:
    """Multiply-adds of a voxel in each level's encoder; the decoder of the level does about twice as many."""
    tensors = [itertools.chain(block.parameters(), block.buffers()) for block in network.encoders]
    return [sum(tensor.numel() for tensor in each if tensor.dim() > 1) for each in tensors]


def _convolutions(block: nn.Module) -> list[nn.Conv2d | nn.Conv3d]:
    return [layer for layer in block.modules() if isinstance(layer, (nn.Conv2d, nn.Conv3d))]


def estimated_bytes(values: int, precision: torch.dtype = torch.float32) -> int:
    """Memory for so many values, with what was measured beside them: allocators' gaps, reordered weights."""
    return int(1.15 * precision.itemsize * values) + OVERHEAD_BYTES


def pass_floats(network: UNet, size: Shape) -> int:
    """Floats alive at once in one plain pass over (d, h, w) voxels: the widest layers of level 0, and all skips."""
    channels = [_convolutions(block)[-1].out_channels for block in network.encoders]
    voxels = math.prod(size)
    floats = voxels * (4 * channels[0] + 2 * channels[1])
    for width, pooling in zip(channels, [*network.pooling, (1,)], strict=True):
        floats += voxels * width
        voxels //= math.prod(pooling)
    return floats


def along_volume(network: UNet, values: Sequence[int], along_slices: int) -> Shape:
    """The network's per-axis ``values`` along D, H, W; a network in 2D has ``along_slices`` along D."""
    d, h, w = (along_slices, *values) if network.dimensions == 2 else values
    return d, h, w


def plan_layout(network: UNet, shape: Shape, attempt: Attempt) -> Layout:
    """The fastest layout for an image of ``shape`` (d, h, w) within the attempt's budget.

    Raises:
        MemoryLimitError: not even the smallest piece fits.
    """
    for tile in _tiles(network, shape, attempt):
        costs = _Costs(network, shape, tile, attempt)
        fitting = [layout for layout in costs.layouts() if layout.needed_bytes <= attempt.budget_bytes]
        if fitting:
            work = {layout: costs.work(layout) for layout in fitting}
            fewest = min(work.values())
            near = [[layout for layout in fitting if work[layout] <= spare * fewest] for spare in SPARE_COSTS]
            chosen = [min(layouts, key=_memory) for layouts in near]
            return chosen[0] if chosen[0].needed_bytes <= GIB else chosen[1]
    raise too_little_memory(attempt, least_layout_bytes(network, shape, attempt))


def least_layout_bytes(network: UNet, shape: Shape, attempt: Attempt) -> int:
    """What the smallest layout takes on the attempt's device."""
    tiles = _tiles(network, shape, attempt)
    return min(layout.needed_bytes for tile in tiles for layout in _Costs(network, shape, tile, attempt).layouts())


def _memory(layout: Layout) -> int:
    return layout.needed_bytes


def _tiles(network: UNet, shape: Shape, attempt: Attempt) -> Iterator[Shape]:
    """Tiles from the whole volume down to the size multiple."""
    multiple = size_multiple(network)
    d, h, w = padded_shape(network, shape)
    if network.dimensions == 2:
        if attempt.device.type == "cpu":
            d = min(d, max(1, CPU_PASS_PIXELS // (h * w)))
        while d > 1:
            yield d, h, w
            d //= 2
    yield d, h, w
    if network.dimensions == 3:  # tiles in the plane are joined to whole slices, which must fit as well
        fitting = attempt.budget_bytes // 4 // (network.classes * h * w * FLOAT_BYTES)
        d = min(d, max(multiple[0], fitting // multiple[0] * multiple[0]))
    while h > multiple[1] or w > multiple[2]:
        if (h >= w and h > multiple[1]) or w == multiple[2]:
            h = align_up(h // 2, multiple[1])
        else:
            w = align_up(w // 2, multiple[2])
        yield d, h, w
    while d > multiple[0]:
        d = align_up(d // 2, multiple[0])
        yield d, h, w


class _Costs:
    """Memory and arithmetic of the layouts of one tile size. Indices are levels."""

    def __init__(self, network: UNet, shape: Shape, tile: Shape, attempt: Attempt) -> None:
        self.network = network
        self.tile = tile
        self.attempt = attempt
        padded = padded_shape(network, shape)
        halo = receptive_halo(network)
        box = [min(p, t + 2 * h if t < p else p) for p, t, h in zip(padded, tile, halo, strict=True)]
        self.assembled = tile[1:] != padded[1:]
        self.plane_voxels = padded[1] * padded[2]
        batch, sizes = (box[0], box[1:]) if network.dimensions == 2 else (1, box)
        self.pools = [pooling[0] for pooling in network.pooling]
        self.lengths, self.areas = [sizes[0]], [batch * math.prod(sizes[1:])]
        for pooling in network.pooling:
            self.lengths.append(self.lengths[-1] // pooling[0])
            self.areas.append(self.areas[-1] // math.prod(pooling[1:]))
        self.encoders = [_convolutions(block) for block in network.encoders]
        self.channels = [block[-1].out_channels for block in self.encoders]
        self.bottom = len(self.pools)
        self.decoders = [self._decoder_macs(level) for level in range(self.bottom)]

    def _decoder_macs(self, level: int) -> tuple[int, int]:
        """Multiply-adds of a voxel in a decoder's first and second convolution, as ``FusedUNet`` computes them."""
        first, second = _convolutions(self.network.decoders[level])
        if isinstance(self.network, AttentionUNet):
            return first.weight.numel(), second.weight.numel()
        of_skip = first.weight.numel() // first.in_channels * self.channels[level]
        taps = math.prod(3 if factor == 1 else 2 for factor in self.network.pooling[level])
        return of_skip + first.out_channels * self.channels[level + 1] * taps, second.weight.numel()

    def layouts(self) -> Iterator[Layout]:
        for first, least in itertools.product(SLAB_SLICES, SLAB_SLICES):
            wanted = [max(least, first // math.prod(self.pools[:level])) for level in range(1, self.bottom + 1)]
            steps = [self._step(level, slices) for level, slices in enumerate([first, *wanted])]
            for recomputed in range(self.bottom + 1):
                yield Layout(self.tile, tuple(steps), recomputed, self._needed_bytes(steps, recomputed))

    def _step(self, level: int, slices: int) -> int:
        """At most ``slices``, few enough to be computed soon, and whole windows of the pooling."""
        if self.attempt.device.type == "cpu":
            layer_macs = 3**self.network.dimensions * self.channels[level] ** 2
            slices = min(slices, max(8, int(CPU_LAYER_FLOP / (2 * self.areas[level] * layer_macs))))
        if level < self.bottom:
            slices = align_up(slices, self.pools[level])
        return min(slices, self.lengths[level])

    def work(self, layout: Layout) -> float:
        """Multiply-adds of one tile, with what its calls cost."""
        total = 0.0
        call_macs = CPU_CALL_MACS if self.attempt.device.type == "cpu" else ACCELERATOR_CALL_MACS
        for level, (area, length) in enumerate(zip(self.areas, self.lengths, strict=True)):
            each = [layer.weight.numel() for layer in self.encoders[level]]
            if level < min(layout.recomputed, self.bottom):
                each *= 2
            if level < self.bottom:
                each += self.decoders[level]
            calls = -(-length // layout.steps[level])
            total += sum(each) * (area * length + KERNEL_MACS * calls) + len(each) * call_macs * calls
        return total

    def _window(self, level: int) -> int:
        """Slices of the skip that a decoder reads beyond those that it makes, on one side."""
        return self.pools[level] * (1 + self.network.join_margin[level][0])

    def _needed_bytes(self, steps: Sequence[int], recomputed: int) -> int:
        stored = 0 if self.attempt.offload else self._stored_values(steps, recomputed)
        largest = max(self._working_values(level, step) for level, step in enumerate(steps))
        # In 2D the first axis is the rows', which are joined to whole slices where maps are stored.
        rows = self.lengths[0] if self.network.dimensions == 2 and not self.attempt.offload else steps[0]
        slab = 4 * self.network.classes * rows * self.areas[0]  # logits, probabilities and their temporaries
        whole = self.network.classes * self.tile[0] * self.plane_voxels if self.assembled else 0
        if self.attempt.precision == torch.uint8:  # maps within a level are sums in float
            largest *= FLOAT_BYTES
        if self.attempt.precision in LENGTHS and self.attempt.device.type == "cpu":
            largest += max(map(self._workspace, range(self.bottom + 1), steps))
        return estimated_bytes(stored + largest, self.attempt.precision) + FLOAT_BYTES * (slab + whole)

    def _workspace(self, level: int, step: int) -> int:
        return workspace_values(self.channels[level], self.areas[level], step, self.attempt.precision)

    def _working_values(self, level: int, step: int) -> int:
        """Of a convolution: what was waiting, joined with what is new, and the output; of a join also its parts."""
        width = self.encoders[level][0].out_channels
        encoding = self.areas[level] * (2 * (step + 1) * width + step * self.channels[level])
        if level == self.bottom:
            return encoding
        beyond = self._window(level)
        joining = self.areas[level] * (3 * step + 2 * beyond) * self.channels[level]
        deeper = (step + 2 * beyond) // self.pools[level] * self.areas[level + 1] * self.channels[level + 1]
        if isinstance(self.network, AttentionUNet):  # the gated skip, and the deeper map at this resolution
            wide = self.channels[level] + self.channels[level + 1]
            joining += self.areas[level] * (step + 2 * beyond) * wide
        return max(encoding, joining + deeper)

    def _stored_values(self, steps: Sequence[int], recomputed: int) -> int:
        """Maps that wait for their readers: never more slices than from the decoder's place to the encoder's."""
        total = 0
        beyond = 0  # how far past what is decoded of a level its input has been read
        for level in range(self.bottom, -1, -1):
            length, step, width = self.lengths[level], steps[level], self.channels[level]
            entering = steps[level - 1] // self.pools[level - 1] if level else step
            mixed, first = (self.encoders[level][0].out_channels, self.encoders[level][0].in_channels)
            slices = mixed * min(length, step + 2)
            if level == self.bottom:
                slices += width * min(length, step + entering + 2)
                ahead = step
            else:
                window = self._window(level)
                ahead = 3 * step + 2 + window + self.pools[level] * beyond
                slices += width * min(length, step + 2)  # joined
                slices += width * min(length, step + entering + 2) if level else 0
                again = level < recomputed
                held = 2 * (step + window) if again else ahead + window
                slices += width * min(length, held)
                slices += mixed * min(length, step + 2) + width * min(length, step) if again else 0
            beyond = ahead + step + 1 + entering
            behind = beyond if level < min(recomputed, self.bottom) else step + 2
            total += self.areas[level] * (slices + first * min(length, behind + entering))
        return total
