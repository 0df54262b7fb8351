"""Checkpoints: one safetensors file beside the model to be, from which a killed training resumes exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .. import records
from ..config import NetworkConfig, Plan, TrainingSettings
from ..data import Slice
from ..errors import ModelFileError, SettingsError
from ..model_file import read_tensors, write_tensors
from ..tensor_file import read_header
from .gate import Verdict
from .state import Counters, TrainingState


@dataclass(frozen=True)
class CheckpointHeader:
    """What must be the same in a resumed training, and where it stood (``counters``).

    Only the budget may differ; with another one the learning rate does, so that the result is not that of one run.
    ``verdict`` is the gate's on the trial, from which the final training goes on (see ``retrain``); None elsewhere.
    """

    network: NetworkConfig
    plan: Plan
    settings: TrainingSettings
    parent_sha256: str
    cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    held_out_slices: Mapping[str, tuple[Slice, ...]]
    stretch: str
    verdict: Verdict | None
    counters: Counters


def checkpoint_path(model: Path) -> Path:
    """Where the checkpoint of the training that makes ``model`` lies."""
    return model.with_name(model.stem + ".checkpoint.safetensors")


def write_checkpoint(path: Path, state: TrainingState, header: CheckpointHeader) -> None:
    """Atomic: a kill at any moment leaves the previous checkpoint or the new one."""
    write_tensors(path, state.tensors(), metadata=records.dumps(replace(header, counters=state.counters)))


def stored_header(path: Path) -> CheckpointHeader:
    """What a checkpoint belongs to; its tensors are not read. Raises as ``load_checkpoint`` does."""
    if not path.is_file():
        raise SettingsError(
            "Only a training that left a checkpoint can be resumed",
            received=f"no file {path.name}",
            remedy="Start the training without resuming",
        )
    try:
        return records.from_json(CheckpointHeader, records.loads(read_header(path).text))
    except records.RecordError as error:
        raise _unfit(error) from error


def load_checkpoint(path: Path, state: TrainingState, expected: CheckpointHeader) -> None:
    """Put a stored training into ``state``.

    Raises ``SettingsError`` where there is no checkpoint or it belongs to another training (the first
    difference is named), ``ModelFileError`` where it is damaged.
    """
    header = stored_header(path)
    _check_same(header, expected)
    tensors, _ = read_tensors(path)
    try:
        state.load_tensors(tensors)
    except (KeyError, RuntimeError) as error:
        raise _unfit(error) from error
    state.counters = header.counters


def _unfit(error: Exception) -> ModelFileError:
    return ModelFileError(
        "The checkpoint does not fit this training", received=error, remedy="Start the training without resuming"
    )


def _check_same(stored: CheckpointHeader, expected: CheckpointHeader) -> None:
    for name in (
        "network",
        "plan",
        "parent_sha256",
        "cases",
        "validation_cases",
        "held_out_slices",
        "settings",
        "stretch",
    ):
        before, now = records.to_json(getattr(stored, name)), records.to_json(getattr(expected, name))
        if name == "settings":
            for budget in ("seconds", "iterations", "checkpoint_seconds"):
                now[budget] = before[budget]
        if before != now:
            raise SettingsError(
                f"A resumed training keeps its {name.replace('_', ' ')}",
                received=_difference(before, now),
                remedy="Resume with the settings it was started with, or start without resuming",
            )


def _difference(before: records.Json, now: records.Json) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        return "; ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in keys)
    return f"was {before}, is {now}"
