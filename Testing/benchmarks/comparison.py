"""What every benchmark of retraining does: read its options, run or go on with a study, publish its table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from methods import METHODS
from methods.task import Method
from results import publish
from rows import Row
from study import Conditions, Counts, Job, Study
from summary import table

OURS = "loop"


def task_options(
    description: str | None, *, seconds: float, seeds: int, slices: Sequence[Counts], cases: int = 1
) -> argparse.ArgumentParser:
    """The options that say what is measured, with their defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=seconds, help="training time of every method")
    parser.add_argument("--seeds", type=int, default=seeds, help="0 … N - 1")
    parser.add_argument("--cases", type=int, default=cases, help="volumes of each seed")
    parser.add_argument("--slices", type=counts, nargs="+", default=list(slices), help="3 or, along D, H and W, 2,2,1")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--device", default="auto")
    return parser


def add_study_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add those of a study that is kept on disk."""
    parser.add_argument("--output", type=Path, required=True, help="folder of the measurements, finished ones are kept")
    parser.add_argument("--share", type=share, default=(0, 1), metavar="0/2", help="this process's part of the jobs")
    parser.add_argument("--summarise", action="store_true", help="only publish what has been measured")
    return parser


def conduct(
    arguments: argparse.Namespace,
    title: str,
    jobs: Sequence[Job],
    conditions: Conditions,
    *,
    methods: Mapping[str, Method] | None = None,
    notes: Callable[[list[Row]], Sequence[str]] = lambda rows: (),
) -> None:
    """Run what is missing of this process's share of the jobs; publish where that is all of them, or only publish.

    Args:
        methods: others than those that the options name.
        notes: further lines for the reader, from all rows.
    """
    chosen = {name: METHODS[name] for name in arguments.methods} if methods is None else methods
    study = Study(chosen, conditions, arguments.output)
    if not arguments.summarise:
        study.run(jobs, share=arguments.share)
    if arguments.summarise or arguments.share == (0, 1):
        rows = study.rows(jobs)
        header, lines = table(rows, ours=OURS)
        budget = f"{conditions.seconds:g} s of training for every method, {arguments.seeds} seeds."
        publish(title, header, lines, notes=(budget, *notes(rows)))


def counts(text: str) -> Counts:
    """``3`` or ``2,2,1``."""
    found = tuple(int(count) for count in text.split(","))
    if len(found) not in (1, 3) or min(found) < 0 or not any(found):
        raise argparse.ArgumentTypeError(f"{text} is neither one number of slices nor three, along D, H and W")
    return found


def share(text: str) -> tuple[int, int]:
    """``0/2``: the first of two."""
    part, parts = (int(number) for number in text.split("/"))
    if not 0 <= part < parts:
        raise argparse.ArgumentTypeError(f"{text} is no share: use 0/2 and 1/2 for two processes")
    return part, parts


def cases_of_seed(names: Sequence[str], *, seed: int, seeds: int, count: int) -> list[str]:
    """``count`` names, spread over all of them, that no other seed has."""
    own = list(names)[seed::seeds]
    count = min(count, len(own))
    return [own[index * len(own) // count] for index in range(count)]
