"""The settings and descriptions that make a model: plain, frozen, printable as JSON (see ``records``).

Axes are ordered (D, H, W) everywhere; see ``volume``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .volume import Shape, Vector

MODEL_FORMAT_VERSION = 1

MAX_PATCH_LENGTH = 512
"""Voxels along any axis of a plan's patch; a model with more is refused."""

MAX_INT8_DICE_LOSS = 0.005
"""A model that would lose this much is not offered in 8 bit."""

Modality = Literal["CT", "MR", "microscopy", "ultrasound"]
Scheme = Literal["ct", "zscore", "percentile"]
Orientation = Literal["canonical", "thickest_first"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Label:
    """One class of a model.

    Attributes:
        value: 0 (background) … classes - 1.
        name: as shown to the user.
        color: red, green, blue, each 0–255.
        terminology: Slicer's terminology entry (seven parts joined by ``~``), or empty.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: str = ""


@dataclass(frozen=True)
class NetworkConfig:
    """What ``networks.build`` needs to make the network again.

    ``arguments`` holds JSON values only, and every argument that differs from the default.
    """

    name: str
    in_channels: int
    classes: int
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Normalisation:
    """How one channel's values become network input.

    ``ct``: clip to [lower, upper], subtract ``mean``, divide by ``std`` (all from the training cases, HU).
    ``zscore``: subtract the mean and divide by the standard deviation of the image's own foreground.
    ``percentile``: clip to the image's own percentiles [lower, upper] (in percent), subtract the mean and
    divide by the standard deviation of the clipped image.

    ``inverted``: the sign of the result is changed, for images in which bright and dark are the other way round than
    in those that the network first learned from.
    """

    scheme: Scheme
    lower: float = 0.0
    upper: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    inverted: bool = False


@dataclass(frozen=True)
class Plan:
    """How volumes are brought to the network, decided once from the training cases (nnU-Net's "plans").

    Attributes:
        dimensions: 2 (slices along D) or 3.
        orientation: ``canonical``: array axes are turned to superior, posterior, left before resampling.
            ``thickest_first``: the axis of the largest spacing becomes D, the others keep the canonical
            order; for 2D networks and anisotropic data, whose levels treat D differently.
        spacing_mm: of the network's grid along D, H, W after orientation; 0 along D means "as acquired"
            (2D networks work on slices as they are).
        patch_size: voxels of a training patch, (1, h, w) for 2D.
        batch_size: patches in a training step.
        modality: what the normalisation was chosen for.
        normalisation: one entry a channel.
    """

    dimensions: Literal[2, 3]
    orientation: Orientation
    spacing_mm: Vector
    patch_size: Shape
    batch_size: int
    modality: Modality
    normalisation: tuple[Normalisation, ...]


@dataclass(frozen=True)
class AugmentationSettings:
    """Strength of the random changes to a training sample.

    Probabilities are per sample. ``flip_axes`` are axes (0 = D, 1 = H, 2 = W) along which the anatomy may
    be mirrored; none by default. Rotation and scaling are uniform in ± the given range.
    """

    plane_probability: float = 0.5  # samples of a sparse case moved in their labelled plane only
    rotation_degrees: float = 20.0
    scale: tuple[float, float] = (0.85, 1.15)
    spatial_probability: float = 0.7
    elastic_probability: float = 0.3
    elastic_grid_voxels: int = 32
    elastic_std_voxels: float = 4.0
    flip_axes: tuple[int, ...] = ()
    gamma: tuple[float, float] = (0.7, 1.5)
    gamma_probability: float = 0.3
    brightness_std: float = 0.1
    contrast: tuple[float, float] = (0.75, 1.25)
    brightness_contrast_probability: float = 0.3
    noise_std: float = 0.1
    noise_probability: float = 0.15
    blur_sigma_voxels: tuple[float, float] = (0.5, 1.0)
    blur_probability: float = 0.1
    low_resolution_zoom: tuple[float, float] = (0.5, 1.0)
    low_resolution_probability: float = 0.1
    bias_field_strength: float = 0.3
    bias_field_probability: float = 0.2


NO_AUGMENTATION = AugmentationSettings(
    spatial_probability=0.0,
    elastic_probability=0.0,
    gamma_probability=0.0,
    brightness_contrast_probability=0.0,
    noise_probability=0.0,
    blur_probability=0.0,
    low_resolution_probability=0.0,
    bias_field_probability=0.0,
)
"""Samples stay as they are."""


@dataclass(frozen=True)
class TrainingSettings:
    """One training run. Exactly one of ``seconds`` and ``iterations`` is the budget.

    Attributes:
        loss: a name of ``losses.LOSSES``, with ``loss_arguments``.
        learning_rate: peak of AdamW's schedule: linear warm-up over ``warmup_fraction`` of the budget, then cosine
            to 0.
        fine_tuning_rate: the same for a network that is retrained.
        statistics_share: of a new network's budget, in which batch norm uses each batch's statistics and averages them.
            From then on it uses the averages, as where the network is applied. None: 0.5 where most of what it sees is
            unlabelled, else 1. A retraining uses the averages at once.
        clip_norm: gradients are scaled to at most this global norm.
        ema_decay: of the averaged weights, which are the ones validated and saved.
        class_weight_limits: class weights ∝ 1/√frequency are clipped to this range.
        edit_weight: factor on voxels that the user changed (1: edits weigh like any labelled voxel).
        replay_share: of a retraining's steps, those on pieces of earlier cases where the model brings some.
        distillation_weight: where it brings none, how strongly a retraining keeps to the start model's opinion of
            unlabelled places; 0: not at all.
        augment_corrections: whether a retraining augments the corrected slices, too, not only the pieces: what it
            learns is then less about these volumes and more about others. It does so in any case where whole cases
            judge it.
        either_contrast: whether a retraining looks first if the network makes more of the images' negative.
        background_beyond_lines: whether what a closed line of background keeps away from the structures of its slice
            is learned as background (see ``data.scribbles``). Right only for scribbles that label every structure of
            their slices. False: a voxel that nobody labelled weighs nothing.
        trial_share: of a retraining's budget, for the trial without the held-out slices that the gate decides on.
        validations: how many times the held-out data is measured, evenly over the budget.
        patience: validations without a gain after which training stops; 0: never.
        checkpoint_seconds: wall time between checkpoints.
        precision: of the convolutions; ``auto`` is bfloat16 on a CUDA device that has it and on a CPU where it is
            measured to be faster, float32 elsewhere.
    """

    seconds: float | None = None
    iterations: int | None = None
    loss: str = "dice_cross_entropy"
    loss_arguments: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    fine_tuning_rate: float = 3e-4
    weight_decay: float = 1e-5
    warmup_fraction: float = 0.1
    statistics_share: float | None = None
    clip_norm: float = 1.0
    ema_decay: float = 0.99
    class_weight_limits: tuple[float, float] = (0.25, 4.0)
    edit_weight: float = 3.0
    replay_share: float = 0.3
    distillation_weight: float = 0.1
    augment_corrections: bool = False
    either_contrast: bool = True
    background_beyond_lines: bool = False
    trial_share: float = 0.3
    validations: int = 10
    patience: int = 0
    checkpoint_seconds: float = 60.0
    precision: Precision = "auto"
    seed: int = 0
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)


@dataclass(frozen=True)
class TrainingRecord:
    """What a model was made from, kept inside it for the reader of its figures.

    Attributes:
        parent_sha256: hash of the model file that training started from; empty for a first model.
        cases, validation_cases: names.
        annotated_slices: per case, the number of slices labelled all over (a fully labelled case: those along D).
        settings: the ``TrainingSettings`` as JSON; not the class, so that a model of today can be read when the
            settings have changed.
        held_out_dice: per class value ≥ 1 the Dice on held-out data at the saved weights; None where no
            held-out voxel has or was given the class. Empty without validation.
        versions: of unetseg, torch, numpy, SimpleITK, Python.
    """

    parent_sha256: str
    cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    annotated_slices: tuple[int, ...]
    settings: Mapping[str, Any]
    iterations: int
    seconds: float
    device: str
    held_out_dice: tuple[float | None, ...]
    versions: Mapping[str, str]
    finished_utc: str


@dataclass(frozen=True)
class Int8:
    """What a network needs to compute in 8 bit, and what that costs.

    Attributes:
        ranges: per activation, by its name in ``inference.quantised``, the largest value that counts.
        dice_loss: by how much Dice fell against float32, mean over held-out cases, for the class that lost most; below
            ``MAX_INT8_DICE_LOSS``.
        cases: the number of these cases.
    """

    ranges: Mapping[str, float]
    dice_loss: float
    cases: int


@dataclass(frozen=True)
class ModelDocument:
    """The JSON document inside a model file: with it alone the network can be rebuilt and applied."""

    network: NetworkConfig
    labels: tuple[Label, ...]
    plan: Plan
    training: TrainingRecord
    provenance: Mapping[str, str] = field(default_factory=dict)
    int8: Int8 | None = None
    format_version: int = MODEL_FORMAT_VERSION
