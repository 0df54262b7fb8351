"""A new 2D network from 1, 2 and 4 slices: membranes (ISBI 2012) and a sandstone's minerals (micro-CT).

All sections of a data set make one stack; the network is measured on those that were not shown. Distances are in
pixels. The sandstone's slices are 50 and 100 apart, so that nothing can be filled in between them.
"""

from __future__ import annotations

import argparse

import numpy as np

from comparison import add_study_options, conduct, task_options
from experiment import DATA, load_cases
from study import Conditions, Job, Subject
from train_membranes import LABELS as MEMBRANE_LABELS
from train_membranes import membranes_as_class_1
from unetseg.config import Label
from unetseg.data import Case
from unetseg.volume import Geometry, LabelMap, Volume

SANDSTONE_LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "pore", (86, 180, 233)),
    Label(2, "quartz", (230, 159, 0)),
    Label(3, "heavy mineral", (0, 158, 115)),
)
SETS = {"membranes": MEMBRANE_LABELS, "sandstone": SANDSTONE_LABELS}
SECTION_PIXELS = {"membranes": 12.5, "sandstone": 50.0}
"""Distance of sections over the size of a pixel: 50 nm over 4 nm, and 50 slices."""


def stack(cases: list[Case], name: str) -> Subject:
    """Sections of equal size, one behind the other."""
    image = np.concatenate([case.volume.array for case in cases], axis=1)
    labels = np.concatenate([case.annotation.array for case in cases])
    geometry = Geometry(labels.shape, (SECTION_PIXELS[name], 1.0, 1.0))
    return Subject(name, Volume(image, geometry), LabelMap(labels, geometry), name)


def load_stack(name: str) -> Subject:
    if name == "sandstone":
        return stack(load_cases(DATA / "sandstone_microct", keep=lambda name: True), name)
    cases = load_cases(DATA / "em_isbi2012", keep=lambda name: True)
    return stack([membranes_as_class_1(case, case.annotation) for case in cases], name)


def main(arguments: argparse.Namespace) -> None:
    for name in arguments.sets:
        subject = load_stack(name)
        jobs = [Job(subject, counts, seed) for seed in range(arguments.seeds) for counts in arguments.slices]
        conditions = Conditions(SETS[name], "unet_2d", "microscopy", arguments.seconds, arguments.device)
        conduct(arguments, f"2D U-Net from a few slices, from scratch: {name}", jobs, conditions)


if __name__ == "__main__":
    parser = add_study_options(task_options(__doc__, seconds=120, seeds=2, slices=[(1,), (2,), (4,)]))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    main(parser.parse_args())
