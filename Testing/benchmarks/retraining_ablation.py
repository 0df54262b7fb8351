"""What each part of the loop is worth: the loop without it, on the hippocampus's volumes and slices."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from comparison import OURS, add_study_options, conduct
from methods import METHODS
from methods.retrain import retrained
from methods.task import Method, Task
from retraining_hippocampus import conditions, hippocampus_options, jobs
from unetseg.data import Case
from unetseg.volume import LabelArray

VARIANTS: dict[str, Mapping[str, Any]] = {
    OURS: {},
    "without rehearsal of earlier cases": {"replay_share": 0.0},
    "without distillation": {"distillation_weight": 0.0},
    "without rehearsal and distillation": {"replay_share": 0.0, "distillation_weight": 0.0},
    "without the choice of contrast": {"either_contrast": False},
    "without averaged weights": {"ema_decay": 0.0},
    "without edit weights": {"edit_weight": 1.0},
    "without class weights": {"class_weight_limits": (1.0, 1.0)},
    "without Dice in the loss": {"loss": "cross_entropy"},
    "with augmented corrections": {"augment_corrections": True},
}
"""What each variant sets otherwise than the product does; see ``TrainingSettings``."""


def variant(changes: Mapping[str, Any], task: Task) -> LabelArray:
    return METHODS[OURS](replace(task, changes=changes))


def ungated(task: Task) -> LabelArray:
    """The loop without a trial: all slices train from the first step, and nothing decides on the result."""
    return retrained(
        task, Case(task.case, task.volume, task.annotation, task.edited), {}, carry=True, held_out_slices={}
    )


def uncarried(task: Task) -> LabelArray:
    """The loop's network alone: what the slices correct stays on the slices."""
    return retrained(task, Case(task.case, task.volume, task.annotation, task.edited), {})


METHOD_OF_VARIANT: dict[str, Method] = {
    **{name: partial(variant, changes) for name, changes in VARIANTS.items()},
    "without the gate": ungated,
    "without carrying": uncarried,
}


def main(arguments: argparse.Namespace) -> None:
    methods = {name: METHOD_OF_VARIANT[name] for name in arguments.variants}
    conduct(arguments, "Ablation of the loop, hippocampus", jobs(arguments), conditions(arguments), methods=methods)


if __name__ == "__main__":
    parser = add_study_options(hippocampus_options(__doc__, cases=4, slices=[(3,)]))
    parser.add_argument("--variants", nargs="+", choices=METHOD_OF_VARIANT, default=list(METHOD_OF_VARIANT))
    main(parser.parse_args())
