"""What every training benchmark does: train on some cases, segment others, measure."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unetseg.config import TrainingSettings
from unetseg.data import Case, find_cases, load_case
from unetseg.inference import segment
from unetseg.metrics import dice_per_class
from unetseg.model_file import Model
from unetseg.training import Control, Progress, TrainingRequest, TrainingResult, train

DATA = Path(os.environ.get("UNETSEG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@dataclass(frozen=True)
class Scores:
    """Dice per test case (rows) and class ≥ 1 (columns); NaN where a case has no such class."""

    cases: tuple[str, ...]
    dice: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the classes of the mean over the cases."""
        return float(np.nanmean(self.dice, axis=0).mean())

    @property
    def per_class(self) -> list[float]:
        return [float(value) for value in np.nanmean(self.dice, axis=0)]


def parser(description: str, *, seconds: float) -> argparse.ArgumentParser:
    """The options that all training benchmarks share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--seconds", type=float, default=seconds, help="training time, validation included")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--output", type=Path, required=True, help="folder for the models")
    options.add_argument("--device", default="auto")
    return options


def load_cases(folder: Path, *, keep: Callable[[str], bool]) -> list[Case]:
    """The cases of a folder whose name is to be kept, in order."""
    return [load_case(files) for files in find_cases(folder).cases if keep(files.name)]


def run_training(request: TrainingRequest) -> TrainingResult:
    """Train, with a line on stderr at every validation."""

    def report(progress: Progress) -> None:
        if progress.held_out_dice is not None:
            shown = " ".join("n/a" if value is None else f"{value:.3f}" for value in progress.held_out_dice)
            print(f"  {progress.fraction:4.0%} iteration {progress.iteration} held out {shown}", file=sys.stderr)

    return train(request, control=Control(), report=report)


def settings(arguments: argparse.Namespace, **changes: object) -> TrainingSettings:
    """The product's own settings with the benchmark's budget and seed."""
    return replace(TrainingSettings(seconds=arguments.seconds, seed=arguments.seed), **changes)  # type: ignore[arg-type]


def measure(model: Model, cases: Sequence[Case], *, device: str) -> Scores:
    """Segment each case on its own grid and compare with its labels (255 is left out)."""
    rows = []
    for case in cases:
        assert case.annotation is not None
        predicted = segment(model, case.volume, device=device).label_map
        dice = dice_per_class(predicted.array, case.annotation.array, model.document.network.classes)
        rows.append([np.nan if value is None else value for value in dice])
    return Scores(tuple(case.name for case in cases), np.array(rows))
