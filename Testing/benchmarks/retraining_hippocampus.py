"""Retraining from a few slices of one volume: the loop beside what people use today, on the hippocampus (MSD Task04).

``--model`` was trained on the case numbers ≡ 1 mod 3; here those ≡ 2 mod 3 are corrected one by one, as they are and
as if from another scanner. Every fourth of these is kept for ``--tuning``; nothing published may have been chosen on
the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from appearance import shift_appearance
from comparison import OURS, add_study_options, cases_of_seed, conduct, task_options
from experiment import DATA, load_cases
from intervals import paired_interval
from rows import START, Row
from study import Conditions, Counts, Job, Subject
from summary import POINTS, mean_over_cases, paired
from train_hippocampus import WHOLE, case_number, without_parts
from unetseg.data import Case, find_cases
from unetseg.model_file import read_document

IN_DOMAIN, SHIFTED = "in domain", "shifted"
SHIFT_SEED = 20
"""One other scanner for all volumes."""

FULL_LABELS_DICE = 0.895
"""nnU-Net trained on all labels (nnActive, arXiv 2511.19183): what a gap is measured to."""

FOLDER = DATA / "hippocampus"


def names_to_correct(*, tuning: bool) -> list[str]:
    """Every fourth of those that the model has not seen is for tuning, the others are for measuring."""
    names = [files.name for files in find_cases(FOLDER).cases if case_number(files.name) % 3 == 2]
    return [name for index, name in enumerate(names) if (index % 4 == 3) == tuning]


def subjects(case: Case, domains: list[str], *, whole: bool) -> list[Subject]:
    """The case in each domain, with both parts or as one structure."""
    found = []
    if whole:
        case = without_parts(case)
    for domain in domains:
        volume = case.volume
        if domain == SHIFTED:
            volume = shift_appearance(volume, np.random.default_rng(SHIFT_SEED))
        found.append(Subject(case.name, volume, case.annotation, domain))
    return found


def jobs(arguments: argparse.Namespace) -> list[Job]:
    """Seed by seed, so that a study that is not finished is one of fewer seeds."""
    names = names_to_correct(tuning=arguments.tuning)
    whole = len(read_document(arguments.model).labels) == len(WHOLE)
    found = []
    for seed in range(arguments.seeds):
        own = cases_of_seed(names, seed=seed, seeds=arguments.seeds, count=arguments.cases)
        for case in load_cases(FOLDER, keep=lambda name, own=own: name in own):
            own_subjects = subjects(case, arguments.domains, whole=whole)
            found += [Job(subject, counts, seed) for subject in own_subjects for counts in arguments.slices]
    return sorted(found, key=lambda job: (job.seed, arguments.domains.index(job.subject.domain), job.counts))


def conditions(arguments: argparse.Namespace) -> Conditions:
    """What all methods start from."""
    document = read_document(arguments.model)
    return Conditions(
        labels=document.labels,
        network=document.network.name,
        modality=document.plan.modality,
        seconds=arguments.seconds,
        device=arguments.device,
        start_file=arguments.model,
    )


def gains(rows: list[Row]) -> list[str]:
    """What the loop gains over the start; of a shifted domain also how much of the gap to full labels it closes."""
    lines = []
    for domain, slices in dict.fromkeys((row.key.domain, row.key.slices) for row in rows):
        before, after = (
            [row for row in rows if (row.key.domain, row.key.slices, row.key.method) == (domain, slices, method)]
            for method in (START, OURS)
        )
        if not after:
            continue
        gain = paired_interval(paired(after, before)).mean
        line = f"{domain}, {slices} slices: the {OURS} gains {gain:+.1f} points"
        if domain == SHIFTED:
            gap = POINTS * (FULL_LABELS_DICE - mean_over_cases(before, lambda row: row.figures.mean_dice))
            line += f", {gain / gap:.0%} of the gap between the start and full labels ({FULL_LABELS_DICE})"
        lines.append(f"{line}.")
    return lines


def hippocampus_options(description: str | None, *, cases: int, slices: Sequence[Counts]) -> argparse.ArgumentParser:
    """Those of all benchmarks that retrain the hippocampus."""
    parser = task_options(description, seconds=60, seeds=4, slices=slices, cases=cases)
    parser.add_argument("--model", type=Path, required=True, help="trained on the case numbers ≡ 1 mod 3")
    parser.add_argument("--domains", nargs="+", choices=(IN_DOMAIN, SHIFTED), default=[IN_DOMAIN, SHIFTED])
    parser.add_argument("--tuning", action="store_true", help="on the cases that are kept for tuning")
    return parser


def main(arguments: argparse.Namespace) -> None:
    conduct(arguments, "Retraining the hippocampus", jobs(arguments), conditions(arguments), notes=gains)


if __name__ == "__main__":
    main(add_study_options(hippocampus_options(__doc__, cases=8, slices=[(3,), (5,)])).parse_args())
