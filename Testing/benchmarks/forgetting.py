"""What a network forgets by learning from one volume: retrained networks on cases of the domain that they came from.

The volumes and slices are those of retraining_hippocampus.py. Each retrained network is measured on the same 20 cases
as they are, which neither it nor the start model has seen: those that are kept for tuning.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from experiment import load_cases, measure
from intervals import paired_interval
from methods import METHODS
from results import publish
from retraining_hippocampus import FOLDER, conditions, hippocampus_options, jobs, names_to_correct
from study import Conditions, Job, choose_slices, make_task
from summary import POINTS
from train_hippocampus import WHOLE, without_parts
from unetseg.data import Case
from unetseg.inference import segment
from unetseg.model_file import Model, load_model

BASE_CASES = 20


def retrained(job: Job, method: str, settings: Conditions, start: Model) -> Model:
    """The network that a method leaves in its folder."""
    volume, truth = job.subject.volume, job.subject.truth
    prediction = segment(start, volume, device=settings.device).label_map.array
    slices = choose_slices(truth, prediction, job.counts)
    with tempfile.TemporaryDirectory() as folder:
        METHODS[method](make_task(job, slices, settings, start, prediction, Path(folder)))
        return load_model(Path(folder) / "retrained.safetensors")


def base_cases(arguments: argparse.Namespace, classes: int) -> list[Case]:
    """Cases of the start model's domain that nothing here is trained on."""
    names = names_to_correct(tuning=not arguments.tuning)[:BASE_CASES]
    cases = load_cases(FOLDER, keep=lambda name: name in names)
    return [without_parts(case) for case in cases] if classes == len(WHOLE) else cases


def main(arguments: argparse.Namespace) -> None:
    settings = conditions(arguments)
    start = load_model(arguments.model)
    base = base_cases(arguments, len(settings.labels))
    before = measure(start, base, device=arguments.device).dice.mean(axis=1)
    changes: dict[tuple[str, str, str], list[np.ndarray]] = {}
    for job in jobs(arguments):
        for method in arguments.methods:
            after = measure(retrained(job, method, settings, start), base, device=arguments.device).dice.mean(axis=1)
            key = (job.subject.domain, ",".join(map(str, job.counts)), method)
            changes.setdefault(key, []).append(POINTS * (after - before))
            print(*key, job.subject.case, f"{changes[key][-1].mean():+.2f} points", file=sys.stderr)
    rows: list[list[object]] = []
    for key, several in changes.items():
        pairs = [(case.name, change) for one in several for case, change in zip(base, one, strict=True)]
        found = paired_interval(pairs)
        interval = f"{found.mean:+.2f} [{found.lower:+.2f}, {found.upper:+.2f}]"
        rows.append([*key, len(several), float(before.mean()), interval, f"{min(one.mean() for one in several):+.2f}"])
    publish(
        "What retraining on one hippocampus forgets of the others",
        [
            *("domain of the retraining", "slices", "method", "retrainings", "Dice before"),
            *("change, points [95 %]", "worst retraining, points"),
        ],
        rows,
        notes=(
            f"Mean Dice on {len(base)} cases that no training saw. {arguments.seconds:g} s of training, "
            f"{arguments.seeds} seeds.",
        ),
    )


if __name__ == "__main__":
    parser = hippocampus_options(__doc__, cases=2, slices=[(3,)])
    parser.set_defaults(methods=["loop", "plain"])
    main(parser.parse_args())
