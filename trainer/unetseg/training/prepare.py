"""From cases on their own grids to cases on the network's grid, split into trained-on and held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..config import Plan
from ..data import Case, PreparedCase, Slice, keep_slices
from ..errors import TrainingDataError
from ..preprocessing import Prepared, prepare_annotation, prepare_mask, preprocess
from ..volume import UNLABELLED, LabelMap
from .request import TrainingRequest


@dataclass(frozen=True)
class PreparedCases:
    """``held_out`` holds whole cases, and for cases with held-out slices a second entry that labels only those."""

    trained: tuple[PreparedCase, ...]
    held_out: tuple[PreparedCase, ...]


def split_annotation(annotation: LabelMap, held_out: Sequence[Slice]) -> tuple[LabelMap, LabelMap]:
    """The annotation without, and with only, the given slices.

    A voxel on a held-out slice is never trained on, also where another annotated slice crosses it.
    Raises ``SettingsError`` for a slice outside.
    """
    marks = replace(annotation, array=np.zeros_like(annotation.array))
    on_slice = keep_slices(marks, held_out).array != UNLABELLED
    trained = np.where(on_slice, UNLABELLED, annotation.array).astype(np.uint8)
    measured = np.where(on_slice, annotation.array, UNLABELLED).astype(np.uint8)
    return replace(annotation, array=trained), replace(annotation, array=measured)


def trained_cases(request: TrainingRequest) -> list[Case]:
    """The cases that are trained on, their held-out slices unlabelled."""
    return [
        replace(case, annotation=split_annotation(_annotation(case), request.held_out_slices.get(case.name, ()))[0])
        for case in request.cases
        if case.name not in request.validation
    ]


def prepare_cases(
    request: TrainingRequest, plan: Plan, *, check_cancel: Callable[[], None], report: Callable[[float], None]
) -> PreparedCases:
    """Preprocess every case once. Raises ``TrainingDataError`` where channels do not fit the plan."""
    trained: list[PreparedCase] = []
    held_out: list[PreparedCase] = []
    for number, case in enumerate(request.cases):
        check_cancel()
        report(number / len(request.cases))
        annotation = _annotation(case)
        prepared = preprocess(case.volume, plan)
        slices = request.held_out_slices.get(case.name, ())
        if case.name in request.validation:
            held_out.append(_prepared_case(case, prepared, annotation))
        elif slices:
            kept, measured = split_annotation(annotation, slices)
            trained.append(_prepared_case(case, prepared, kept))
            held_out.append(_prepared_case(case, prepared, measured))
        else:
            trained.append(_prepared_case(case, prepared, annotation))
    return PreparedCases(tuple(trained), tuple(held_out))


def _annotation(case: Case) -> LabelMap:
    if case.annotation is None:
        raise TrainingDataError("Every case needs labels", received=case.name)
    return case.annotation


def _prepared_case(case: Case, prepared: Prepared, annotation: LabelMap) -> PreparedCase:
    edited = None if case.edited is None else prepare_mask(case.edited, prepared)
    return PreparedCase(
        name=case.name,
        image=prepared.image,
        annotation=prepare_annotation(annotation, prepared),
        edited=edited,
        spacing_mm=prepared.geometry.spacing_mm,
    )
