"""An up-convolution and the convolution behind it as one convolution of the coarse map: both are linear.

The fine voxel f·i + p, p = 0 … f - 1 being its place in the window of the coarse voxel i, sees its two neighbours along
an axis. These lie in the coarse voxels i - 1 and i for p = 0, in i and i + 1 for p > 0. So a kernel of two taps an axis
(for f = 1: three) with out·Πf channels computes all places of all windows at once, and 8·8 taps do the work of 8·27.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

FINE_TAPS = 3
"""Of the convolution behind the up-convolution, along each axis."""

Index = tuple[slice, ...]


def composed(weight: Tensor, up: Tensor) -> Tensor:
    """(places·out, in, *k): the kernel of both together, with gradients to theirs.

    Args:
        weight: (out, channels, 3, …), of the zero-padded convolution.
        up: (in, channels, *f), of the up-convolution, whose kernel is its stride f.
    """
    out, factor = len(weight), tuple(up.shape[2:])
    rows = weight.movedim((0, 1), (-2, -1)).flatten(0, -2)  # (taps·out, channels)
    shape = (math.prod(factor), *_taps(factor))
    index = torch.tensor(_targets(factor), device=weight.device).view(-1, math.prod(factor))
    total = weight.new_zeros((math.prod(shape), out, len(up)))
    for place, column in enumerate(up.flatten(2).unbind(2)):  # of a window: (in, channels)
        total.index_add_(0, index[:, place], (rows @ column.T).view(-1, out, len(up)))
    return total.view(*shape, out, len(up)).movedim((-2, -1), (1, 2)).flatten(0, 1)


def spread(
    factor: Sequence[int], channels: int, box: Sequence[tuple[int, int]], first: Sequence[int]
) -> Iterator[tuple[Index, Index]]:
    """For each place: its voxels in a box of the fine map (N, channels, …), and where the convolution puts them out.

    Args:
        channels: of the fine map.
        box: start and stop along each axis.
        first: along each axis, the window whose place 0 is the convolution's first output.
    """
    for number, place in enumerate(itertools.product(*map(range, factor))):
        own = slice(number * channels, (number + 1) * channels)
        fine, source = [slice(None), slice(None)], [slice(None), own]
        for p, f, (start, stop), window in zip(place, factor, box, first, strict=True):
            begin, end = -((p - start) // f), -((p - stop) // f)
            fine.append(slice(f * begin + p - start, None, f))
            source.append(slice(begin - window + _offset(p, f), end - window + _offset(p, f)))
        yield tuple(fine), tuple(source)


def _offset(place: int, factor: int) -> int:
    """By how many voxels what a place sees begins behind what the place 0 sees."""
    return int(factor > 1 and place > 0)


def _taps(factor: Sequence[int]) -> list[int]:
    return [FINE_TAPS if each == 1 else 2 for each in factor]


@functools.cache
def _targets(factor: tuple[int, ...]) -> list[int]:
    """For each tap and place of a window, which tap of which place on the coarse grid their product adds to."""
    targets = []
    for taps in itertools.product(range(FINE_TAPS), repeat=len(factor)):
        for within in itertools.product(*map(range, factor)):
            # The one place that sees this voxel of a window through this tap, and the window's, from the one before on.
            places = [(w - tap + 1) % f for w, tap, f in zip(within, taps, factor, strict=True)]
            windows = [1 + (p + tap - 1) // f for p, tap, f in zip(places, taps, factor, strict=True)]
            starts = map(_offset, places, factor)
            coarse = [window - start for window, start in zip(windows, starts, strict=True)]
            targets.append(int(np.ravel_multi_index([*places, *coarse], [*factor, *_taps(factor)])))
    return targets
