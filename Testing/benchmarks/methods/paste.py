"""Paste only: the start model's prediction, or background where there is none, with the labelled slices in it."""

from __future__ import annotations

import numpy as np

from unetseg.volume import UNLABELLED, LabelArray, LabelMap

from .task import Task


def run(task: Task) -> LabelArray:
    """Nothing is learnt."""
    before = np.zeros_like(task.annotation.array) if task.prediction is None else task.prediction
    return pasted(before, task.annotation)


def pasted(labels: LabelArray, annotation: LabelMap) -> LabelArray:
    """The labels, with the annotator's wherever there are any."""
    return np.where(annotation.array == UNLABELLED, labels, annotation.array)
