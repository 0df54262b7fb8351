"""From the arguments of ``unetseg calibrate`` to a model that can compute in 8 bit."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..config import MAX_INT8_DICE_LOSS, Int8, Plan
from ..data import CaseFiles, find_cases, load_case
from ..errors import SettingsError, TrainingDataError, UnetsegError
from ..files import atomic_path, replay_path
from ..inference import calibrate, int8_dice_loss
from ..messages import Progress
from ..model_file import Model, load_model, save_model
from ..preprocessing import prepare_annotation, preprocess
from ..training import check_output
from ..volume import LabelArray
from .training import held_out

CALIBRATION_CASES = 8
"""More change the ranges no more."""


def calibrated(
    arguments: argparse.Namespace, *, check_cancel: Callable[[], None], report: Callable[[Progress], None]
) -> Int8:
    """Measures the ranges and, on other cases, the loss; writes the model with both if the loss is small.

    Raises:
        UnetsegError: the loss is too large; nothing is written.
    """
    check_output(arguments.output, resume=False)
    if arguments.output.resolve() == arguments.model.resolve():
        raise SettingsError("A calibrated model must not replace the one it is made from", received=arguments.output)
    model = load_model(arguments.model)
    measured, judging = _split(arguments)

    def prepared(cases: Sequence[CaseFiles], stage: str) -> Iterator[tuple[Tensor, LabelArray]]:
        for number, files in enumerate(cases):
            check_cancel()
            report(Progress("", stage, number / len(cases)))
            yield _prepared(files, model.document.plan)

    ranges = calibrate(model.network, (image for image, _ in prepared(measured, "calibrating")))
    loss = int8_dice_loss(
        model.network,
        prepared(judging, "measuring"),
        ranges,
        patch_size=model.document.plan.patch_size,
        check_cancel=check_cancel,
    )
    if not loss < MAX_INT8_DICE_LOSS:
        raise UnetsegError(
            f"8 bit must cost less than {MAX_INT8_DICE_LOSS} of Dice",
            received=f"{loss:.4f} on {len(judging)} held-out cases",
            remedy="Use the model as it is, in another precision",
        )
    int8 = Int8(ranges, loss, len(judging))
    pieces = replay_path(arguments.model)
    if pieces.is_file():
        with atomic_path(replay_path(arguments.output)) as temporary:
            shutil.copyfile(pieces, temporary)
    save_model(arguments.output, Model(replace(model.document, int8=int8), model.network))
    return int8


def _split(arguments: argparse.Namespace) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Labelled cases for the ranges, evenly from all, and those for the loss."""
    cases = {files.name: files for files in find_cases(arguments.cases).cases if files.label is not None}
    names = held_out(arguments.validation, list(cases), np.random.default_rng(arguments.seed))
    others = [files for name, files in cases.items() if name not in names]
    if not names or not others:
        raise TrainingDataError(
            "Calibrating needs labelled cases to measure the ranges on, and others to measure the loss on",
            received=f"{len(others)} and {len(names)}",
            remedy="Add cases, or name those for the loss with --validation",
        )
    spread = np.linspace(0, len(others) - 1, min(CALIBRATION_CASES, len(others))).round().astype(int)
    return [others[index] for index in spread], [cases[name] for name in names]


def _prepared(files: CaseFiles, plan: Plan) -> tuple[Tensor, LabelArray]:
    case = load_case(files)
    prepared = preprocess(case.volume, plan)
    if case.annotation is None:
        raise TrainingDataError("Every case needs labels", received=case.name)
    return torch.from_numpy(prepared.image), prepare_annotation(case.annotation, prepared)
