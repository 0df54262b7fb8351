"""How long retraining takes with segmenting the volume again, for a hippocampus and for a region of a CT.

The start model of the CT's region of 64 × 128 × 128 voxels (see retraining_liver.py) is trained here, from three slices
and for as long as a retraining; how good it is plays no part.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from comparison import OURS
from experiment import load_cases
from methods import METHODS
from results import publish
from retraining_hippocampus import FOLDER, IN_DOMAIN, names_to_correct, subjects
from retraining_liver import LABELS, liver
from study import Conditions, Job, Study, Subject, choose_slices
from unetseg.config import TrainingSettings
from unetseg.data import Case, keep_slices
from unetseg.model_file import read_document
from unetseg.training import Control, TrainingRequest, train

SLICES = 5


def liver_model(subject: Subject, output: Path, *, seconds: float, device: str) -> Path:
    """A model of the subject's own."""
    annotation = keep_slices(subject.truth, choose_slices(subject.truth, None, (3,)))
    request = TrainingRequest(
        cases=[Case(subject.case, subject.volume, annotation)],
        output=output,
        settings=TrainingSettings(seconds=seconds),
        labels=LABELS,
        modality="CT",
        device=device,
    )
    train(request, control=Control(), report=lambda progress: None)
    return output


def timed(subject: Subject, model: Path, arguments: argparse.Namespace, folder: Path) -> list[object]:
    """Retrain once: a line of the table."""
    document = read_document(model)
    conditions = Conditions(
        labels=document.labels,
        network=document.network.name,
        modality=document.plan.modality,
        seconds=arguments.seconds,
        device=arguments.device,
        start_file=model,
    )
    study = Study({OURS: METHODS[OURS]}, conditions, folder)
    jobs = [Job(subject, (SLICES,), seed=0)]
    study.run(jobs)
    start, ours = study.rows(jobs)
    shape = " × ".join(map(str, subject.truth.array.shape))
    return [
        subject.domain,
        shape,
        f"{start.seconds:.1f}",
        f"{ours.seconds:.1f}",
        start.figures.mean_dice,
        ours.figures.mean_dice,
    ]


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ct = liver()
        model = liver_model(ct, folder / "liver.safetensors", seconds=arguments.seconds, device=arguments.device)
        (case,) = load_cases(FOLDER, keep=lambda name: name == names_to_correct(tuning=True)[0])
        (hippocampus,) = subjects(case, [IN_DOMAIN], whole=False)
        rows = [
            timed(replace(hippocampus, domain="hippocampus"), arguments.model, arguments, folder / "hippocampus"),
            timed(ct, model, arguments, folder / "ct"),
        ]
    publish(
        f"Time of retraining from {SLICES} slices",
        ["volume", "voxels", "segmenting alone, s", "retraining and segmenting, s", "Dice before", "Dice after"],
        rows,
        notes=(f"{arguments.seconds:g} s of training. Targets: 180 s on two CPU cores, 30 s on a GPU.",),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="of the hippocampus, with both parts")
    parser.add_argument("--seconds", type=float, default=60, help="training time")
    parser.add_argument("--device", default="auto")
    main(parser.parse_args())
