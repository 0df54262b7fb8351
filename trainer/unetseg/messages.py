"""What the two processes say to each other; ``protocol`` puts each on a line.

The client (Slicer's panel, or a program) writes requests to the worker's stdin and reads replies from its
stdout. A request has an ``id`` chosen by the client; every reply to it carries that id as ``request``. Each
Describe, Segment, Train and Evaluate ends with exactly one final reply: its result, ``Cancelled`` or ``Failed``;
before it come any number of ``Progress`` and ``Epoch``. Cancel, Release and Shutdown have no reply of their own.

Arrays and images are files. Inputs are named absolutely, or relative to the job ``folder``; results always
relative to it and inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
"""First voxel and the voxel behind the last one, as indices along D, H, W."""
Dice = tuple[float | None, ...]
"""One value per class ≥ 1; None where the class is in neither of the compared label maps."""


@dataclass(frozen=True)
class Describe:
    """Ask what the worker can do, and for the descriptions of ``models``. Answer: ``Capabilities``."""

    id: str
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """Segment one case. Answer: ``Segmented``.

    Attributes:
        folder: the job folder, absolute.
        model: model file.
        images: one file (or DICOM folder) per channel, in the model's order.
        label_map, uncertainty, probabilities: names of the results; their extension decides the format.
        confirmed: labels that are right, on the grid of the first image: a label map, 255 elsewhere, or the slices of
            ``labelled_slices``. The results repeat them, and what they correct is carried into the slices around them.
        region: work on these voxels of the first image only; outside, the label map is 0 and uncertainty 0.
        memory_gb: limit for the computation; None: what is free.
    """

    id: str
    folder: str
    model: str
    images: tuple[str, ...]
    label_map: str
    uncertainty: str | None = None
    probabilities: str | None = None
    confirmed: str | None = None
    region: Box | None = None
    device: str = "auto"
    memory_gb: float | None = None


@dataclass(frozen=True)
class TrainingCase:
    """One annotated case.

    Attributes:
        images: one file (or DICOM folder) per channel.
        annotation: label map on the grid of the first image, 255 = unlabelled; or, ending in ``.json``, the
            confirmed slices of ``labelled_slices``, from which also the edited voxels come.
        edited: mask of the voxels that the user changed; None with an annotation of slices.
        held_out_slices: (axis, index) of annotated slices that are not trained on while the new weights are chosen;
            a retraining learns from them in the end. None for all cases: a retraining chooses them itself.
    """

    name: str
    images: tuple[str, ...]
    annotation: str
    edited: str | None = None
    held_out_slices: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Train:
    """Train, or retrain from ``start_from``. Answer: ``Trained``; ``Epoch`` messages on the way.

    Attributes:
        output: name of the model file to be made.
        labels: each a ``config.Label`` as JSON: value, name, color, terminology; empty: those of ``start_from``.
        start_from: model file; its network, labels and plan are kept. None: a new ``network``.
        validation: names of cases that are measured on and not trained on.
        settings: those of ``config.TrainingSettings`` that differ from its defaults, as JSON.
        resume: go on from the checkpoint that an aborted run with the same output left.
    """

    id: str
    folder: str
    cases: tuple[TrainingCase, ...]
    output: str
    labels: tuple[Mapping[str, Any], ...] = ()
    start_from: str | None = None
    network: str = "unet_3d"
    preset: str = "compact"
    network_arguments: Mapping[str, Any] = field(default_factory=dict)
    modality: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    validation: tuple[str, ...] = ()
    device: str = "auto"
    memory_gb: float | None = None
    resume: bool = False


@dataclass(frozen=True)
class Evaluate:
    """Compare two label maps on the same grid. Answer: ``Evaluated``."""

    id: str
    folder: str
    prediction: str
    reference: str
    tolerance_mm: float = 1.0


@dataclass(frozen=True)
class Cancel:
    """End ``job``, running or waiting. ``keep``: a training saves the best so far and answers ``Trained``."""

    id: str
    job: str
    keep: bool = False


@dataclass(frozen=True)
class Release:
    """Forget models and volumes and free the device's memory, after the jobs sent before."""

    id: str


@dataclass(frozen=True)
class Shutdown:
    """Abort what is running and end the process; the end of stdin means the same."""

    id: str


@dataclass(frozen=True)
class NetworkDescription:
    """One entry of the table of networks."""

    name: str
    presets: tuple[str, ...]


@dataclass(frozen=True)
class DeviceDescription:
    """A device to compute on; ``memory_gb`` is what it has in all, None where it does not say."""

    name: str
    title: str
    memory_gb: float | None


@dataclass(frozen=True)
class ModelDescription:
    """``document`` is the model's ``config.ModelDocument`` as JSON; None, with the ``failure``, if refused."""

    path: str
    document: Mapping[str, Any] | None
    failure: str = ""


@dataclass(frozen=True)
class Capabilities:
    """What this worker offers, read from its tables. The first device is the one that ``auto`` prefers."""

    request: str
    networks: tuple[NetworkDescription, ...]
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    modalities: tuple[str, ...]
    devices: tuple[DeviceDescription, ...]
    versions: Mapping[str, str]
    models: tuple[ModelDescription, ...] = ()


@dataclass(frozen=True)
class Progress:
    """The job lives; the last one is repeated every few seconds. ``fraction`` is 0 … 1."""

    request: str
    stage: str
    fraction: float
    seconds_left: float | None = None


@dataclass(frozen=True)
class Epoch:
    """Where a training stands. ``loss`` per term, None where not finite; ``held_out_dice`` where newly measured."""

    request: str
    iteration: int
    fraction: float
    loss: Mapping[str, float | None]
    held_out_dice: Dice | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Segmented:
    """The results lie where the request named them.

    Attributes:
        labels: the model's, each a ``config.Label`` as JSON.
        device: where it was computed.
        notes: what the user should know, one sentence each: why this device, a retreat for lack of memory.
    """

    request: str
    labels: tuple[Mapping[str, Any], ...]
    device: str
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """The new model lies where the request named it.

    Attributes:
        sha256: of the model file, its identity.
        dice_before: of the model that training started from, on the held-out data; empty without either.
        dice_after: of the new model on the same data, before any training saw it; empty without held-out data.
        held_out_slices: how many slices were held out while these figures were made.
        replay_before, replay_after: mean Dice of both on pieces of earlier cases; None where there are none.
        improved: False where the start model did clearly better than anything that was learned, or this would forget
            earlier cases: the new file then has its weights.
        warnings: about the annotations, one sentence each.
        notes: what was decided on the way, one sentence each.
    """

    request: str
    sha256: str
    iterations: int
    seconds: float
    dice_before: Dice
    dice_after: Dice
    held_out_slices: int = 0
    replay_before: float | None = None
    replay_after: float | None = None
    improved: bool = True
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluated:
    """Metrics per label value (as text) and metric name; None where a metric is not defined."""

    request: str
    figures: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Cancelled:
    """The job ended because the client cancelled it; nothing was written."""

    request: str


@dataclass(frozen=True)
class Failed:
    """The job failed. ``code`` is stable (see ``errors``); ``internal`` is a fault of the program.

    ``request`` is None where the line could not be understood. ``details`` is for a report, not for a dialog.
    """

    request: str | None
    code: str
    rule: str
    received: str = ""
    remedy: str = ""
    details: str = ""


Request = Describe | Segment | Train | Evaluate | Cancel | Release | Shutdown
Reply = Capabilities | Progress | Epoch | Segmented | Trained | Evaluated | Cancelled | Failed
Message = Request | Reply
