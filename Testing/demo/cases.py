"""What the demo works on: a few cases for a first model, and one volume of another appearance to correct."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appearance import shift_appearance
from unetseg.config import Label
from unetseg.data import Case, default_labels, find_cases, load_case
from unetseg.errors import TrainingDataError
from unetseg.phantom import PHANTOM_LABELS, make_phantom
from unetseg.volume import UNLABELLED, LabelArray, Volume

FIRST_CASES = 6


@dataclass(frozen=True)
class DemoCases:
    """``first`` trains the first model, called ``model``; a radiologist who knows ``truth`` corrects ``volume``.

    Attributes:
        name: of the volume.
        origin: a sentence on where the volume comes from.
        truth: (D, H, W), labelled throughout.
    """

    name: str
    model: str
    origin: str
    labels: tuple[Label, ...]
    first: list[Case]
    volume: Volume
    truth: LabelArray


def phantom_cases(seed: int) -> DemoCases:
    """Upright phantoms of one scanner to train on, one oblique phantom of another scanner to correct."""
    first = []
    for index in range(FIRST_CASES):
        body = make_phantom(np.random.default_rng([seed, index]), domain="first")
        first.append(Case(f"phantom_{index}", *body))
    volume, truth = make_phantom(np.random.default_rng([seed, FIRST_CASES]), domain="shifted", oblique=True)
    origin = "The abdomen is a made-up one: nobody's data is needed to show how it works."
    return DemoCases("Abdominal MR", "Abdomen", origin, PHANTOM_LABELS, first, volume, truth.array)


def real_cases(folder: Path, seed: int) -> DemoCases:
    """Every third case, in the order of their names, trains the first model; the second one is to be corrected.

    Its intensities are inverted, given a bias field and noise, as a stand-in for another scanner's contrast.

    Raises:
        TrainingDataError: the second case is not labelled throughout.
    """
    found = find_cases(folder)
    first = [load_case(files) for files in found.cases[::3]]
    test = load_case(found.cases[1])
    if test.annotation is None or (test.annotation.array == UNLABELLED).any():
        raise TrainingDataError(
            "The radiologist of the demo must know the label of every voxel of the volume",
            received=f"voxels without a label in {test.name}",
            remedy="Name a folder whose second case is labelled throughout",
        )
    classes = 1 + max(int(case.annotation.array[case.annotation.array < UNLABELLED].max()) for case in first)
    volume = shift_appearance(test.volume, np.random.default_rng(seed))
    origin = f"The volume is {test.name} with inverted contrast, shading and noise, as if from another scanner."
    labels = found.labels or default_labels(classes)
    return DemoCases(test.name, "First model", origin, labels, first, volume, test.annotation.array)
