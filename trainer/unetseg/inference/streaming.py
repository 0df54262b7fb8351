"""Exact streaming of a network whose output at a voxel depends only on its receptive field.

The network runs convolution by convolution in slabs along its first axis. Each one's map is made in order, from as much
of the one before as it needs, and dropped once nobody needs it: every voxel is computed once, and memory follows the
cross-section and the receptive field, not the length of the volume. Zeros are padded only at the volume's true borders
(``fused``). The result equals one pass over the whole padded volume.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ..networks import UNet
from .fused import FusedUNet
from .layout import Layout, align_up, encoder_macs, padded_shape, receptive_halo, size_multiple

Slab = tuple[int, Tensor]
"""The index of the first slice and, for it and those after it, what was computed: (K, s, h, w)."""
Make = Callable[[int, int], Tensor]
"""Gives the slices [start, stop) along the first axis, as (N, C, stop - start, …)."""
Compute = Callable[..., Tensor]
"""``compute(function, *tensors)`` calls the function with the tensors on the device, in its precision."""


class Map:
    """The slices of a map, made in order when first read and dropped when every reader has passed.

    Args:
        make: gives the slices [start, stop) as a tensor (N, C, stop - start, …).
        length: slices in all.
        step: slices made at a time, but ``lead`` more the first time: the one that a slab of the next convolution sees
            beyond its own. So what is read ends where a slab of the map does, and no coarse slice is convolved again
            for the fine ones that it makes together with the one before it.
        readers: how many parts of the network read it, each from front to back.
        storage: where the slices wait for their readers.
    """

    def __init__(
        self, make: Make, length: int, step: int, *, readers: int, storage: torch.device, lead: int = 0
    ) -> None:
        self._make = make
        self._length = length
        self._step = step
        self._lead = lead
        self._positions = [0] * readers
        self._storage = storage
        self._made = 0
        self._pieces: deque[Slab] = deque()

    def read(self, start: int, stop: int, *, reader: int = 0) -> Tensor:
        """The slices [start, stop); ``start`` never lies before that of the same reader's last call."""
        self._positions[reader] = start
        while self._pieces and self._pieces[0][0] + self._pieces[0][1].shape[2] <= min(self._positions):
            self._pieces.popleft()
        while self._made < stop:
            end = min(self._length, max(self._made, self._lead) + self._step)
            self._pieces.append((self._made, self._make(self._made, end).to(self._storage)))
            self._made = end
        parts = [
            piece[:, :, max(0, start - first) : stop - first]
            for first, piece in self._pieces
            if first < stop and first + piece.shape[2] > start
        ]
        if len(parts) == 1:
            return parts[0]
        joined = torch.cat(parts, 2)
        if len(self._positions) == 1 and stop == self._made:  # nobody reads what lies before
            self._pieces = deque([(start, joined)])
        return joined


class LevelPass:
    """One pass of a network over one image (N, C, *s), whose sizes are multiples of the size multiple.

    Args:
        read: gives the image's slices, of ``length`` in all.
        storage: where maps wait between convolutions.
        advance: is told the share of the pass that each step has done.
    """

    def __init__(
        self,
        network: FusedUNet,
        read: Make,
        length: int,
        layout: Layout,
        *,
        storage: torch.device,
        compute: Compute,
        advance: Callable[[float], None],
    ) -> None:
        self._network = network
        self._compute = compute
        self._advance = advance
        self._layout = layout
        self._map = partial(Map, storage=storage)
        self._pools: list[int] = [pooling[0] for pooling in network.network.pooling]
        self._margins = [margins[0] for margins in network.network.join_margin]
        self._lengths = [length // size for size in itertools.accumulate([1, *self._pools], int.__mul__)]
        self._shares = _shares_of_work(network.network, self._lengths)
        self._features: list[list[Make]] = []
        for level in range(len(self._lengths)):
            self._features.append(self._encoder(level, read))
            read = partial(self._pool, level)
        self._decoded = [self._features[-1][0]]
        for level in reversed(range(len(self._pools))):
            self._decoded.insert(0, self._decoder(level))

    def logits(self) -> Iterator[Slab]:
        """The network's output (N, K, s, …) slab by slab along its first axis, once."""
        length, step = self._lengths[0], self._layout.steps[0]
        try:
            for start in range(0, length, step):
                yield start, self._compute(self._network.head, self._decoded[0](start, min(length, start + step)))
        finally:  # maps and pass hold each other: without this their memory waits for the cycle collector
            self._features.clear()
            self._decoded.clear()

    def _encoder(self, level: int, read: Make) -> list[Make]:
        """Of one level, for the level below and for the decoder: each reads the same features, or its own ones."""
        length, step = self._lengths[level], self._layout.steps[level]
        deepest = level == len(self._pools)
        encoders = 2 if level < self._layout.recomputed and not deepest else 1
        readers = 1 if deepest or encoders == 2 else 2
        entering = self._layout.steps[level - 1] // self._pools[level - 1] if level else step
        inputs = self._map(read, length, max(1, entering), readers=encoders)
        found: list[Make] = []
        for encoder in range(encoders):
            first = partial(self._encode, level, 0, partial(inputs.read, reader=encoder))
            between = self._map(first, length, step, readers=1, lead=1)
            second = partial(self._encode, level, 1, between.read, share=0.0 if encoder else self._shares[level])
            features = self._map(second, length, step, readers=readers)
            found += [partial(features.read, reader=reader) for reader in range(readers)]
        return found

    def _decoder(self, level: int) -> Make:
        """Of one level, from its encoder and the level below."""
        length, step = self._lengths[level], self._layout.steps[level]
        joined = self._map(partial(self._join, level), length, step, readers=1, lead=1)
        finish = partial(self._finish, level, joined.read)
        return self._map(finish, length, step, readers=1).read if level else finish

    def _encode(self, level: int, place: int, read: Make, start: int, stop: int, *, share: float = 0.0) -> Tensor:
        """Of the encoder's first or second convolution, which reads its input by ``read``."""
        features = self._convolve(partial(self._network.encode, level, place), read, level, start, stop)
        self._advance((stop - start) * share)
        return features

    def _pool(self, level: int, start: int, stop: int) -> Tensor:
        factor = self._pools[level]
        return self._compute(
            partial(self._network.pool, level), self._features[level][0](factor * start, factor * stop)
        )

    def _join(self, level: int, start: int, stop: int) -> Tensor:
        factor, margin = self._pools[level], self._margins[level]
        first = max(0, (start - 1) // factor - margin)
        last = min(self._lengths[level + 1], stop // factor + 1 + margin)
        deeper = self._decoded[level + 1](first, last)
        skip = self._features[level][1](factor * first, factor * last)
        rows = slice(start - factor * first, stop - factor * first)
        return self._compute(partial(self._network.join, level, rows=rows), skip, deeper)

    def _finish(self, level: int, read: Make, start: int, stop: int) -> Tensor:
        decoded = self._convolve(partial(self._network.finish, level), read, level, start, stop)
        self._advance((stop - start) * 2 * self._shares[level])
        return decoded

    def _convolve(self, convolve: Callable[..., Tensor], read: Make, level: int, start: int, stop: int) -> Tensor:
        """With the slices beside these, where there are any."""
        first, last = max(0, start - 1), min(self._lengths[level], stop + 1)
        return self._compute(partial(convolve, rows=slice(start - first, stop - first)), read(first, last))


def _shares_of_work(network: UNet, lengths: Sequence[int]) -> list[float]:
    """Per level, the share of a pass that encoding one slice is; decoding it is twice that."""
    in_plane = itertools.accumulate((math.prod(pooling[1:]) for pooling in network.pooling), int.__mul__, initial=1)
    slices = [macs / area for macs, area in zip(encoder_macs(network), in_plane, strict=True)]
    parts = [1] + [3] * len(network.pooling)
    total = sum(part * cost * length for part, cost, length in zip(reversed(parts), slices, lengths, strict=True))
    return [cost / total for cost in slices]


def stream(
    network: FusedUNet,
    image: Tensor,
    layout: Layout,
    *,
    first_slice: int,
    storage: torch.device,
    compute: Compute,
    progress: Callable[[float], None],
) -> Iterator[Slab]:
    """Logits of an image (C, d, h, w), slab by slab from ``first_slice`` (or a few slices before it) to the end.

    Equal to one pass over the image padded by edge replication up to the network's size multiple. Where the
    layout cuts the image into tiles, each carries the whole receptive field. ``progress`` is told the share
    of these slices that is done.
    """
    depth, *plane = image.shape[1:]
    multiple = size_multiple(network.network)[0]
    depth_cuts = _cuts(first_slice // multiple * multiple, depth, layout.tile[0])
    plane_cuts = list(itertools.product(*(_cuts(0, *size) for size in zip(plane, layout.tile[1:], strict=True))))
    tiles, done = len(depth_cuts) * len(plane_cuts), 0.0

    def advance(share: float) -> None:
        nonlocal done
        done += share / tiles
        progress(done)

    for depth_cut in depth_cuts:
        joined: Tensor | None = None
        for plane_cut in plane_cuts:
            tile = (depth_cut, *plane_cut)
            for (d, h, w), logits in _stream_tile(network, image, tile, layout, storage, compute, advance):
                if list(logits.shape[2:]) == plane:
                    yield d.start, logits
                    continue
                if joined is None:
                    joined = logits.new_empty((len(logits), depth_cut.stop - depth_cut.start, *plane), device=storage)
                joined[:, d.start - depth_cut.start : d.stop - depth_cut.start, h, w] = logits.to(storage)
        if joined is not None:
            yield depth_cut.start, joined


def _cuts(start: int, stop: int, size: int) -> list[slice]:
    return [slice(each, min(stop, each + size)) for each in range(start, stop, size)]


def _stream_tile(
    network: FusedUNet,
    image: Tensor,
    tile: tuple[slice, ...],
    layout: Layout,
    storage: torch.device,
    compute: Compute,
    advance: Callable[[float], None],
) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
    """Logits (K, …) of one tile of the image, piece by piece, each with its place in the image."""
    source = network.network
    padded = padded_shape(source, image.shape[1:])
    multiple, halo = size_multiple(source), receptive_halo(source)
    box = [
        (max(0, cut.start - halo[axis]), min(padded[axis], align_up(cut.stop, multiple[axis]) + halo[axis]))
        for axis, cut in enumerate(tile)
    ]
    flat = source.dimensions == 2
    along = 1 if flat else 0
    begin, end = box[along]

    def read(start: int, stop: int) -> Tensor:
        slab = _padded_box(image, [*box[:along], (begin + start, begin + stop), *box[along + 1 :]])
        return slab.transpose(0, 1) if flat else slab[None]

    level_pass = LevelPass(network, read, end - begin, layout, storage=storage, compute=compute, advance=advance)
    for start, logits in level_pass.logits():
        block = logits.transpose(0, 1) if flat else logits[0]
        origin = [first for first, _ in box]
        origin[along] += start
        place = tuple(
            slice(max(cut.start, first), min(cut.stop, first + size))
            for cut, first, size in zip(tile, origin, block.shape[1:], strict=True)
        )
        if all(part.start < part.stop for part in place):
            inside = (slice(p.start - first, p.stop - first) for p, first in zip(place, origin, strict=True))
            yield place, block[(slice(None), *inside)]


def _padded_box(image: Tensor, box: Sequence[tuple[int, int]]) -> Tensor:
    """The part of an image (C, d, h, w) in ``box``, which may reach beyond the far edges: these are repeated."""
    inside, pad = image, list[int]()
    for axis, (first, last) in enumerate(box, start=1):
        edge = image.shape[axis]
        begin = min(first, edge - 1)  # the box may lie beyond the edge altogether
        end = max(begin + 1, min(last, edge))
        inside = inside.narrow(axis, begin, end - begin)
        pad = [0, last - first - (end - begin), *pad]
    return functional.pad(inside[None], pad, mode="replicate")[0] if any(pad) else inside
