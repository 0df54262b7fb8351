"""Which slice to label next: where the model is least sure, in the largest gap, or any; on the hippocampus.

A volume gets one labelled slice after the other, each chosen by a strategy from what the model of that moment says, and
after each the start model is retrained with all of them. The better strategy has the larger area under the curve of
Dice against slices. The Dice on the slices that are not labelled flatters a strategy that takes the difficult ones
away, the Dice of the whole volume with the labelled slices in it flatters one that takes the large ones: both are told.

``--model`` was trained on the case numbers ≡ 1 mod 3; see ``retraining_hippocampus.py`` for the volumes.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator import untouched_dice
from comparison import OURS, add_study_options
from intervals import case_means, paired_interval
from measures import mean_known
from methods import METHODS
from methods.task import Task
from results import publish
from retraining_hippocampus import IN_DOMAIN, SHIFTED, conditions, jobs
from study import Conditions, Job, make_task
from summary import POINTS
from unetseg.array_file import exhaust
from unetseg.data import Slice
from unetseg.errors import SettingsError
from unetseg.inference import segment
from unetseg.metrics import dice_per_class
from unetseg.model_file import Model, file_sha256, load_model
from unetseg.preprocessing import thickest_axis
from unetseg.records import dumps, from_json, loads
from unetseg.suggestion import count_foreground, score_slices, suggest
from unetseg.volume import UNLABELLED, LabelArray, LabelMap, Vector

ROUNDS = 6
STRIDE, UNCERTAINTY = "stride", "uncertainty"


@dataclass(frozen=True, eq=False)
class Look:
    """What is known when the next slice is chosen.

    Attributes:
        labels, uncertainty: uint8, (D, H, W); what the model of this moment makes of the volume, the labelled slices
            as they were labelled.
        start_labels: what the start model makes of it.
        taken: slices that are labelled.
        seed: of all that is left to chance; another one for each volume.
    """

    labels: LabelArray
    uncertainty: LabelArray
    start_labels: LabelArray
    spacing_mm: Vector
    taken: tuple[Slice, ...]
    seed: int


def by_suggestion(look: Look, *, uncertainty: bool, start: bool = False, chance: bool = False) -> Slice:
    """The product's choice, as ``unetseg suggest`` makes it with these options."""
    scores = None
    if uncertainty:
        start_labels = look.start_labels if start else None
        scores = exhaust(score_slices(look.labels, look.uncertainty, look.spacing_mm, start_labels))
    seed = look.seed if chance else None
    found = suggest(count_foreground(look.labels), look.taken, (), look.spacing_mm, scores, seed)
    if found is None:
        raise SettingsError("A volume needs more slices than are labelled", received=f"{len(look.taken)} are labelled")
    return found.axis, found.index


def at_random(look: Look, *, in_structure: bool) -> Slice:
    """Any slice along the native axis; or of one structure, drawn first, a slice that shows it (nnActive)."""
    generator = np.random.default_rng([look.seed, len(look.taken)])
    axis = thickest_axis(look.labels.shape, look.spacing_mm)
    left = [index for index in range(look.labels.shape[axis]) if (axis, index) not in look.taken]
    if in_structure:
        planes = np.moveaxis(look.labels, axis, 0)
        shown = {value: [i for i in left if (planes[i] == value).any()] for value in np.unique(planes[left]) if value}
        left = shown[generator.choice(sorted(shown))] if shown else left
    return axis, int(generator.choice(left))


STRATEGIES: dict[str, Callable[[Look], Slice]] = {
    STRIDE: functools.partial(by_suggestion, uncertainty=False),
    UNCERTAINTY: functools.partial(by_suggestion, uncertainty=True),
    "uncertainty, start": functools.partial(by_suggestion, uncertainty=True, start=True),
    "uncertainty, start, chance": functools.partial(by_suggestion, uncertainty=True, start=True, chance=True),
    "random in a structure": functools.partial(at_random, in_structure=True),
    "random": functools.partial(at_random, in_structure=False),
}


@dataclass(frozen=True)
class Key:
    """What makes a curve another one. ``start`` is the start model's hash."""

    domain: str
    case: str
    seed: int
    strategy: str
    rounds: int
    budget_seconds: float
    start: str


@dataclass(frozen=True)
class Curve:
    """After 1, 2 … slices, in the order of ``slices``.

    Attributes:
        untouched: mean Dice over the classes on the voxels of no labelled slice.
        whole: the same on all voxels.
    """

    key: Key
    slices: tuple[Slice, ...]
    untouched: tuple[float, ...]
    whole: tuple[float, ...]


def area(values: Sequence[float]) -> float:
    """Under the curve through values one slice apart (trapezoids), divided by its length: a mean Dice."""
    return (sum(values) - (values[0] + values[-1]) / 2) / (len(values) - 1)


class VolumeRun:
    """One volume and all that was trained on it: the same slices give the same result to every strategy."""

    def __init__(self, job: Job, given: Conditions, start: Model) -> None:
        self._job, self._given, self._start = job, given, start
        found = segment(start, job.subject.volume, device=given.device, uncertainty=True)
        self._known: dict[tuple[Slice, ...], tuple[LabelArray, LabelArray]] = {
            (): (found.label_map.array, found.uncertainty)
        }

    def curve(self, key: Key) -> Curve:
        """Label ``key.rounds`` slices by the strategy, one after the other."""
        truth, classes = self._job.subject.truth, len(self._given.labels)
        taken: tuple[Slice, ...] = ()
        untouched, whole = [], []
        for _round in range(key.rounds):
            taken = (*taken, STRATEGIES[key.strategy](self._look(taken)))
            labels, _uncertainty = self._after(taken)
            untouched.append(mean_known(untouched_dice(LabelMap(labels, truth.geometry), truth, taken, classes)))
            whole.append(mean_known(dice_per_class(labels, truth.array, classes)))
        return Curve(key, taken, tuple(untouched), tuple(whole))

    def _look(self, taken: tuple[Slice, ...]) -> Look:
        subject = self._job.subject
        seed = zlib.crc32(f"{subject.case} {self._job.seed}".encode())
        labels, uncertainty = self._after(taken)
        return Look(labels, uncertainty, self._known[()][0], subject.truth.geometry.spacing_mm, taken, seed)

    def _after(self, taken: tuple[Slice, ...]) -> tuple[LabelArray, LabelArray]:
        """Labels and uncertainty after a retraining with these slices."""
        if taken not in self._known:
            with tempfile.TemporaryDirectory() as folder:
                task = make_task(self._job, taken, self._given, self._start, self._known[()][0], Path(folder))
                self._known[taken] = self._retrained(task) if shows_structure(task.annotation) else self._pasted(task)
        return self._known[taken]

    def _retrained(self, task: Task) -> tuple[LabelArray, LabelArray]:
        labels = METHODS[OURS](task)
        model = load_model(task.folder / "retrained.safetensors")
        options = {"confirmed": task.annotation.array, "device": self._given.device}
        return labels, segment(model, self._job.subject.volume, uncertainty=True, **options).uncertainty

    def _pasted(self, task: Task) -> tuple[LabelArray, LabelArray]:
        """Where nothing can be learned yet, the start model's opinion stays."""
        labels, uncertainty = self._known[()]
        known = task.annotation.array != UNLABELLED
        return np.where(known, task.annotation.array, labels), np.where(known, np.uint8(0), uncertainty)


def shows_structure(annotation: LabelMap) -> bool:
    return bool(((annotation.array > 0) & (annotation.array != UNLABELLED)).any())


def stored_curves(folder: Path) -> Iterator[Curve]:
    """Those that ``measure`` has stored. Raises ``RecordError`` for a line that is none."""
    for path in sorted(folder.glob("curves*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield from_json(Curve, loads(line))


def keys_of(job: Job, arguments: argparse.Namespace, start_sha256: str) -> list[Key]:
    """One for each strategy."""
    common = (arguments.rounds, arguments.seconds, start_sha256)
    return [Key(job.subject.domain, job.subject.case, job.seed, name, *common) for name in arguments.strategies]


def measure(found: Sequence[Job], arguments: argparse.Namespace, start_sha256: str) -> None:
    """Measure what is missing of this process's share of the jobs; each curve is stored at once."""
    part, parts = arguments.share
    given, start = conditions(arguments), load_model(arguments.model)
    arguments.output.mkdir(parents=True, exist_ok=True)
    done = {curve.key for curve in stored_curves(arguments.output)}
    for number, job in enumerate(found[part::parts], start=1):
        missing = [key for key in keys_of(job, arguments, start_sha256) if key not in done]
        volume = VolumeRun(job, given, start) if missing else None
        for key in missing:
            curve = volume.curve(key)
            with (arguments.output / f"curves_{part}_of_{parts}.jsonl").open("a", encoding="utf-8") as file:
                file.write(dumps(curve) + "\n")
            shown = " ".join(f"{value:.4f}" for value in curve.untouched)
            print(f"{number}/{len(found[part::parts])} {key.case} {key.domain} {key.strategy} {shown}", file=sys.stderr)


def table(curves: Sequence[Curve]) -> tuple[list[str], list[list[object]]]:
    """Header and one line for each domain and strategy; means over cases, of one case over its seeds."""
    rounds = len(curves[0].untouched)
    header = ["domain", "strategy", "cases", *(f"Dice after {n + 1}" for n in range(rounds)), "area"]
    header += ["minus stride, points [95 %]", "area, whole volume", "minus stride, points [95 %]"]
    lines: list[list[object]] = []
    for domain, strategy in dict.fromkeys((curve.key.domain, curve.key.strategy) for curve in curves):
        own, stride = (
            [curve for curve in curves if (curve.key.domain, curve.key.strategy) == (domain, name)]
            for name in (strategy, STRIDE)
        )
        after = [mean_over_cases(own, lambda curve, n=n: curve.untouched[n]) for n in range(rounds)]
        line = [domain, strategy, len({curve.key.case for curve in own}), *after]
        for figure in (lambda curve: area(curve.untouched), lambda curve: area(curve.whole)):
            line += [mean_over_cases(own, figure), difference(own, stride, figure) if strategy != STRIDE else ""]
        lines.append(line)
    return header, lines


def mean_over_cases(curves: Sequence[Curve], figure: Callable[[Curve], float]) -> float:
    return float(np.mean(list(case_means((curve.key.case, figure(curve)) for curve in curves).values())))


def difference(ours: Sequence[Curve], theirs: Sequence[Curve], figure: Callable[[Curve], float]) -> str:
    """Mean difference in Dice points over the cases and seeds that both have, with its interval."""
    other = {(curve.key.case, curve.key.seed): figure(curve) for curve in theirs}
    pairs = [
        (curve.key.case, POINTS * (figure(curve) - other[curve.key.case, curve.key.seed]))
        for curve in ours
        if (curve.key.case, curve.key.seed) in other
    ]
    if not pairs:
        return "n/a"
    found = paired_interval(pairs)
    return f"{found.mean:+.2f} [{found.lower:+.2f}, {found.upper:+.2f}]"


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="trained on the case numbers ≡ 1 mod 3")
    parser.add_argument("--seconds", type=float, default=30, help="training time after every slice")
    parser.add_argument("--seeds", type=int, default=4, help="0 … N - 1")
    parser.add_argument("--cases", type=int, default=8, help="volumes of each seed")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="slices of a volume, at least 2")
    parser.add_argument("--domains", nargs="+", choices=(IN_DOMAIN, SHIFTED), default=[IN_DOMAIN, SHIFTED])
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--tuning", action="store_true", help="on the cases that are kept for tuning")
    parser.add_argument("--device", default="auto")
    return add_study_options(parser)


def main(arguments: argparse.Namespace) -> None:
    found = jobs(argparse.Namespace(**vars(arguments), slices=[(arguments.rounds,)]))
    start_sha256 = file_sha256(arguments.model)
    if not arguments.summarise:
        measure(found, arguments, start_sha256)
    if arguments.summarise or arguments.share == (0, 1):
        stored = {curve.key: curve for curve in stored_curves(arguments.output)}
        curves = [stored[key] for job in found for key in keys_of(job, arguments, start_sha256) if key in stored]
        header, lines = table(curves)
        publish("Which slice to label next", header, lines, notes=(f"{arguments.seconds:g} s of training a slice.",))


if __name__ == "__main__":
    main(options().parse_args())
