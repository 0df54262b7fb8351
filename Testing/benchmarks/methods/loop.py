"""Ours: the product's loop as the panel runs it, with its own settings."""

from __future__ import annotations

from unetseg.data import Case
from unetseg.volume import LabelArray

from .retrain import retrained
from .task import Task


def run(task: Task) -> LabelArray:
    """Which slices are held out for a trial is left to the trainer; ``task.changes`` are an ablation's."""
    return retrained(task, Case(task.case, task.volume, task.annotation, task.edited), task.changes, carry=True)
