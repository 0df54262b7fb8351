"""The compact attention U-Net on end-diastolic cine MR (ACDC): every third case is tested, the others train it.

Baseline: the mean shape. Each training label map is stretched to the test volume's grid, and each voxel takes the
label that most of them have there. ``--networks attention_unet unet_3d`` sets the plain 3D U-Net beside it.
"""

from __future__ import annotations

import argparse

import numpy as np

from experiment import DATA, Scores, load_cases, measure, parser, run_training, settings
from results import publish
from unetseg.config import Label
from unetseg.data import Case
from unetseg.metrics import dice_per_class
from unetseg.training import TrainingRequest

LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "right ventricle", (86, 180, 233)),
    Label(2, "myocardium", (0, 158, 115)),
    Label(3, "left ventricle", (230, 159, 0)),
)


def stretched(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Nearest-neighbour resize, face to face."""
    index = [((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, labels.shape, strict=True)]
    return labels[np.ix_(*index)]


def mean_shape(training: list[Case], test: list[Case]) -> Scores:
    rows = []
    for case in test:
        maps = [stretched(other.annotation.array, case.annotation.array.shape) for other in training]
        votes = np.stack([np.sum([labels == k for labels in maps], axis=0) for k in range(len(LABELS))])
        dice = dice_per_class(votes.argmax(axis=0).astype(np.uint8), case.annotation.array, len(LABELS))
        rows.append([np.nan if value is None else value for value in dice])
    return Scores(tuple(case.name for case in test), np.array(rows))


def main(arguments: argparse.Namespace) -> None:
    cases = load_cases(DATA / "acdc_cine", keep=lambda name: True)
    test = cases[2::3]
    training = [case for case in cases if case not in test]
    baseline = mean_shape(training, test)
    rows: list[list[object]] = [["mean shape", len(training), len(test), *baseline.per_class, baseline.mean, "", ""]]
    for network in arguments.networks:
        result = run_training(
            TrainingRequest(
                cases=training,
                output=arguments.output / f"heart_{network}.safetensors",
                settings=settings(arguments),
                labels=LABELS,
                network=network,
                modality="MR",
                device=arguments.device,
            )
        )
        scores = measure(result.model, test, device=arguments.device)
        rows.append(
            [
                f"{network} compact",
                len(training),
                len(test),
                *scores.per_class,
                scores.mean,
                result.iterations,
                round(result.seconds),
            ]
        )
    publish(
        "Heart in cine MR (ACDC), end-diastole",
        ["method", "training cases", "test cases", *(label.name for label in LABELS[1:]), "mean Dice", "steps", "s"],
        rows,
        notes=(f"No case was held out for choosing the weights: the last averaged ones. Seed {arguments.seed}.",),
    )


if __name__ == "__main__":
    options = parser(__doc__ or "", seconds=480)
    options.add_argument("--networks", nargs="+", default=["attention_unet"])
    chosen = options.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    main(chosen)
