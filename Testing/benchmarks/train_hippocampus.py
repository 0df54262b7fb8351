"""The compact 3D U-Net on the hippocampus (MSD Task04): trained on case numbers ≡ 1 mod 3, tested on ≡ 2 mod 3.

``--slices 3`` trains on annotations that label only that many coronal slices of each case, evenly spread over the
extent of the structure; every tenth training case is held out for choosing the weights, labelled just as sparsely.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from annotator import annotate, strided_slices
from experiment import DATA, load_cases, measure, parser, run_training, settings
from results import publish
from unetseg.config import Label
from unetseg.data import Case
from unetseg.training import TrainingRequest

LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "anterior hippocampus", (230, 159, 0)),
    Label(2, "posterior hippocampus", (86, 180, 233)),
)
CORONAL = 1  # the files' second array axis runs along the long axis of the hippocampus


def case_number(name: str) -> int:
    return int(name.split("_")[1])


def sparse(case: Case, count: int) -> Case:
    """The case as if only ``count`` slices had been labelled."""
    assert case.annotation is not None
    slices = strided_slices(case.annotation, axis=CORONAL, count=count)
    return replace(case, annotation=annotate(case.annotation, slices))


def main(arguments: argparse.Namespace) -> None:
    folder = DATA / "hippocampus"
    training = load_cases(folder, keep=lambda name: case_number(name) % 3 == 1)
    test = load_cases(folder, keep=lambda name: case_number(name) % 3 == 2)
    if arguments.slices:
        training = [sparse(case, arguments.slices) for case in training]
    request = TrainingRequest(
        cases=training,
        output=arguments.output / f"hippocampus_{arguments.slices or 'all'}_slices.safetensors",
        settings=settings(arguments),
        labels=LABELS,
        network=arguments.network,
        modality="MR",
        validation=tuple(case.name for case in training[::10]),
        device=arguments.device,
    )
    result = run_training(request)
    scores = measure(result.model, test, device=arguments.device)
    publish(
        f"Hippocampus, {arguments.network} compact, {arguments.slices or 'all'} slices labelled per case",
        ["training cases", "test cases", "anterior", "posterior", "mean Dice", "worst case", "iterations", "seconds"],
        [
            [
                len(training) - len(request.validation),
                len(test),
                *scores.per_class,
                scores.mean,
                float(scores.dice.mean(axis=1).min()),
                result.iterations,
                round(result.seconds),
            ]
        ],
        notes=(f"{len(request.validation)} further training cases chose the weights; seed {arguments.seed}.",),
    )


if __name__ == "__main__":
    options = parser(__doc__ or "", seconds=1500)
    options.add_argument("--slices", type=int, default=0, help="labelled slices per case; 0: all")
    options.add_argument("--network", default="unet_3d")
    chosen = options.parse_args()
    Path(chosen.output).mkdir(parents=True, exist_ok=True)
    main(chosen)
