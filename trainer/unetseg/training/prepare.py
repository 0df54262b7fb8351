"""From cases on their own grids to cases on the network's grid, split into trained-on and held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..config import Plan
from ..data import Case, PreparedCase, Slice, keep_slices
from ..data.scribbles import with_background_beyond_lines
from ..errors import TrainingDataError
from ..preprocessing import Prepared, prepare_annotation, prepare_mask, preprocess
from ..volume import UNLABELLED, LabelArray, LabelMap
from .contrast import inverted_case
from .request import TrainingRequest
from .validation import labelled_part


@dataclass(frozen=True)
class PreparedCases:
    """Cases on the network's grid.

    Attributes:
        trained: without what is held out.
        complete: the same cases, on the same images, with their held-out slices.
        held_out: whole cases; and of cases with held-out slices the neighbourhood of these, of which only they are
            labelled. Nothing but what was labelled counts here, whatever is learned from.
        notes: what the user should know, in sentences.
    """

    trained: tuple[PreparedCase, ...]
    complete: tuple[PreparedCase, ...]
    held_out: tuple[PreparedCase, ...]
    notes: tuple[str, ...] = ()

    def inverted(self, channels: Sequence[bool]) -> PreparedCases:
        """The same with the sign of these channels changed."""
        trained = tuple(inverted_case(case, channels) for case in self.trained)
        pairs = zip(self.complete, trained, strict=True)
        complete = tuple(replace(case, image=same.image) for case, same in pairs)
        held_out = tuple(inverted_case(case, channels) for case in self.held_out)
        return replace(self, trained=trained, complete=complete, held_out=held_out)


def split_annotation(annotation: LabelMap, held_out: Sequence[Slice]) -> tuple[LabelMap, LabelMap]:
    """The annotation without, and with only, the given slices.

    A voxel on a held-out slice is never trained on, also where another annotated slice crosses it.
    Raises ``SettingsError`` for a slice outside.
    """
    on_slice = _on_slices(annotation, held_out)
    trained = np.where(on_slice, UNLABELLED, annotation.array).astype(np.uint8)
    measured = np.where(on_slice, annotation.array, UNLABELLED).astype(np.uint8)
    return replace(annotation, array=trained), replace(annotation, array=measured)


def trained_cases(request: TrainingRequest) -> list[Case]:
    """The cases that are trained on, their held-out slices unlabelled."""
    return [
        replace(case, annotation=split_annotation(_annotation(case), _held_out_slices(request, case))[0])
        for case in request.cases
        if case.name not in request.validation
    ]


def prepare_cases(
    request: TrainingRequest,
    plan: Plan,
    size_multiple: Sequence[int],
    *,
    check_cancel: Callable[[], None],
    report: Callable[[float], None],
) -> PreparedCases:
    """Preprocess every case once, for a network of this size multiple.

    Raises ``ImageError`` where channels do not fit the plan, and ``TrainingDataError`` where the held-out slices of a
    case show no label, or leave none in any case.
    """
    trained: list[PreparedCase] = []
    complete: list[PreparedCase] = []
    held_out: list[PreparedCase] = []
    beyond_lines: list[int] = []
    for number, case in enumerate(request.cases):
        check_cancel()
        report(number / len(request.cases))
        annotation = _annotation(case)
        prepared = preprocess(case.volume, plan)
        slices = _held_out_slices(request, case)
        whole = _prepared_case(case, prepared, annotation)
        if case.name in request.validation:
            held_out.append(whole)
            continue
        learned = replace(whole, annotation=_learned_labels(whole.annotation, request, case, prepared, ()))
        beyond_lines.append(int(np.count_nonzero(learned.annotation != whole.annotation)))
        complete.append(learned)
        if slices:
            parts = split_annotation(annotation, slices)
            _check_measurable(case.name, parts[1], slices)
            kept, measured = (prepare_annotation(part, prepared) for part in parts)
            held_out.append(labelled_part(replace(whole, annotation=measured), plan.patch_size, size_multiple))
            learned = replace(whole, annotation=_learned_labels(kept, request, case, prepared, slices))
        trained.append(learned)
    _check_something_left(trained, request)
    notes = (_beyond_lines_note(beyond_lines),) if request.settings.background_beyond_lines else ()
    return PreparedCases(tuple(trained), tuple(complete), tuple(held_out), notes)


def _check_measurable(name: str, measured: LabelMap, held_out: Sequence[Slice]) -> None:
    if (measured.array == UNLABELLED).all():
        raise TrainingDataError(
            "Slices that are held out must be labelled, to be measured on",
            received=f"{', '.join(map(str, held_out))} in {name}, on which nothing is",
            remedy="Hold out labelled slices, or none",
        )


def _check_something_left(trained: Sequence[PreparedCase], request: TrainingRequest) -> None:
    if request.held_out_slices and all((case.annotation == UNLABELLED).all() for case in trained):
        raise TrainingDataError(
            "Held-out slices must leave labels to learn from",
            received=f"all labels of {len(trained)} case(s) held out",
            remedy="Hold out fewer slices",
        )


def _learned_labels(
    labelled: LabelArray, request: TrainingRequest, case: Case, prepared: Prepared, held_out: Sequence[Slice]
) -> LabelArray:
    """What is learned on the network's grid: as labelled, or as chosen with background beyond lines, too.

    No voxel of the held-out slices is added.
    """
    if not request.settings.background_beyond_lines:
        return labelled
    on_slices = prepare_mask(_on_slices(_annotation(case), held_out), prepared)
    return np.where(on_slices, labelled, with_background_beyond_lines(labelled))


def _beyond_lines_note(voxels: Sequence[int]) -> str:
    cases = np.count_nonzero(voxels)
    return (
        f"Taken for background beyond closed lines: {sum(voxels)} voxels that nobody labelled, "
        f"in {cases} of {len(voxels)} cases."
    )


def _on_slices(annotation: LabelMap, slices: Sequence[Slice]) -> NDArray[np.bool_]:
    """(D, H, W). Raises ``SettingsError`` for a slice outside."""
    marks = replace(annotation, array=np.zeros_like(annotation.array))
    on_slices: NDArray[np.bool_] = keep_slices(marks, slices).array != UNLABELLED
    return on_slices


def _held_out_slices(request: TrainingRequest, case: Case) -> Sequence[Slice]:
    return (request.held_out_slices or {}).get(case.name, ())


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
