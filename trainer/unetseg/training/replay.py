"""Pieces of the training images that lie beside a model, so that a retraining can rehearse what the model knew.

Rehearsal keeps a network from forgetting where it was right (retraining on all else is what it forgets by; survey:
arXiv 2407.21216). The pieces are small, and a few: they are parts of images of patients, so they stay out of the model
file, which may be passed on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import records
from ..config import Plan
from ..data import PreparedCase
from ..data.annotations import labelled_structures
from ..errors import ModelFileError
from ..model_file import read_tensors, write_tensors
from ..volume import UNLABELLED, Shape, Vector

MAX_PIECES = 16
MAX_PIECE_VOXELS = 2**19
"""With 16 pieces, 2-byte intensities and labels at most 25 MB a channel."""
CHECK_EVERY = 4
"""Of the pieces, one in so many is not rehearsed: it measures whether the network has forgotten."""

REPLAY_FORMAT_VERSION = 1


@dataclass(frozen=True)
class _Header:
    format_version: int
    spacing_mm: tuple[Vector, ...]


@dataclass(frozen=True)
class Replay:
    """Pieces to train on, and others to measure with; both may be empty."""

    rehearsed: tuple[PreparedCase, ...] = ()
    checked: tuple[PreparedCase, ...] = ()


def cut_pieces(cases: Sequence[PreparedCase], plan: Plan, *, seed: int) -> tuple[PreparedCase, ...]:
    """Up to ``MAX_PIECES`` pieces of a training patch's size, as evenly as may be from all cases.

    Each lies around a labelled voxel of a structure, of all structures equally often as far as the cases show them.
    Cases without one give none.
    """
    generator = np.random.default_rng(seed)
    size = _limited(plan.patch_size)
    room = {}
    for number, case in enumerate(cases):
        if labelled_structures(case.annotation).any():
            room[number] = math.ceil(case.annotation.size / math.prod(size))  # more would show the same again
    # The first turn of every case before the second of any: few cases give several pieces, many one each.
    turns = [(turn, number) for number, most in room.items() for turn in range(min(most, MAX_PIECES))]
    turns = sorted(turns)[: max(MAX_PIECES, len(room))]
    chosen = (
        [turns[len(turns) * piece // MAX_PIECES] for piece in range(MAX_PIECES)] if len(turns) > MAX_PIECES else turns
    )
    used: Counter[int] = Counter()
    return tuple(_cut(cases[number], size, used, generator) for _, number in chosen)


def write_replay(path: Path, pieces: Sequence[PreparedCase]) -> None:
    """Atomic. Raises ``OSError`` as the operating system gives it."""
    tensors: dict[str, Tensor] = {}
    for number, piece in enumerate(pieces):
        tensors[f"image.{number}"] = torch.from_numpy(piece.image.astype(np.float16))
        tensors[f"labels.{number}"] = torch.from_numpy(piece.annotation)
    header = _Header(REPLAY_FORMAT_VERSION, tuple(piece.spacing_mm for piece in pieces))
    write_tensors(path, tensors, metadata=records.dumps(header))


def read_replay(path: Path, *, channels: int, classes: int) -> Replay:
    """The pieces that ``write_replay`` wrote; none where there is no such file.

    Raises ``ModelFileError`` where the file is damaged or does not belong to a model of so many channels and classes.
    """
    if not path.is_file():
        return Replay()
    try:
        tensors, text = read_tensors(path)
    except ModelFileError as error:
        raise _unfit(path, error.received) from error
    try:
        header = records.from_json(_Header, records.loads(text))
        if header.format_version != REPLAY_FORMAT_VERSION:
            raise _unfit(path, f"format {header.format_version}")
        pieces = [_piece(tensors, number, spacing) for number, spacing in enumerate(header.spacing_mm)]
    except (records.RecordError, KeyError) as error:
        raise _unfit(path, error) from error
    for piece in pieces:
        labels = piece.annotation[piece.annotation != UNLABELLED]
        if piece.image.shape != (channels, *piece.annotation.shape) or (labels >= classes).any():
            raise _unfit(path, f"a piece {piece.image.shape} with labels {piece.annotation.shape}")
    return Replay(
        rehearsed=tuple(piece for number, piece in enumerate(pieces) if (number + 1) % CHECK_EVERY),
        checked=tuple(pieces[CHECK_EVERY - 1 :: CHECK_EVERY]),
    )


def _piece(tensors: Mapping[str, Tensor], number: int, spacing_mm: Vector) -> PreparedCase:
    image, labels = tensors[f"image.{number}"], tensors[f"labels.{number}"]
    return PreparedCase(f"piece {number}", image.float().numpy(), labels.numpy(), None, spacing_mm)


def _unfit(path: Path, reason: object) -> ModelFileError:
    return ModelFileError(
        "The pieces of images beside a model must be those it was trained on",
        received=f"{path.name}: {reason}",
        remedy="Remove this file; retraining then works without rehearsal",
    )


def _cut(case: PreparedCase, size: Shape, used: Counter[int], generator: np.random.Generator) -> PreparedCase:
    """A copy of the part of this size around a voxel of the structure that was used least, inside the image."""
    values = [int(value) for value in np.unique(case.annotation) if value not in (0, UNLABELLED)]
    value = min(generator.permutation(values).tolist(), key=used.__getitem__)
    used[value] += 1
    voxels = np.flatnonzero(case.annotation == value)
    centre = np.unravel_index(voxels[generator.integers(len(voxels))], case.annotation.shape)
    box = []
    for middle, length, extent in zip(centre, size, case.annotation.shape, strict=True):
        start = int(np.clip(middle - length // 2, 0, max(0, extent - length)))
        box.append(slice(start, start + length))
    part = tuple(box)
    image, annotation = case.image[(slice(None), *part)].copy(), case.annotation[part].copy()
    return PreparedCase(case.name, image, annotation, None, case.spacing_mm)


def _limited(patch_size: Shape) -> Shape:
    """The patch, halved along its longest axis until it is small enough to be kept."""
    d, h, w = patch_size
    while d * h * w > MAX_PIECE_VOXELS:
        longest = max(d, h, w)
        d, h, w = (length // 2 if length == longest else length for length in (d, h, w))
    return d, h, w
