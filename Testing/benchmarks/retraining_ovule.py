"""A new 3D network from a few slices across D, H and W, as in Çiçek 2016: nuclei of ovules (Vijayan 2021).

The stacks are the nearest there is to the paper's kidneys: dense tissue under the confocal microscope, three classes.
The files give µm as mm, so that the figures called mm are µm.
"""

from __future__ import annotations

import argparse

from comparison import add_study_options, conduct, task_options
from experiment import DATA
from rows import Row
from study import Conditions, Job, Subject
from unetseg.config import Label
from unetseg.data import CaseFiles, load_case

LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "nucleus", (86, 180, 233)),
    Label(2, "boundary of a nucleus", (230, 159, 0)),
)
FOLDER = DATA / "ovule_nuclei_confocal"
SLICES = [(1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 5, 3)]

CICEK_2016_DICE = {
    "1,1,1": (0.497, 0.651, 0.644),
    "2,2,1": (0.807, 0.733, 0.849),
    "3,3,2": (0.864, 0.894, 0.910),
    "5,5,3": (0.922, 0.918, 0.932),
}
"""Table 2 of arXiv 1606.06650, three kidneys: its IoU as Dice, 2·IoU / (1 + IoU)."""


def subjects() -> list[Subject]:
    """Both stacks with three classes."""
    found = []
    for image in sorted((FOLDER / "images").iterdir()):
        label = FOLDER / "labels_interior1_boundary2" / image.name
        case = load_case(CaseFiles(name=image.name.split(".")[0], images=(image,), label=label))
        found.append(Subject(case.name, case.volume, case.annotation, "ovule"))
    return found


def paper(rows: list[Row]) -> list[str]:
    """The paper's figures for the numbers of slices that were measured."""
    measured = {row.key.slices for row in rows}
    return [
        f"Çiçek 2016, Xenopus kidneys, {slices} slices: Dice {', '.join(f'{one:.2f}' for one in dice)}."
        for slices, dice in CICEK_2016_DICE.items()
        if slices in measured
    ]


def main(arguments: argparse.Namespace) -> None:
    jobs = [
        Job(subject, counts, seed)
        for seed in range(arguments.seeds)
        for counts in arguments.slices
        for subject in subjects()[: arguments.cases]
    ]
    conditions = Conditions(LABELS, "unet_3d", "microscopy", arguments.seconds, arguments.device)
    conduct(arguments, "Ovules from a few slices, 3D U-Net from scratch", jobs, conditions, notes=paper)


if __name__ == "__main__":
    main(add_study_options(task_options(__doc__, seconds=180, seeds=1, slices=SLICES, cases=2)).parse_args())
