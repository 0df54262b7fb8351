"""What every method gets: one volume, a few labelled slices of it, and a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.config import Label, Modality
from unetseg.data import Slice
from unetseg.model_file import Model
from unetseg.volume import LabelArray, LabelMap, Volume


@dataclass(frozen=True, eq=False)
class Task:
    """Segment one volume of which a few slices are labelled.

    Attributes:
        case: name of the volume.
        slices: those that the annotator has labelled.
        annotation: the labels of these slices, background included; 255 elsewhere.
        edited: bool, (D, H, W); where the annotator changed ``prediction``. None without one.
        start: the model to retrain; None: the networks learn from scratch.
        start_file: from which ``start`` was read.
        prediction: uint8, (D, H, W); what ``start`` made of the volume.
        labels: of all classes, background included.
        network: a name of ``networks.NETWORKS``, for training from scratch.
        modality: of the volume; None: not known.
        seconds: that a method may train.
        seed: of everything random.
        folder: an empty one for files of the method.
        device: "auto", "cpu", "cuda" ….
        changes: fields of ``TrainingSettings`` that the method "loop" sets otherwise than the product does: the
            ablation's variants. No other method reads them.
    """

    case: str
    volume: Volume
    slices: tuple[Slice, ...]
    annotation: LabelMap
    edited: NDArray[np.bool_] | None
    start: Model | None
    start_file: Path | None
    prediction: LabelArray | None
    labels: tuple[Label, ...]
    network: str
    modality: Modality | None
    seconds: float
    seed: int
    folder: Path
    device: str
    changes: Mapping[str, Any] = field(default_factory=dict)


Method = Callable[[Task], LabelArray]
"""The labels of the whole volume, uint8 (D, H, W), with the annotator's where there are any (not 255)."""
