"""A new network from a few slices of one CT: the liver (CHAOS), beside what people use today.

The volume is the region of 64 × 128 × 128 voxels around the liver, in plane with a third of the CT's resolution
(2 × 2.2 × 2.2 mm): what a user would mark as the region, and small enough for minutes on two cores.
"""

from __future__ import annotations

import argparse

import numpy as np

from annotator import foreground_extent
from comparison import add_study_options, conduct, task_options
from experiment import DATA, load_cases
from study import Conditions, Job, Subject
from unetseg.config import Label
from unetseg.data import Case
from unetseg.volume import LabelMap, Volume

LABELS = (Label(0, "background", (0, 0, 0)), Label(1, "liver", (221, 130, 101)))
REGION = (64, 128, 128)
FACTOR = 3


def coarser(case: Case, factor: int) -> Subject:
    """Mean intensity of ``factor`` × ``factor`` voxels in plane, and the label of the middle one; ``factor`` is odd."""
    depth, height, width = case.annotation.array.shape
    rows, columns = height // factor, width // factor
    whole = case.volume.geometry.cropped((0, 0, 0), (depth, rows * factor, columns * factor))
    d_mm, h_mm, w_mm = whole.spacing_mm
    geometry = whole.with_spacing((d_mm, h_mm * factor, w_mm * factor))
    image = case.volume.array[:, :, : rows * factor, : columns * factor]
    means = image.reshape(len(image), depth, rows, factor, columns, factor).mean(axis=(3, 5))
    middle = slice(factor // 2, None, factor)
    labels = case.annotation.array[:, : rows * factor, : columns * factor][:, middle, middle]
    volume = Volume(means.astype(np.float32), geometry)
    return Subject(case.name, volume, LabelMap(np.ascontiguousarray(labels), geometry), "CT region")


def region(subject: Subject, shape: tuple[int, int, int]) -> Subject:
    """The box of ``shape`` in the image whose centre is nearest to that of the structures."""
    start = []
    for axis, size in enumerate(shape):
        first, last = foreground_extent(subject.truth.array, axis)
        start.append(int(np.clip((first + last + 1 - size) // 2, 0, subject.truth.array.shape[axis] - size)))
    box = tuple(slice(begin, begin + size) for begin, size in zip(start, shape, strict=True))
    geometry = subject.truth.geometry.cropped(start, shape)
    volume = Volume(np.ascontiguousarray(subject.volume.array[(slice(None), *box)]), geometry)
    return Subject(
        subject.case, volume, LabelMap(np.ascontiguousarray(subject.truth.array[box]), geometry), subject.domain
    )


def liver() -> Subject:
    """The CT that there is."""
    (case,) = load_cases(DATA / "ct_liver_chaos", keep=lambda name: True)
    return region(coarser(case, FACTOR), REGION)


def main(arguments: argparse.Namespace) -> None:
    subject = liver()
    jobs = [Job(subject, counts, seed) for seed in range(arguments.seeds) for counts in arguments.slices]
    conditions = Conditions(LABELS, "unet_3d", "CT", arguments.seconds, arguments.device)
    conduct(arguments, "Liver in CT (CHAOS) from a few slices, from scratch", jobs, conditions)


if __name__ == "__main__":
    main(add_study_options(task_options(__doc__, seconds=180, seeds=4, slices=[(3,), (5,)])).parse_args())
