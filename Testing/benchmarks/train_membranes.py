"""The compact 2D U-Net on cell membranes (ISBI 2012): trained on sections 0–13, tested on 15–19.

The sections are consecutive in one stack; 14 is left out as a gap. Part of the stack is noisier than the sections
trained on: by Immerkær's estimate (1996), the noise of the challenge's sections without labels (``test_unlabelled``)
is a fifth of the grey values' standard deviation, three times that of the sections trained on. So training adds noise
up to twice that much. Baseline: Otsu's threshold on the smoothed section, with the smoothing (pixels) that is best on
the training sections.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from experiment import DATA, Scores, load_cases, measure, parser, run_training, settings
from results import publish
from unetseg.config import AugmentationSettings, Label
from unetseg.data import Case
from unetseg.metrics import dice
from unetseg.training import TrainingRequest
from unetseg.volume import LabelMap

LABELS = (Label(0, "cell", (0, 0, 0)), Label(1, "membrane", (230, 159, 0)))


def membranes_as_class_1(folder_case: Case, labels: LabelMap) -> Case:
    """The files say 255 for cell and 0 for membrane; 255 would mean "not labelled" here."""
    return replace(folder_case, annotation=replace(labels, array=(labels.array == 0).astype(np.uint8)))


def otsu(case: Case, *, sigma: float) -> np.ndarray:
    """Dark pixels of the smoothed section."""
    image = sitk.GetImageFromArray(case.volume.array[0, 0])
    smooth = sitk.SmoothingRecursiveGaussian(image, sigma) if sigma else image
    return sitk.GetArrayFromImage(sitk.OtsuThreshold(smooth, 1, 0)).astype(bool)[None]


def baseline(training: list[Case], test: list[Case]) -> tuple[float, Scores]:
    def scores(cases: list[Case], sigma: float) -> np.ndarray:
        return np.array([[dice(otsu(case, sigma=sigma), case.annotation.array == 1)] for case in cases])

    best = max((0.0, 1.0, 1.5, 2.0, 3.0), key=lambda sigma: scores(training, sigma).mean())
    return best, Scores(tuple(case.name for case in test), scores(test, best))


def main(arguments: argparse.Namespace) -> None:
    cases = [
        membranes_as_class_1(case, case.annotation)
        for case in load_cases(DATA / "em_isbi2012", keep=lambda name: name != "14")
    ]
    training = [case for case in cases if int(case.name) < 14]
    test = [case for case in cases if int(case.name) > 14]
    result = run_training(
        TrainingRequest(
            cases=training,
            output=arguments.output / "membranes.safetensors",
            # A section has no up or down: every flip is a section one could have cut.
            settings=settings(
                arguments,
                augmentation=AugmentationSettings(flip_axes=(1, 2), noise_std=0.4, noise_probability=0.5),
            ),
            labels=LABELS,
            network="unet_2d",
            modality="microscopy",
            validation=("12", "13"),
            device=arguments.device,
        )
    )
    scores = measure(result.model, test, device=arguments.device)
    sigma, threshold = baseline(training, test)
    publish(
        "Membranes in electron microscopy (ISBI 2012), unet_2d compact",
        ["method", "training sections", "test sections", "Dice of membrane", "iterations", "seconds"],
        [
            [f"Otsu, smoothed by {sigma} px", len(training), len(test), threshold.mean, "", ""],
            ["unet_2d compact", len(training) - 2, len(test), scores.mean, result.iterations, round(result.seconds)],
        ],
        notes=(f"2 further training sections chose the weights; seed {arguments.seed}.",),
    )


if __name__ == "__main__":
    chosen = parser(__doc__ or "", seconds=420).parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    main(chosen)
