"""Boxes of voxels, and the set of them that covers given voxels with the least work."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.int64]
"""(n, axes, 2): start and stop of each box along each axis. The first axis counts the samples of a batch."""

REACH_VOXELS = 2
"""How far around a box its convolutions compute or read."""
VOXELS_PER_BOX = 2000
"""What a box costs beside its voxels: the calls of its layers."""
SMALL_BOX_VOXELS = 4 * VOXELS_PER_BOX
"""A box that costs less is not cut."""
DENSE = 0.25
"""From which labelled share on a box is only cut where the first cut pays already."""
PLANE_SHARE = 0.5
"""From which labelled share on a slice of a box counts as a labelled plane."""


def whole(sizes: Sequence[int]) -> Boxes:
    """The one box that is everything."""
    return np.array([[(0, size) for size in sizes]])


def slices(box: NDArray[np.int64]) -> tuple[slice, ...]:
    """One box (axes, 2) as an index."""
    return tuple(slice(int(start), int(stop)) for start, stop in box)


def grown(boxes: Boxes, radius: int, sizes: Sequence[int]) -> Boxes:
    """Larger by ``radius`` voxels on every side, but not along the samples and not beyond the ``sizes``."""
    larger = boxes + np.array([-radius, radius])
    larger[:, 0] = boxes[:, 0]
    return clipped(larger, sizes)


def clipped(boxes: Boxes, sizes: Sequence[int]) -> Boxes:
    """What of the boxes lies within the ``sizes``."""
    inside: Boxes = np.clip(boxes, 0, np.asarray(sizes)[:, None])
    return inside


def container(boxes: Boxes, inner: NDArray[np.int64]) -> int:
    """The index of the first of the boxes that holds all of ``inner`` (axes, 2); one of them must."""
    return int(np.all((boxes[..., 0] <= inner[:, 0]) & (inner[:, 1] <= boxes[..., 1]), axis=1).argmax())


def merged(boxes: Boxes, sizes: Sequence[int]) -> Boxes:
    """Fewer boxes that hold the same: two become one as long as that costs no more than both."""
    while len(boxes) > 1:
        hulls = np.stack(
            [np.minimum(boxes[:, None, :, 0], boxes[..., 0]), np.maximum(boxes[:, None, :, 1], boxes[..., 1])], -1
        )
        costs = _costs(boxes, sizes)
        gains = costs[:, None] + costs - _costs(hulls.reshape(-1, *boxes.shape[1:]), sizes).reshape(2 * [len(boxes)])
        np.fill_diagonal(gains, -1)
        first, second = np.unravel_index(gains.argmax(), gains.shape)
        if gains[first, second] < 0:
            break
        boxes = np.concatenate([np.delete(boxes, (first, second), 0), hulls[first, second][None]])
    return boxes


def cover(mask: NDArray[np.bool_]) -> Boxes:
    """Disjoint boxes that hold every True of a mask (N, *s): its bounding box, cut in two wherever that costs less."""
    if not mask.any():
        return np.zeros((0, mask.ndim, 2), np.int64)
    return _cover(mask, np.zeros(mask.ndim, np.int64), mask.shape)


def _cover(mask: NDArray[np.bool_], origin: NDArray[np.int64], sizes: Sequence[int]) -> Boxes:
    """Of a mask with something in it at this place of an array of ``sizes``."""
    bounds = _bounds(mask)
    mask, origin = mask[slices(bounds)], origin + bounds[:, 0]
    uncut = np.stack([origin, origin + mask.shape], -1)[None]
    cost = int(_costs(uncut, sizes)[0])
    if cost < SMALL_BOX_VOXELS:
        return uncut
    axis, index, cost_of_parts = _best_cut(mask, origin, sizes)
    if cost_of_parts >= cost:
        if mask.mean() > DENSE:
            return uncut
        axis, index = _deep_cut(mask)
    shift = np.zeros_like(origin)
    shift[axis] = index
    first, second = np.split(mask, [index], axis)
    parts = np.concatenate([_cover(first, origin, sizes), _cover(second, origin + shift, sizes)])
    return parts if _costs(parts, sizes).sum() < cost else uncut


def _costs(boxes: Boxes, sizes: Sequence[int]) -> NDArray[np.int64]:
    """(n,): the work of each box, in voxels."""
    reached = grown(boxes, REACH_VOXELS, sizes)
    voxels: NDArray[np.int64] = (reached[..., 1] - reached[..., 0]).prod(-1)
    return VOXELS_PER_BOX + voxels


def _bounds(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(axes, 2): the bounding box of what is True, which must be something."""
    occupied = [np.flatnonzero(_projected(mask, (axis,))) for axis in range(mask.ndim)]
    return np.array([(indices[0], indices[-1] + 1) for indices in occupied])


def _projected(mask: NDArray[np.bool_], axes: Sequence[int]) -> NDArray[np.bool_]:
    """Along the given axes, whether anything is True there."""
    projected: NDArray[np.bool_] = np.any(mask, axis=tuple(set(range(mask.ndim)) - set(axes)))
    return projected


def _best_cut(mask: NDArray[np.bool_], origin: NDArray[np.int64], sizes: Sequence[int]) -> tuple[int, int, int]:
    """Axis, index and cost of the cut whose two parts have the cheapest bounding boxes. The mask fills its own."""
    projections = {pair: _projected(mask, pair) for pair in itertools.combinations(range(mask.ndim), 2)}
    best = (0, 0, sys.maxsize)
    for axis in range(mask.ndim):
        if mask.shape[axis] > 1:
            parts = np.stack([_bounds_of_parts(projections, axis, other) for other in range(mask.ndim)], 2)
            parts += origin[:, None]
            costs = _costs(parts.reshape(-1, mask.ndim, 2), sizes).reshape(2, -1).sum(0)
            best = min(best, (axis, int(costs.argmin()) + 1, int(costs.min())), key=itemgetter(2))
    return best


def _deep_cut(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Axis and index of a cut that gains only by those that follow: planes that cross each other on three axes.

    Beside the slice that is labelled most, or through the middle where there is no such slice.
    """
    shares = [mask.mean(axis=tuple(set(range(mask.ndim)) - {axis})) for axis in range(mask.ndim)]
    axis = max((axis for axis, size in enumerate(mask.shape) if size > 1), key=lambda axis: shares[axis].max())
    if shares[axis].max() >= PLANE_SHARE:
        return axis, max(1, int(shares[axis].argmax()))
    axis = int(np.argmax(mask.shape))
    return axis, mask.shape[axis] // 2


def _bounds_of_parts(projections: Mapping[tuple[int, int], NDArray[np.bool_]], axis: int, other: int) -> Boxes:
    """(2, cuts, 2): where along the axis ``other`` lies what is before and what is behind each cut 1, 2, … of ``axis``.

    ``projections`` are those of a mask that fills its bounding box onto each pair of its axes.
    """
    if axis == other:
        cuts = np.arange(1, next(p.shape[pair.index(axis)] for pair, p in projections.items() if axis in pair))
        return np.stack([np.stack([0 * cuts, cuts], -1), np.stack([cuts, 0 * cuts + len(cuts) + 1], -1)])
    occupied = projections[axis, other] if axis < other else projections[other, axis].T
    some, size = occupied.any(1), occupied.shape[1]
    starts = np.where(some, occupied.argmax(1), size)
    stops = np.where(some, size - occupied[:, ::-1].argmax(1), 0)
    before = np.stack([np.minimum.accumulate(starts), np.maximum.accumulate(stops)], -1)
    behind = np.stack([np.minimum.accumulate(starts[::-1]), np.maximum.accumulate(stops[::-1])], -1)[::-1]
    return np.stack([before[:-1], behind[1:]])
