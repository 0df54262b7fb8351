"""What the methods that train the product's own networks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unetseg.config import TrainingSettings
from unetseg.data import Case
from unetseg.files import replay_path
from unetseg.inference import segment
from unetseg.model_file import file_sha256
from unetseg.training import Control, TrainingRequest, train
from unetseg.volume import LabelArray

from .paste import pasted
from .task import Task

WITHOUT_LOOP: Mapping[str, Any] = {
    "class_weight_limits": (1.0, 1.0),
    "edit_weight": 1.0,
    "ema_decay": 0.0,
    "replay_share": 0.0,
    "distillation_weight": 0.0,
    "either_contrast": False,
    "augment_corrections": True,
    "statistics_share": 1.0,
}
"""Of a training in which every labelled voxel weighs the same, norms use each batch's statistics until the end, and the
last weights are the result."""

WITHOUT_GATE: Mapping[str, Any] = {"held_out_slices": {}, "replay": None}
"""Of its request: nothing is there to judge the result on."""


def retrained(task: Task, case: Case, changes: Mapping[str, Any], *, carry: bool = False, **request: Any) -> LabelArray:
    """Train on the case as the product's worker does, and segment the task's volume.

    Args:
        changes: of the product's ``TrainingSettings``.
        carry: carry what the shown slices correct into those around them, as the product does.
        request: further fields of the ``TrainingRequest``.
    """
    defaults = {"replay": None if task.start_file is None else replay_path(task.start_file)}
    result = train(
        TrainingRequest(
            cases=[case],
            output=task.folder / "retrained.safetensors",
            settings=TrainingSettings(**{"seconds": task.seconds, "seed": task.seed, **changes}),
            labels=task.labels,
            network=task.network,
            modality=task.modality,
            start=task.start,
            start_sha256="" if task.start_file is None else file_sha256(task.start_file),
            device=task.device,
            **{**defaults, **request},
        ),
        control=Control(),
        report=lambda progress: None,
    )
    confirmed = task.annotation.array if carry else None
    found = segment(result.model, task.volume, device=task.device, confirmed=confirmed)
    return pasted(found.label_map.array, task.annotation)
