"""Which labelled slices a retraining is judged on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Slice, annotated_slices
from ..volume import UNLABELLED, LabelArray

FEWEST_SLICES = 3
"""With fewer labelled slices all are needed to learn from."""


def choose_held_out(cases: Sequence[Case], *, rotation: int) -> dict[str, tuple[Slice, ...]]:
    """One slice of each sparsely labelled case of at least three slices; another one for each ``rotation``.

    It shows a structure, and without it the others of the case still show every structure that it shows. Cases that
    can spare none, and fully labelled ones, are not in the result.
    """
    found = {case.name: _slice_to_spare(case, rotation) for case in cases}
    return {name: (spare,) for name, spare in found.items() if spare is not None}


def _slice_to_spare(case: Case, rotation: int) -> Slice | None:
    if case.annotation is None or (case.annotation.array != UNLABELLED).all():
        return None
    slices = annotated_slices(case.annotation)
    if len(slices) < FEWEST_SLICES:
        return None
    array = case.annotation.array
    everywhere = _counts(array[array != UNLABELLED])
    spare = [each for each in slices if _can_be_spared(everywhere, _counts(np.take(array, [each[1]], axis=each[0])))]
    return spare[rotation % len(spare)] if spare else None


def _counts(labels: LabelArray) -> NDArray[np.intp]:
    return np.bincount(labels.ravel(), minlength=UNLABELLED + 1)


def _can_be_spared(everywhere: NDArray[np.intp], there: NDArray[np.intp]) -> bool:
    """By the voxels of each label in all the case and on the slice."""
    shown = np.flatnonzero(there[1:UNLABELLED]) + 1
    return bool(shown.size) and bool((everywhere[shown] > there[shown]).all())
