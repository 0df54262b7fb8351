"""Compare methods on the same volumes, slices and budget.

Every finished row is stored at once, so that a killed run goes on where it was and several processes can share the
work.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator import correct, growing_rounds, orthogonal_slices
from measures import measure
from methods.task import Method, Task
from rows import START, Key, Row, append_row, stored_rows
from unetseg.config import Label, Modality
from unetseg.data import Slice, keep_slices
from unetseg.inference import segment
from unetseg.model_file import Model, file_sha256, load_model
from unetseg.preprocessing import thickest_axis
from unetseg.volume import LabelArray, LabelMap, Volume

Counts = tuple[int, ...]
"""How many slices: one number across the native axis (of the largest spacing), or three across D, H and W."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A volume and its truth, labelled throughout. ``domain`` says how it differs from what the start model knows."""

    case: str
    volume: Volume
    truth: LabelMap
    domain: str


@dataclass(frozen=True, eq=False)
class Job:
    """What all methods are measured on, one after the other."""

    subject: Subject
    counts: Counts
    seed: int


@dataclass(frozen=True)
class Conditions:
    """The same for all jobs of a study; see ``Task``. Without a start file all networks learn from scratch."""

    labels: tuple[Label, ...]
    network: str
    modality: Modality | None
    seconds: float
    device: str
    start_file: Path | None = None


class Study:
    """``methods`` under the same conditions; the rows lie in the folder ``output``."""

    def __init__(self, methods: Mapping[str, Method], conditions: Conditions, output: Path) -> None:
        self._methods, self._conditions, self._output = methods, conditions, output
        start_file = conditions.start_file
        self._start = load_model(start_file) if start_file else None
        self._start_sha256 = file_sha256(start_file) if start_file else ""
        output.mkdir(parents=True, exist_ok=True)

    def run(self, jobs: Sequence[Job], *, share: tuple[int, int] = (0, 1)) -> None:
        """Measure what is not stored yet of every ``share[1]``-th job, from job ``share[0]`` on."""
        part, parts = share
        done = {row.key for row in stored_rows(self._output)}
        path = self._output / f"rows_{part}_of_{parts}.jsonl"
        for number, job in enumerate(jobs[part::parts], start=1):
            missing = [key for key in self._keys(job) if key not in done]
            for row in self._measured(job, missing) if missing else ():
                append_row(path, row)
                shown = f"{row.key.case} {row.key.domain} {row.key.slices} {row.key.method}"
                print(f"{number}/{len(jobs[part::parts])} {shown} {row.figures.mean_dice:.4f}", file=sys.stderr)

    def rows(self, jobs: Sequence[Job]) -> list[Row]:
        """Those stored for these jobs, in the order of the jobs and methods."""
        found = {row.key: row for row in stored_rows(self._output)}
        return [found[key] for job in jobs for key in self._keys(job) if key in found]

    def _keys(self, job: Job) -> list[Key]:
        return [
            Key(
                domain=job.subject.domain,
                case=job.subject.case,
                slices=",".join(map(str, job.counts)),
                seed=job.seed,
                method=method,
                budget_seconds=self._conditions.seconds,
                start=self._start_sha256,
            )
            for method in ([START] if self._start else []) + list(self._methods)
        ]

    def _measured(self, job: Job, keys: Sequence[Key]) -> Iterator[Row]:
        truth, classes = job.subject.truth, len(self._conditions.labels)
        prediction, seconds_to_segment = self._predicted(job.subject.volume)
        slices = choose_slices(truth, prediction, job.counts)
        for key in keys:
            if key.method == START:
                yield Row(key, measure(prediction, truth, slices, classes), seconds_to_segment)
                continue
            with tempfile.TemporaryDirectory() as folder:
                task = make_task(job, slices, self._conditions, self._start, prediction, Path(folder))
                began = time.perf_counter()
                labels = self._methods[key.method](task)
                seconds = time.perf_counter() - began
            yield Row(key, measure(labels, truth, slices, classes), seconds)

    def _predicted(self, volume: Volume) -> tuple[LabelArray | None, float]:
        """What the start model makes of the volume, if there is one, and in how many seconds."""
        if self._start is None:
            return None, 0.0
        began = time.perf_counter()
        prediction = segment(self._start, volume, device=self._conditions.device).label_map.array
        return prediction, time.perf_counter() - began


def choose_slices(truth: LabelMap, prediction: LabelArray | None, counts: Counts) -> tuple[Slice, ...]:
    """What a user would look at: slices spread over the extent of what the start model has found.

    Where it has found nothing, or there is none, over the structures' own extent, which the user sees in the image.
    """
    found = prediction is not None and prediction.any()
    seen = LabelMap(prediction, truth.geometry) if found else truth  # type: ignore[arg-type]
    if len(counts) == 1:
        axis = thickest_axis(truth.geometry.shape, truth.geometry.spacing_mm)
        return growing_rounds(seen, axis=axis, counts=counts)[0]
    d, h, w = counts
    return orthogonal_slices(seen, (d, h, w))


def make_task(
    job: Job,
    slices: Sequence[Slice],
    conditions: Conditions,
    start: Model | None,
    prediction: LabelArray | None,
    folder: Path,
) -> Task:
    """Let the annotator label the slices."""
    truth = job.subject.truth
    edited = None if prediction is None else correct(truth, LabelMap(prediction, truth.geometry), slices).edited
    return Task(
        case=job.subject.case,
        volume=job.subject.volume,
        slices=tuple(slices),
        annotation=keep_slices(truth, slices),
        edited=edited,
        start=start,
        start_file=conditions.start_file,
        prediction=prediction,
        labels=conditions.labels,
        network=conditions.network,
        modality=conditions.modality,
        seconds=conditions.seconds,
        seed=job.seed,
        folder=folder,
        device=conditions.device,
    )
