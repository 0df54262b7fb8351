"""A new network from scribbles instead of slices: the heart in cine MR (ACDC; scribbles of Valvano 2021).

The same cases as in train_heart.py train the network, from the scribbles alone, from the scribbles with background
beyond their closed lines, from the scribbles with all other voxels taken for background, and from every voxel. All are
measured against every voxel of the test cases.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from experiment import DATA, load_cases, measure, parser, run_training, settings
from results import publish
from train_heart import LABELS
from unetseg.data import Case
from unetseg.image_io import read_label_map
from unetseg.training import TrainingRequest
from unetseg.volume import UNLABELLED

FOLDER = DATA / "acdc_cine"
NOT_ANNOTATED = 4
"""In the scribbles' files."""

BEYOND_LINES = "scribbles, background beyond closed lines"
REST = "scribbles, the rest as background"
TEACHERS = ("scribbles", BEYOND_LINES, REST, "every voxel")


def scribbled(case: Case, rest: int) -> Case:
    """The case with its scribbles for labels and ``rest`` everywhere else."""
    scribbles = read_label_map(FOLDER / "scribbles" / f"{case.name}.nii.gz")
    array = np.where(scribbles.array == NOT_ANNOTATED, np.uint8(rest), scribbles.array)
    return replace(case, annotation=replace(scribbles, array=array))


def taught(case: Case, teacher: str) -> Case:
    """The case as one of the ``TEACHERS`` labels it."""
    if teacher == "every voxel":
        return case
    return scribbled(case, 0 if teacher == REST else UNLABELLED)


def main(arguments: argparse.Namespace) -> None:
    cases = load_cases(FOLDER, keep=lambda name: True)
    test = cases[2::3]
    rows: list[list[object]] = []
    said: dict[str, None] = {}
    for teacher in arguments.teachers:
        training = [taught(case, teacher) for case in cases if case not in test]
        labelled = float(np.mean([np.mean(case.annotation.array != UNLABELLED) for case in training]))
        result = run_training(
            TrainingRequest(
                cases=training,
                output=arguments.output / f"heart_{'_'.join(teacher.replace(',', '').split())}.safetensors",
                settings=settings(arguments, background_beyond_lines=teacher == BEYOND_LINES),
                labels=LABELS,
                network=arguments.network,
                modality="MR",
                device=arguments.device,
            )
        )
        said.update(dict.fromkeys(result.notes))
        scores = measure(result.model, test, device=arguments.device)
        rows.append(
            [
                teacher,
                f"{labelled:.1%}",
                len(training),
                len(test),
                *scores.per_class,
                scores.mean,
                result.iterations,
                round(result.seconds),
            ]
        )
    structures = [label.name for label in LABELS[1:]]
    publish(
        f"Heart in cine MR (ACDC) from scribbles, {arguments.network} compact",
        ["taught by", "labelled voxels", "training cases", "test cases", *structures, "mean Dice", "steps", "s"],
        rows,
        notes=(f"Seed {arguments.seed}.", *said),
    )


if __name__ == "__main__":
    options = parser(__doc__ or "", seconds=480)
    options.add_argument("--network", default="attention_unet")
    options.add_argument("--teachers", nargs="+", choices=TEACHERS, default=TEACHERS)
    chosen = options.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    main(chosen)
