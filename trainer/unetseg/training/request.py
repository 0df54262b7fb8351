"""What a training is asked to do, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import Label, Modality, TrainingSettings
from ..data import Case, Slice
from ..errors import SettingsError, TrainingDataError
from ..model_file import Model, file_sha256
from .checkpoint import checkpoint_path
from .progress import Dice
from .schedule import check_settings


@dataclass(frozen=True)
class TrainingRequest:
    """One training.

    Attributes:
        cases: with annotations on their own grids; fully labelled and sparse ones may mix.
        output: the model file to write; its checkpoint and curve lie beside it.
        labels: of the classes 0 … K - 1, in order.
        network, preset, network_arguments: of a new network; ignored when ``start`` is given.
        modality: decides the normalisation of a new plan; None: guessed from the intensities.
        start: model to start from, whose network, plan and labels are kept; it is not changed.
        start_sha256: hash of that model's file, for the record.
        validation: names of the cases that are held out: measured, never trained on.
        held_out_slices: per case name, annotated slices to be judged on. A new network never trains on them, a
            retrained one does so once it is judged (see ``retrain``). None: a retraining chooses one itself of each
            case with at least three slices.
        replay: file with pieces of the cases that ``start`` was trained on (see ``replay``); it may be missing.
        resume: continue from the checkpoint beside ``output``.
    """

    cases: Sequence[Case]
    output: Path
    settings: TrainingSettings
    labels: tuple[Label, ...]
    network: str = "unet_3d"
    preset: str = "compact"
    network_arguments: Mapping[str, Any] = field(default_factory=dict)
    modality: Modality | None = None
    start: Model | None = None
    start_sha256: str = ""
    validation: Sequence[str] = ()
    held_out_slices: Mapping[str, Sequence[Slice]] | None = None
    replay: Path | None = None
    device: str = "auto"
    memory_gb: float | None = None
    resume: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """What came out.

    Attributes:
        path, sha256: of the model file written.
        held_out_before: Dice of ``start`` on the held-out data; empty without either.
        held_out_after: Dice of the chosen weights on the same data, before any training saw it; empty without.
        held_out_slices: how many slices were held out while these figures were made.
        replay_before, replay_after: mean Dice of both on pieces of earlier cases; None without.
        improved: False where ``start`` did clearly better than anything that was learned, or this would forget earlier
            cases: the model then has its weights.
        warnings: about the data, in the user's words.
        notes: what was decided (device, precision, plan), in one sentence each.
    """

    model: Model
    path: Path
    sha256: str
    iterations: int
    seconds: float
    held_out_before: Dice
    held_out_after: Dice
    held_out_slices: int
    replay_before: float | None
    replay_after: float | None
    improved: bool
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def check_request(request: TrainingRequest) -> None:
    """Raises ``SettingsError`` or ``TrainingDataError`` for what can be seen before any work is done."""
    check_settings(request.settings)
    names = [case.name for case in request.cases]
    unknown = sorted((set(request.validation) | set(request.held_out_slices or {})) - set(names))
    if unknown:
        raise SettingsError("Held-out cases must be among the cases", received=", ".join(unknown))
    if not set(names) - set(request.validation):
        raise TrainingDataError(
            "Training needs at least one case that is not held out",
            received=f"{len(names)} cases, {len(set(request.validation))} of them held out",
            remedy="Hold out fewer cases",
        )
    if len(set(names)) != len(names):
        raise TrainingDataError("Each case needs a name of its own", received=", ".join(sorted(names)))
    missing = [case.name for case in request.cases if case.annotation is None]
    if missing:
        raise TrainingDataError("Every case needs labels", received=", ".join(missing))
    values = [label.value for label in request.labels]
    if values != list(range(len(values))) or len(values) < 2:
        raise SettingsError("The labels must have the values 0, 1, … in order, at least two", received=values)
    if request.start is not None:
        known = [label.name for label in request.start.document.labels]
        if known != [label.name for label in request.labels]:
            raise SettingsError(
                "Retraining keeps the labels of the model it starts from",
                received=", ".join(label.name for label in request.labels),
                remedy=f"Use the labels {', '.join(known)}, or train a new model",
            )
    check_output(request.output, resume=request.resume)
    if request.start_sha256 and request.output.is_file() and file_sha256(request.output) == request.start_sha256:
        raise SettingsError(
            "A retrained model must not replace the model it starts from",
            received=request.output.name,
            remedy="Give the new model another name",
        )


def check_output(output: Path, *, resume: bool) -> None:
    """Raises ``SettingsError`` where no model can be written, or nothing lies there to resume."""
    if not output.parent.is_dir():
        raise SettingsError("The model's folder must exist", received=output.parent)
    if output.suffix != ".safetensors":
        raise SettingsError("A model file's name must end in .safetensors", received=output.name)
    if output.is_dir():
        raise SettingsError("A model is a file", received=f"the folder {output.name}", remedy="Give it another name")
    if resume and not checkpoint_path(output).is_file():
        raise SettingsError(
            "Only a training that left a checkpoint can be resumed",
            received=f"no file {checkpoint_path(output).name}",
            remedy="Start the training without resuming",
        )
