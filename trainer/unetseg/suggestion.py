"""Which slice a user should look at next.

Middle slices first; then a stride that halves the largest gap, or the slice where the model is least sure.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError
from .volume import LabelArray, Vector

Reason = Literal["middle", "orthogonal", "stride", "uncertainty", "disagreement", "empty"]
SlicePosition = tuple[int, int]
"""(axis, index): axis 0, 1, 2 = D, H, W."""
ForegroundCounts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Voxels that are not background in every slice along D, H, W."""
Scores = NDArray[np.float64]

BAND_VOXELS = 2
"""Width of the band around the structures in which uncertainty counts: farther away it is not about their border."""
VOXELS_PER_STEP = 2**18
LEAST_DISTANCE = 2
"""In slices: neighbours of a labelled slice show the same."""
NOISY_ROUNDS = 5
"""After so many slices chance hardly has a say any more."""


@dataclass(frozen=True)
class Suggestion:
    """A slice and why it is the next one.

    Attributes:
        reason: ``middle`` or ``orthogonal``: half of the structures' voxels lie on either side of it; ``stride``:
            the farthest from all slices seen so far; ``uncertainty``: there the model is least sure;
            ``disagreement``: the same, and most of it because the start model says something else there; ``empty``:
            as ``stride``, where nothing is segmented yet.
    """

    axis: int
    index: int
    reason: Reason


@dataclass(frozen=True, eq=False)
class SliceScores:
    """How much each slice along the native axis would tell; the two measures add up.

    Attributes:
        uncertainty, disagreement: at least 0, larger for slices that would tell more; of each slice.
    """

    uncertainty: Scores
    disagreement: Scores


def suggest(
    foreground_counts: ForegroundCounts,
    taken: Sequence[SlicePosition],
    skipped: Sequence[SlicePosition],
    spacing_mm: Vector,
    scores: SliceScores | None = None,
    seed: int | None = None,
) -> Suggestion | None:
    """The next slice; the same input always gives the same slice.

    First the middle slice along the native axis (that of the largest spacing; D among equals), then the middle
    slice across it (of the two axes the one of larger spacing, which shows more of the object in fewer voxels),
    then slices along the native axis, in the object and a tenth of its extent beyond either end:

    - without ``scores`` the slice that is farthest from all seen ones and from these ends;
    - with them the slice of the highest score that is at least 2 slices, and at least extent / (2 (k + 1)), away from
      the k slices seen along that axis; among equals the farthest. Where there is none, as without scores.

    Where nothing is segmented, the whole volume is the object.

    Args:
        taken: slices that are confirmed.
        skipped: slices that the user did not want; they count as seen.
        scores: what ``score_slices`` made of the same segmentation.
        seed: draw the slice with a chance that grows with its score: the highest log score + g / β, with Gumbel
            noise g, and β growing from 1 for the first such slice to 100 (ClaSP-PE, arXiv 2601.13677).

    Returns:
        None where every slice of the object has been seen.
    """
    axes = _axes([len(counts) for counts in foreground_counts], spacing_mm)
    seen = {axis: {i for a, i in (*taken, *skipped) if a == axis} for axis in range(3)}
    native = axes[0]
    counts = foreground_counts[native]
    if not counts.any():
        return _halving(native, seen[native], (0, len(counts)), "empty")
    if not seen[native]:
        return Suggestion(native, _middle(counts), "middle")
    if len(axes) > 1 and not any(seen[axis] for axis in axes[1:]):
        return Suggestion(axes[1], _middle(foreground_counts[axes[1]]), "orthogonal")
    first, last = np.flatnonzero(counts)[[0, -1]].tolist()
    extent = last + 1 - first
    margin = -(-extent // 10)
    bounds = max(0, first - margin), min(len(counts), last + 1 + margin)
    least_sure = None if scores is None else _least_sure(native, seen[native], bounds, extent, scores, seed)
    return least_sure or _halving(native, seen[native], bounds, "stride")


def count_foreground(labels: LabelArray) -> ForegroundCounts:
    """Voxels of ``labels``, (D, H, W), that are not background in every slice along each axis."""
    rows = np.count_nonzero(labels, axis=2)
    return rows.sum(axis=1), rows.sum(axis=0), np.count_nonzero(labels, axis=(0, 1))


def score_slices(
    labels: LabelArray, uncertainty: LabelArray, spacing_mm: Vector, start_labels: LabelArray | None = None
) -> Generator[None, None, SliceScores]:
    """Score the slices along the native axis, in steps of a few milliseconds.

    Every voxel in a structure, or at most 2 voxels (along each axis) from one, counts for that structure: with its
    normalised entropy, and fully where the two label maps differ (the vote entropy of two models; Dagan & Engelson
    1995). A structure's sum on a slice is divided by the square root of its sum over all slices, then these are added
    up: so a large structure does not drown a small one, nor do a few stray voxels outdo all structures.

    Args:
        labels: uint8, (D, H, W); what the model made of the volume.
        uncertainty: uint8, (D, H, W), 0 for sure to 255; as ``unetseg.inference`` makes it.
        start_labels: what the model made of it that retraining starts from, like ``labels``.

    Raises:
        ImageError: arrays that are not uint8 of the same shape.
    """
    maps = [labels] if start_labels is None else [labels, start_labels]
    _check_arrays([uncertainty, *maps])
    axis = _axes(labels.shape, spacing_mm)[0]
    unsure, differing = np.zeros((2, labels.shape[axis], 256))
    step = max(1, VOXELS_PER_STEP // (labels.shape[1] * labels.shape[2]))
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        structures = _structures(maps, rows)
        yield
        _add(unsure, axis, start, structures, uncertainty[rows])
        if start_labels is not None:
            yield
            _add(differing, axis, start, structures, labels[rows] != start_labels[rows])
        yield
    return SliceScores(_balanced(unsure / 255), _balanced(differing))


def _axes(shape: Sequence[int], spacing_mm: Vector) -> list[int]:
    """Axes whose slices are images, by falling spacing; a slice through a single 2D image is a line."""
    by_spacing = sorted(range(3), key=lambda axis: -spacing_mm[axis])
    images = [axis for axis in by_spacing if min(*shape[:axis], *shape[axis + 1 :]) > 1]
    return images or by_spacing[:1]


def _middle(counts: NDArray[np.int64]) -> int:
    """The first slice up to which half of the foreground lies: it shows the object, and islands hardly move it."""
    return int(np.argmax(2 * np.cumsum(counts) >= counts.sum()))


def _halving(axis: int, seen: set[int], bounds: tuple[int, int], reason: Reason) -> Suggestion | None:
    start, stop = bounds
    # The slices just outside count as seen: otherwise the ends of the object, which show little, would come first.
    distances = _distances(np.arange(start, stop), {start - 1, stop, *seen})
    farthest = int(np.argmax(distances))
    return Suggestion(axis, start + farthest, reason) if distances[farthest] else None


def _least_sure(
    axis: int, seen: set[int], bounds: tuple[int, int], extent: int, scores: SliceScores, seed: int | None
) -> Suggestion | None:
    total = scores.uncertainty + scores.disagreement
    indices = np.arange(*bounds)
    distances = _distances(indices, seen)
    eligible = (total[indices] > 0) & (distances >= max(LEAST_DISTANCE, extent / (2 * (len(seen) + 1))))
    indices, distances = indices[eligible], distances[eligible]
    if not indices.size:
        return None
    utility = np.log(total[indices])
    if seed is not None:
        beta = 100 ** min(1.0, (len(seen) - 1) / NOISY_ROUNDS)
        utility += np.random.default_rng([seed, len(seen)]).gumbel(size=len(utility)) / beta
    index = int(indices[np.lexsort((-distances, -utility))[0]])
    reason: Reason = "disagreement" if scores.disagreement[index] > scores.uncertainty[index] else "uncertainty"
    return Suggestion(axis, index, reason)


def _distances(indices: NDArray[np.int64], seen: set[int]) -> NDArray[np.int64]:
    """In slices, of each index to the nearest one seen."""
    nearest: NDArray[np.int64] = np.abs(indices[:, None] - np.array([*seen])).min(axis=1)
    return nearest


def _structures(maps: Sequence[LabelArray], rows: slice) -> LabelArray:
    """For which structure each voxel of the slices ``rows`` counts; 0: for none.

    The first map that shows one there decides; where none does, the highest of the values within reach.
    """
    above = max(0, rows.start - BAND_VOXELS)
    near = np.maximum.reduce([labels[above : rows.stop + BAND_VOXELS] for labels in maps])
    near = _spread(near, 0)[rows.start - above :][: rows.stop - rows.start]
    for axis in (1, 2):
        near = _spread(near, axis)
    for labels in reversed(maps):
        np.copyto(near, labels[rows], where=labels[rows] > 0)
    return near


def _spread(labels: LabelArray, axis: int) -> LabelArray:
    """The highest value within reach along the axis."""
    spread = labels.copy()
    into, source = np.moveaxis(spread, axis, 0), np.moveaxis(labels, axis, 0)
    for shift in range(1, BAND_VOXELS + 1):
        np.maximum(into[shift:], source[:-shift], out=into[shift:])
        np.maximum(into[:-shift], source[shift:], out=into[:-shift])
    return spread


def _add(sums: Scores, axis: int, start: int, structures: LabelArray, amounts: NDArray[Any]) -> None:
    """Add the amounts up by slice along ``axis`` and structure; the slab begins at slice ``start`` along D."""
    counted = (structures > 0) & (amounts > 0)
    positions = np.arange(structures.shape[axis]) + (start if axis == 0 else 0)
    positions = np.broadcast_to(positions.reshape([-1 if other == axis else 1 for other in range(3)]), counted.shape)
    keys = positions[counted] * sums.shape[1] + structures[counted]
    sums += np.bincount(keys, weights=amounts[counted], minlength=sums.size).reshape(sums.shape)


def _balanced(sums: Scores) -> Scores:
    """Of each slice, from the sums by slice and structure."""
    totals = sums.sum(axis=0)
    present = totals > 0
    balanced: Scores = (sums[:, present] / np.sqrt(totals[present])).sum(axis=1)
    return balanced


def _check_arrays(arrays: Sequence[LabelArray]) -> None:
    if len({array.shape for array in arrays}) > 1 or any(array.dtype != np.uint8 for array in arrays):
        raise ImageError(
            "The labels and the uncertainty of a volume must have the same size, and values from 0 to 255",
            received=" and ".join(f"{array.dtype} {array.shape}" for array in arrays),
            remedy="Use the results of one segmentation",
        )
