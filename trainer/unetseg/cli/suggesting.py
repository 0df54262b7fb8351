"""From the arguments of ``unetseg suggest`` to slices."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..array_file import exhaust
from ..errors import ImageError, SettingsError
from ..image_io import read_label_map
from ..labelled_slices import load_slices
from ..suggestion import Reason, SlicePosition, SliceScores, Suggestion, count_foreground, score_slices, suggest
from ..volume import LabelArray, LabelMap, Shape

REASONS: dict[Reason, str] = {
    "middle": "the middle of what is segmented",
    "orthogonal": "the middle, seen from another side",
    "stride": "the largest gap between the slices seen so far",
    "uncertainty": "the model is least sure here",
    "disagreement": "the model differs most from the start model here",
    "empty": "nothing is segmented yet",
}


@dataclass(frozen=True)
class Suggested:
    """What the command prints: the slices in the order in which to look at them."""

    suggestions: tuple[Suggestion, ...]

    def __str__(self) -> str:
        found = (f"axis {one.axis} index {one.index}: {REASONS[one.reason]}" for one in self.suggestions)
        return "\n".join(found) or "Every slice of the structures has been seen."


def suggested(arguments: argparse.Namespace) -> Suggested:
    """As many slices as asked for, each as if those before it had been labelled; fewer where no more are left."""
    labels = read_label_map(arguments.labels)
    scores = _scores(labels, arguments)
    seen = list(_seen(labels.geometry.shape, arguments))
    counts, spacing_mm = count_foreground(labels.array), labels.geometry.spacing_mm
    found: list[Suggestion] = []
    while len(found) < arguments.count:
        one = suggest(counts, seen, (), spacing_mm, scores, arguments.seed)
        if one is None:
            break
        found.append(one)
        seen.append((one.axis, one.index))
    return Suggested(tuple(found))


def _scores(labels: LabelMap, arguments: argparse.Namespace) -> SliceScores | None:
    """Raises ``SettingsError`` for options that mean nothing without the uncertainty."""
    if arguments.uncertainty is None:
        given = [f"--{name}" for name in ("start", "seed") if getattr(arguments, name) is not None]
        if given:
            raise SettingsError(
                "Only where the uncertainty is known can more than gaps decide",
                received=" ".join(given),
                remedy="Add --uncertainty FILE, which unetseg segment writes, or leave that out",
            )
        return None
    uncertainty = _on_the_grid(arguments.uncertainty, labels)
    start = None if arguments.start is None else _on_the_grid(arguments.start, labels)
    return exhaust(score_slices(labels.array, uncertainty, labels.geometry.spacing_mm, start))


def _on_the_grid(path: Path, labels: LabelMap) -> LabelArray:
    found = read_label_map(path)
    if not found.geometry.matches(labels.geometry):
        raise ImageError(
            "Label maps and uncertainty must lie on the same grid",
            received=f"{path.name}: {found.geometry}; labels: {labels.geometry}",
        )
    return found.array


def _seen(shape: Shape, arguments: argparse.Namespace) -> Iterator[SlicePosition]:
    """Those of ``--slices`` and ``--skip``, which must lie in the volume."""
    if arguments.slices is not None:
        stored_shape, slices = load_slices(arguments.slices)
        if stored_shape != shape:
            raise ImageError(
                "The slices must be of the volume that is segmented",
                received=f"slices of {stored_shape}, labels of {shape} voxels",
            )
        yield from ((one.axis, one.index) for one in slices)
    for axis, index in arguments.skip:
        if index >= shape[axis]:
            raise SettingsError(
                f"A slice to skip must lie in the volume of {shape} voxels", received=f"--skip {axis}:{index}"
            )
        yield axis, index
