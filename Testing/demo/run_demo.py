"""The main job without Slicer: segment a volume, correct a few slices, retrain from only those, segment again.

A first model is trained on phantoms (or, with --cases, on real cases) of one appearance and applied to a volume of
another, so that it errs. A simulated annotator corrects 1, 3 and 5 slices from the truth. Each time a new model is
trained from the first one and those slices alone. Every figure is measured on slices that were never shown.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pictures import draw_curve, draw_rounds

from annotator import correct, growing_rounds, untouched_dice
from unetseg.config import Label, TrainingSettings
from unetseg.data import Case, default_labels, find_cases, load_case
from unetseg.image_io import write_image, write_label_map
from unetseg.inference import Segmentation, segment
from unetseg.model_file import Model
from unetseg.phantom import PHANTOM_LABELS, make_phantom
from unetseg.training import Control, Progress, TrainingRequest, TrainingResult, train
from unetseg.volume import LabelMap, Volume

ROUNDS = (1, 3, 5)
FIRST_CASES = 6


@dataclass(frozen=True)
class Round:
    """One turn of the loop. ``slices`` is 0 for the first model, whose figures are the starting point."""

    slices: int
    result: Segmentation
    dice: tuple[float | None, ...]
    training_seconds: float
    segmenting_seconds: float

    @property
    def mean_dice(self) -> float:
        return float(np.mean([value for value in self.dice if value is not None]))


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    first_cases, test, labels = real_cases(arguments) if arguments.cases else phantom_cases(arguments.seed)
    truth = test.annotation
    assert truth is not None

    print(f"Training a first model on {len(first_cases)} cases ({arguments.first_seconds:.0f} s) …", flush=True)
    first = train_model(first_cases, output / "first.safetensors", labels, arguments.first_seconds, arguments.seed)
    result, seconds = timed_segment(first.model, test.volume)
    thickest = int(np.argmax(truth.geometry.spacing_mm))
    slices = growing_rounds(truth, axis=thickest, counts=ROUNDS)
    shown = slices[-1]
    classes = len(labels)
    dice = untouched_dice(result.label_map, truth, shown, classes)
    rounds = [Round(0, result, dice, first.seconds, seconds)]
    print_round(rounds[-1])
    for count, chosen in zip(ROUNDS, slices, strict=True):
        correction = correct(truth, rounds[0].result.label_map, chosen)
        corrected = Case(test.name, test.volume, correction.annotation, correction.edited)
        retrained = train_model(
            [corrected],
            output / f"after_{count}_slices.safetensors",
            labels,
            arguments.seconds,
            arguments.seed,
            start=first,
        )
        result, seconds = timed_segment(retrained.model, test.volume)
        dice = untouched_dice(result.label_map, truth, shown, classes)
        rounds.append(Round(count, result, dice, retrained.seconds, seconds))
        print_round(rounds[-1])
    print_table(rounds, labels, shown)
    save(output, test, truth, rounds, labels, shown)
    print(f"\nPictures, models and label maps are in {output}")


def phantom_cases(seed: int) -> tuple[list[Case], Case, tuple[Label, ...]]:
    """First-domain phantoms to train on, one anisotropic, oblique phantom of the shifted domain to test on."""
    generator = np.random.default_rng(seed)
    first = [Case(f"phantom_{i}", *make_phantom(generator, domain="first", oblique=False)) for i in range(FIRST_CASES)]
    volume, truth = make_phantom(generator, domain="shifted", oblique=True)
    return first, Case("test_phantom", volume, truth), PHANTOM_LABELS


def real_cases(arguments: argparse.Namespace) -> tuple[list[Case], Case, tuple[Label, ...]]:
    """Every third case, in the order of their names, trains the first model; the test case is one of the others.

    Its intensities are inverted, given a bias field and noise, as a stand-in for another scanner's contrast.
    """
    found = find_cases(arguments.cases)
    first = [load_case(files) for files in found.cases[::3]]
    test = load_case(found.cases[1])
    assert test.annotation is not None
    classes = 1 + max(int(case.annotation.array[case.annotation.array < 255].max()) for case in first)
    labels = found.labels or default_labels(classes)
    shifted = shift_appearance(test.volume, np.random.default_rng(arguments.seed))
    return first, Case(test.name, shifted, test.annotation), labels


def shift_appearance(volume: Volume, generator: np.random.Generator) -> Volume:
    """Inverted contrast, a smooth bias of up to 30 %, noise of 5 % of the intensity range (1st to 99th percentile)."""
    array = volume.array
    low, high = np.percentile(array, [1, 99])
    inverted = 1.0 - np.clip((array - low) / (high - low), 0.0, 1.0)
    ramps = [np.linspace(-1.0, 1.0, n) for n in array.shape[1:]]
    strengths = generator.uniform(-0.3, 0.3, size=3)
    bias = 1.0 + sum(
        strength * ramp.reshape([-1 if axis == i else 1 for i in range(3)])
        for axis, (strength, ramp) in enumerate(zip(strengths, ramps, strict=True))
    )
    noisy = inverted * bias + generator.normal(0.0, 0.05, size=array.shape)
    return Volume((1000.0 * noisy).astype(np.float32), volume.geometry)


def train_model(
    cases: Sequence[Case],
    path: Path,
    labels: tuple[Label, ...],
    seconds: float,
    seed: int,
    *,
    start: TrainingResult | None = None,
) -> TrainingResult:
    def report(progress: Progress) -> None:
        if sys.stderr.isatty():
            print(f"\r  {progress.stage} {progress.fraction:4.0%} ", end="", file=sys.stderr, flush=True)

    request = TrainingRequest(
        cases=cases,
        output=path,
        settings=TrainingSettings(seconds=seconds, seed=seed),
        labels=labels,
        modality="MR",
        start=start.model if start else None,
        start_sha256=start.sha256 if start else "",
    )
    result = train(request, control=Control(), report=report)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    return result


def timed_segment(model: Model, volume: Volume) -> tuple[Segmentation, float]:
    start = time.monotonic()
    result = segment(model, volume, uncertainty=True)
    return result, time.monotonic() - start


def name_of(turn: Round) -> str:
    return {0: "first model", 1: "retrained on 1 slice"}.get(turn.slices, f"retrained on {turn.slices} slices")


def print_round(turn: Round) -> None:
    print(f"{name_of(turn)}: mean Dice {turn.mean_dice:.3f} on slices never shown", flush=True)


def print_table(rounds: Sequence[Round], labels: Sequence[Label], shown: Sequence[tuple[int, int]]) -> None:
    names = [label.name for label in labels[1:]]
    print(f"\nDice on the slices that no training saw (all but {len(shown)}):\n")
    print(f"{'corrected slices':>17} " + " ".join(f"{name[:14]:>14}" for name in names), end="")
    print(f" {'mean':>7} {'gain':>7} {'training s':>11} {'segmenting s':>13}")
    for turn in rounds:
        values = " ".join(f"{'n/a' if value is None else f'{value:.3f}':>14}" for value in turn.dice)
        gain = turn.mean_dice - rounds[0].mean_dice
        print(f"{turn.slices:>17} {values} {turn.mean_dice:>7.3f} {gain:>+7.3f}", end="")
        print(f" {turn.training_seconds:>11.1f} {turn.segmenting_seconds:>13.1f}")


def save(
    output: Path,
    test: Case,
    truth: LabelMap,
    rounds: Sequence[Round],
    labels: Sequence[Label],
    shown: Sequence[tuple[int, int]],
) -> None:
    """The volume, truth and each result as NIfTI; before/after pictures and the loss curve as PNG."""
    write_image(output / "volume.nii.gz", test.volume.array[0], test.volume.geometry)
    write_label_map(output / "truth.nii.gz", truth, labels)
    for turn in rounds:
        write_label_map(output / f"result_{turn.slices}_slices.nii.gz", turn.result.label_map, labels)
    maps = [(f"{name_of(turn)}\nDice {turn.mean_dice:.2f}", turn.result.label_map) for turn in rounds]
    draw_rounds(output / "before_after.png", test.volume, truth, maps, labels, shown)
    curves = {f"{count} slices": output / f"after_{count}_slices.jsonl" for count in ROUNDS}
    draw_curve(output / "loss.png", curves)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--output", type=Path, default=Path("demo"))
    options.add_argument("--cases", type=Path, help="real cases instead of phantoms: a folder with images/ and labels/")
    options.add_argument("--first-seconds", type=float, default=75, help="training time of the first model")
    options.add_argument("--seconds", type=float, default=30, help="training time of each retraining")
    options.add_argument("--seed", type=int, default=0)
    main(options.parse_args())
