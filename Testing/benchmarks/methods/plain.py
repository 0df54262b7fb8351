"""The loss of 3D U-Net (Çiçek 2016) and no more: voxels that nobody labelled weigh 0.

The product's network, optimiser and budget, but no weights for classes and edits, no averaged weights, no rehearsal or
distillation, and no gate. Patches lie on labelled voxels, as in every practice of sparse labels.
"""

from __future__ import annotations

from unetseg.data import Case
from unetseg.volume import LabelArray

from .retrain import WITHOUT_GATE, WITHOUT_LOOP, retrained
from .task import Task


def run(task: Task) -> LabelArray:
    """Which voxels the annotator changed is not looked at."""
    return retrained(task, Case(task.case, task.volume, task.annotation), WITHOUT_LOOP, **WITHOUT_GATE)
