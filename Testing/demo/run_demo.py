"""The loop in pictures, without Slicer: segment, correct a few slices, retrain, compare, keep.

A first model is trained on phantoms (or, with --cases, on real cases) of one appearance and used on a volume of
another, so that it errs. A simulated radiologist then works at the module's own panel, on real MRML and real Qt:
paints with the Segment Editor's logic, confirms slices, retrains and compares. All figures are measured on slices
that were never corrected.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import host
except ImportError as error:
    sys.exit(f"The demo draws with Slicer's libraries and Qt, which cannot be used here: {error}.")

host.start()

import pqt  # noqa: E402  (like all below, it needs what the host has started)
import qt  # noqa: E402
import vtk  # noqa: E402
from cases import DemoCases, phantom_cases, real_cases  # noqa: E402
from page import write_page  # noqa: E402
from story import Story  # noqa: E402

from unetseg.config import TrainingSettings  # noqa: E402
from unetseg.training import Control, Progress, TrainingRequest, train  # noqa: E402

MODULE = Path(__file__).resolve().parents[2] / "UNetSegment" / "UNetSegment.py"


def main(arguments: argparse.Namespace, workspace: Path) -> None:
    """Write pictures and page; ``workspace`` is an empty folder for the first model and the module's project."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    cases = real_cases(arguments.cases, arguments.seed) if arguments.cases else phantom_cases(arguments.seed)
    model = workspace / f"{cases.model}.safetensors"
    print(f"Training a first model on {len(cases.first)} cases ({arguments.first_seconds:.0f} s) …", flush=True)
    train_first(cases, model, arguments.first_seconds, arguments.seed)
    print("Segmenting, correcting, retraining at the panel …", flush=True)
    with opened_module(workspace / "project") as widget:
        story = Story(widget, cases, arguments.output)
        story.tell(model, arguments.minutes)
    assert not pqt.errors, pqt.errors  # a slot has swallowed them
    table = figures(story, cases)
    page = arguments.output / "index.html"
    write_page(page, story.pictures, table, cases.origin)
    print("\nOverlap (Dice) on the slices that were never corrected:\n")
    for row in table:
        print("".join(f"{cell:>18}" for cell in row))
    print(f"\nThe loop in pictures: {page}")


def train_first(cases: DemoCases, output: Path, seconds: float, seed: int) -> None:
    """Write a model that knows the first appearance only."""

    def report(progress: Progress) -> None:
        if sys.stderr.isatty():
            print(f"\r  {progress.stage} {progress.fraction:4.0%} ", end="", file=sys.stderr, flush=True)

    settings = TrainingSettings(seconds=seconds, seed=seed)
    request = TrainingRequest(cases=cases.first, output=output, settings=settings, labels=cases.labels, modality="MR")
    train(request, control=Control(), report=report)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)


@contextmanager
def opened_module(project: Path) -> Iterator[Any]:
    """The module's widget while the module is open, with an empty project."""
    qt.QSettings().setValue("UNetSegment/projectFolder", str(project))
    _module, widget = host.loadModule(MODULE)
    host.enter(widget)
    try:
        yield widget
    finally:
        host.exit(widget)
        host.close(widget)


def keep_to_errors() -> None:
    """Neither Qt nor VTK may tell in between that there is no screen."""

    def show(_kind: Any, _context: Any, message: str) -> None:
        if "propagateSizeHints" not in message:
            print(message, file=sys.stderr)

    qt.qInstallMessageHandler(show)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)


def figures(story: Story, cases: DemoCases) -> list[list[str]]:
    """Header and one row a result: corrected slices, Dice of each structure and their mean, seconds of waiting."""
    rows = [["Corrected slices", *(label.name for label in cases.labels[1:]), "Mean", "Seconds"]]
    for result in story.results:
        dice = story.dice(result)
        known = [value for value in dice if value is not None]
        texts = ["–" if value is None else f"{value:.2f}" for value in dice]
        rows.append([str(result.slices), *texts, f"{sum(known) / len(known):.2f}", f"{result.seconds:.0f}"])
    return rows


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--output", type=Path, default=Path("demo"))
    options.add_argument("--cases", type=Path, help="real cases instead of phantoms: a folder with images/ and labels/")
    options.add_argument("--first-seconds", type=float, default=75, help="training time of the first model")
    options.add_argument("--minutes", type=float, default=1.0, help="time of each retraining, at least 0.5")
    options.add_argument("--seed", type=int, default=0)
    keep_to_errors()
    with tempfile.TemporaryDirectory() as folder:
        qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, folder)
        main(options.parse_args(), Path(folder))
