"""Voxels that nobody labelled taken for background, as MONAI Label and most tools do: they have no label to ignore."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unetseg.data import Case
from unetseg.volume import UNLABELLED, LabelArray, LabelMap

from .retrain import WITHOUT_GATE, WITHOUT_LOOP, retrained
from .task import Task


def run(task: Task) -> LabelArray:
    """The same plain training as ``plain``, on the volume as a segmentation file without "unlabelled" holds it."""
    case = Case(task.case, task.volume, unlabelled_as_background(task.annotation))
    return retrained(task, case, WITHOUT_LOOP, **WITHOUT_GATE)


def unlabelled_as_background(annotation: LabelMap) -> LabelMap:
    """0 wherever nobody labelled."""
    array = np.where(annotation.array == UNLABELLED, 0, annotation.array).astype(np.uint8)
    return replace(annotation, array=array)
