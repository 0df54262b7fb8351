"""What is known of the cases of a training set before an image is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config import Label, Modality
from ..errors import TrainingDataError

PALETTE = (
    (216, 101, 79),
    (128, 174, 128),
    (111, 184, 210),
    (241, 214, 145),
    (145, 96, 160),
    (230, 158, 60),
    (90, 130, 190),
    (220, 150, 170),
    (160, 160, 70),
    (70, 160, 150),
)
"""Colours of classes 1, 2, … where the source names none; repeated after the tenth."""


@dataclass(frozen=True)
class CaseFiles:
    """Where one case lies on disk.

    Attributes:
        images: one path a channel, at least one (a file, or a folder of DICOM or PNG slices).
        label: None where the case is not labelled; such a case is not trained on.
        ignore_value: the value that means "not labelled" in the label file (nnU-Net's "ignore"), beside 255.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    ignore_value: int | None = None


@dataclass(frozen=True)
class CaseList:
    """The cases of a training set, of a folder in natural order of their names.

    Attributes:
        labels: classes 0 … K-1 as the source names them; empty where it names none (see ``default_labels``).
        modality: None where the source does not say.
    """

    cases: tuple[CaseFiles, ...]
    labels: tuple[Label, ...] = ()
    modality: Modality | None = None


def default_labels(classes: int, names: Mapping[int, str] | None = None) -> tuple[Label, ...]:
    """Labels 0 … classes - 1 in the colours of ``PALETTE``, called "class 1", … where ``names`` has none."""
    names = names or {}
    background = Label(value=0, name=names.get(0, "background"), color=(0, 0, 0))
    return background, *(
        Label(value=value, name=names.get(value, f"class {value}"), color=PALETTE[(value - 1) % len(PALETTE)])
        for value in range(1, classes)
    )


def name_twice(name: str, first: object, second: object) -> TrainingDataError:
    """The error for two cases of one name."""
    return TrainingDataError("Every case must have a name of its own", received=f"{name} twice: {first}, {second}")
