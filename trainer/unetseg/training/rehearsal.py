"""What a retraining trains on: the corrected slices, and now and then what the network already knew."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..data.batches import Batch, BatchSource
from ..inference import without_tf32

DISTILLED_SHARE = 0.2
"""Of the steps, where there are no pieces of earlier cases to rehearse (Li & Hoiem 2016, arXiv 1606.09282)."""


class Batches(Protocol):
    """Training batches by number; the same number always gives the same batch."""

    def batch(self, iteration: int) -> Batch: ...


class Rehearsal:
    """Corrected slices, and in a ``share`` of the steps pieces of earlier cases.

    A whole batch is of one kind: corrected slices alone need only a part of the network's work (``targeted``).
    """

    def __init__(self, corrected: BatchSource, pieces: BatchSource, *, share: float, seed: int) -> None:
        self._corrected, self._pieces = corrected, pieces
        self._share, self._seed = share, seed

    def batch(self, iteration: int) -> Batch:
        source = self._pieces if _drawn(self._seed, iteration, self._share) else self._corrected
        return source.batch(iteration)


class Distillation:
    """Corrected slices, and in some steps unlabelled parts of the same images with the start model's opinion of them.

    Voxels less than four slices from a labelled one are left out: there the user may have found the start model wrong.

    Args:
        teacher: logits of the start model for images (N, C, *s).
        weight: factor on this term of the loss.
    """

    def __init__(
        self, corrected: BatchSource, teacher: Callable[[Tensor], Tensor], *, weight: float, seed: int
    ) -> None:
        self._corrected, self._teacher = corrected, teacher
        self._weight, self._seed = weight, seed

    def batch(self, iteration: int) -> Batch:
        if not _drawn(self._seed, iteration, DISTILLED_SHARE):
            return self._corrected.batch(iteration)
        batch = self._corrected.unlabelled_batch(iteration)
        if not bool(batch.weight.any()):  # all is labelled, or near to it
            return self._corrected.batch(iteration)
        opinion = torch.softmax(self._teacher(batch.image).float(), 1)
        return dataclasses.replace(batch, weight=batch.weight * self._weight, opinion=opinion)


def frozen_teacher(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Logits of the network as it is now, without gradients, on the device of its weights."""
    teacher = copy.deepcopy(network).eval()
    device = next(teacher.parameters()).device

    @torch.no_grad()
    def logits(image: Tensor) -> Tensor:
        with without_tf32(device):
            result: Tensor = teacher(image.to(device))
        return result

    return logits


def _drawn(seed: int, iteration: int, share: float) -> bool:
    return bool(np.random.default_rng([seed, iteration, 1]).random() < share)
