"""How long until the slices that nobody labelled reach a Dice, from three labelled slices of one volume.

Every method trains anew with each budget, so that its schedule ends with it; its seconds are all that the user waits,
from the labelled slices to the labels of the volume. With ``--model`` networks are fine-tuned on the hippocampus, else
trained from scratch on the liver of one CT.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import fmean

import retraining_hippocampus
from comparison import OURS
from curves import Curve, slices_needed
from methods import METHODS, MISSING, MODULES
from methods.task import Method
from results import publish
from retraining_hippocampus import IN_DOMAIN, SHIFTED
from retraining_liver import LABELS, liver
from rows import START, Row
from study import Conditions, Job, Study

SLICES = 3
PLAIN = "plain, all logits"
OTHERS = ("monai", "nnunet")
"""Of the methods, those with networks of their own."""


def contestants(model: Path | None) -> tuple[dict[str, Method], list[str]]:
    """The methods that can run here, and a sentence for each that cannot."""
    found, absent = {name: METHODS[name] for name in (OURS, PLAIN)}, []
    import_module(f"methods.{MODULES[OURS]}")  # so that no method's first seconds are those of its imports
    for name in OTHERS:
        if name in MISSING:
            absent.append(f"{name} was left out: {MISSING[name]} is not installed.")
            continue
        base = import_module(f"methods.{MODULES[name]}").base_path(model) if model else None
        if base is not None and not base.is_file():
            absent.append(f"{name} was left out: there is no {base}, which train_{name}_base.py makes.")
            continue
        found[name] = METHODS[name]
    return found, absent


def jobs_and_conditions(arguments: argparse.Namespace, seconds: float) -> tuple[list[Job], Conditions]:
    """What is segmented, and with which budget."""
    if arguments.model:
        given = argparse.Namespace(**{**vars(arguments), "seconds": seconds, "slices": [(SLICES,)], "tuning": False})
        return retraining_hippocampus.jobs(given), retraining_hippocampus.conditions(given)
    jobs = [Job(liver(), (SLICES,), seed) for seed in range(arguments.seeds)]
    return jobs, Conditions(LABELS, "unet_3d", "CT", seconds, arguments.device)


def curves(rows: Sequence[Row]) -> dict[str, dict[str, Curve]]:
    """Mean Dice by mean seconds, one point a budget, by domain and method; all begin with the start model's."""
    points: dict[str, dict[str, dict[float, list[Row]]]] = {}
    for row in rows:
        budgets = points.setdefault(row.key.domain, {}).setdefault(row.key.method, {})
        budgets.setdefault(0.0 if row.key.method == START else row.key.budget_seconds, []).append(row)
    found = {}
    for domain, by_method in points.items():
        start = [_point(some) for some in by_method.pop(START, {}).values()]
        found[domain] = {
            method: dict(sorted([*start, *(_point(some) for some in budgets.values())]))
            for method, budgets in by_method.items()
        }
    return found


def _point(rows: Sequence[Row]) -> tuple[float, float]:
    return fmean(row.seconds for row in rows), fmean(row.figures.mean_dice for row in rows)


def table(found: Mapping[str, Mapping[str, Curve]], goals: Sequence[float]) -> list[list[object]]:
    """One line for each domain and method: its curve, and for each goal its seconds and how many times ours."""
    lines: list[list[object]] = []
    for domain, by_method in found.items():
        for method, curve in by_method.items():
            points = ", ".join(f"{seconds:.0f}: {dice:.3f}" for seconds, dice in curve.items())
            lines.append([domain, method, points, *(_reached(curve, by_method[OURS], goal) for goal in goals)])
    return lines


def _reached(curve: Curve, ours: Curve, goal: float) -> str:
    """``40.0 (2.00)``: after 40 s, twice as long as ours; more than the longest measured where it is not reached."""
    own, least = slices_needed(curve, goal), slices_needed(ours, goal)
    more, seconds = ("", own) if own is not None else ("> ", max(curve))
    times = f" ({more}{seconds / least:.2f})" if least else ""
    return f"{more}{seconds:.1f}{times}"


def main(arguments: argparse.Namespace) -> None:
    chosen, absent = contestants(arguments.model)
    rows: list[Row] = []
    for seconds in sorted(arguments.budgets):
        jobs, conditions = jobs_and_conditions(arguments, seconds)
        study = Study(chosen, conditions, arguments.output)
        study.run(jobs)
        rows += study.rows(jobs)
    name = "hippocampus, fine-tuned" if arguments.model else "liver, from scratch"
    header = ["domain", "method", "Dice after seconds", *(f"seconds to {goal:g} (of ours)" for goal in arguments.goals)]
    note = f"Means over {arguments.seeds} seeds; straight lines between the budgets."
    publish(
        f"Seconds of training to a Dice: {name}", header, table(curves(rows), arguments.goals), notes=[note, *absent]
    )


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="of the hippocampus, trained on the case numbers ≡ 1 mod 3")
    parser.add_argument("--domains", nargs="+", choices=(IN_DOMAIN, SHIFTED), default=[SHIFTED])
    parser.add_argument("--cases", type=int, default=2, help="of the hippocampus, for each seed")
    parser.add_argument("--seeds", type=int, default=1, help="0 … N - 1")
    parser.add_argument("--budgets", type=float, nargs="+", default=[5, 10, 20, 40, 80], help="seconds of training")
    parser.add_argument("--goals", type=float, nargs="+", default=[0.7, 0.8, 0.85], help="Dice to reach")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, required=True, help="folder of the measurements, finished ones are kept")
    return parser


if __name__ == "__main__":
    main(options().parse_args())
