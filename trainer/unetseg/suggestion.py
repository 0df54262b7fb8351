"""Which slice a user should look at next: middle slices first, then a stride that halves the largest gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .volume import Vector

Reason = Literal["middle", "orthogonal", "stride", "empty"]
SlicePosition = tuple[int, int]
"""(axis, index): axis 0, 1, 2 = D, H, W."""
ForegroundCounts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Voxels that are not background in every slice along D, H, W."""


@dataclass(frozen=True)
class Suggestion:
    """A slice and why it is the next one.

    Attributes:
        reason: ``middle`` or ``orthogonal``: half of the structures' voxels lie on either side of it; ``stride``:
            the farthest from all slices seen so far; ``empty``: the same where nothing is segmented yet.
    """

    axis: int
    index: int
    reason: Reason


def suggest(
    foreground_counts: ForegroundCounts,
    taken: Sequence[SlicePosition],
    skipped: Sequence[SlicePosition],
    spacing_mm: Vector,
) -> Suggestion | None:
    """The next slice; the same input always gives the same slice.

    First the middle slice along the native axis (that of the largest spacing; D among equals), then the middle
    slice across it (of the two axes the one of larger spacing, which shows more of the object in fewer voxels),
    then along the native axis the slice that is farthest from all seen ones and from the ends of the object, each
    end moved out by a tenth of its extent. Where nothing is segmented, the whole volume is the object.

    Args:
        taken: slices that are confirmed.
        skipped: slices that the user did not want; they count as seen.

    Returns:
        None where every slice of the object has been seen.
    """
    axes = _axes(foreground_counts, spacing_mm)
    seen = {axis: {i for a, i in (*taken, *skipped) if a == axis} for axis in range(3)}
    native = axes[0]
    counts = foreground_counts[native]
    if not counts.any():
        return _halving(native, seen[native], 0, len(counts), "empty")
    if not seen[native]:
        return Suggestion(native, _middle(counts), "middle")
    if len(axes) > 1 and not any(seen[axis] for axis in axes[1:]):
        return Suggestion(axes[1], _middle(foreground_counts[axes[1]]), "orthogonal")
    found = np.flatnonzero(counts)
    start, stop = int(found[0]), int(found[-1]) + 1
    margin = -(-(stop - start) // 10)
    return _halving(native, seen[native], max(0, start - margin), min(len(counts), stop + margin), "stride")


def _axes(foreground_counts: ForegroundCounts, spacing_mm: Vector) -> list[int]:
    """Axes whose slices are images, by falling spacing; a slice through a single 2D image is a line."""
    lengths = [len(counts) for counts in foreground_counts]
    by_spacing = sorted(range(3), key=lambda axis: -spacing_mm[axis])
    images = [axis for axis in by_spacing if min(lengths[:axis] + lengths[axis + 1 :]) > 1]
    return images or by_spacing[:1]


def _middle(counts: NDArray[np.int64]) -> int:
    """The first slice up to which half of the foreground lies: it shows the object, and islands hardly move it."""
    return int(np.argmax(2 * np.cumsum(counts) >= counts.sum()))


def _halving(axis: int, seen: set[int], start: int, stop: int, reason: Reason) -> Suggestion | None:
    # The slices just outside count as seen: otherwise the ends of the object, which show little, would come first.
    borders = np.array([start - 1, stop, *seen])
    distances = np.abs(np.arange(start, stop)[:, None] - borders).min(axis=1)
    farthest = int(np.argmax(distances))
    return Suggestion(axis, start + farthest, reason) if distances[farthest] else None
