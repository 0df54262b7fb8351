"""What a retraining would be made of, and what the user should know before starting it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from slicer.i18n import tr as _

from unetseg.config import Label
from unetseg.errors import UnetsegError
from unetseg.labelled_slices import load_slices

from .cases import StoredCase
from .confirmed import SLICES_TO_HOLD_OUT_ONE
from .correcting import Correcting
from .wording import listed, sliceCount, volumeCount
from .workspace import Workspace

BYTES_PER_VOXEL = 16
"""Of a case in training: the image as read and as prepared, in 32 bits each, labels and weights."""
WORKING_GB = 2.0
"""For the network, its gradients and the libraries, at the sizes of the compact networks."""


@dataclass(frozen=True)
class TrainingCheck:
    """``problem`` is empty where training is possible; ``cases`` are those with slices for these labels."""

    cases: tuple[StoredCase, ...]
    problem: str
    warnings: tuple[str, ...]
    summary: str


def checkTraining(workspace: Workspace, correcting: Correcting) -> TrainingCheck:
    """Look at the confirmed slices of the project that belong to the chosen model's structures."""
    labels = workspace.labels()
    names, channels = tuple(label.name for label in labels), len(workspace.channelNames())
    cases, counts, unreadable = [], [], []
    for case in workspace.project.cases():
        hasImages = case.id == correcting.store.caseId or len(case.images) >= channels
        if case.slices and case.labelNames == names and hasImages:
            try:
                counts.append(_voxelsPerSlice(case.annotation, case.annotation.stat().st_mtime_ns))
                cases.append(case)
            except (UnetsegError, OSError):
                unreadable.append(_("“{name}”").format(name=case.name))
    total = sum(case.slices for case in cases)
    problem = _problem(labels, cases, counts)
    warnings: list[str] = []
    if not problem:
        if unreadable:
            text = _("The confirmed slices of {volumes} cannot be read and are left out. Confirm them again.")
            warnings.append(text.format(volumes=listed(unreadable)))
        warnings += _labelWarnings(labels, counts)
        warnings += _amountWarnings(correcting, cases)
        warnings += _memoryWarnings(workspace, cases)
    return TrainingCheck(tuple(cases), problem, tuple(warnings), _summary(workspace, total, len(cases)))


def _problem(labels: Sequence[Label], cases: Sequence[StoredCase], counts: Sequence[np.ndarray]) -> str:
    if len(labels) < 2:
        return _("Choose a model, or name the structures of a new one")
    if [label.value for label in labels] != list(range(len(labels))):
        return _("A structure was deleted: add a segment in its place, and confirm again the slices that showed it")
    if not cases:
        return _("Confirm at least one slice first: correct it, then press “This slice is right”")
    if not any(count[:, 1 : len(labels)].any() for count in counts):
        return _("Confirm at least one slice that shows a structure; so far all of them are background")
    return ""


def _labelWarnings(labels: Sequence[Label], counts: Sequence[np.ndarray]) -> list[str]:
    seen = sum(count.sum(axis=0) for count in counts)
    missing = [label.name for label in labels if label.value and not seen[label.value]]
    found = []
    if missing:
        text = _("No confirmed slice shows {structures}; the new version may forget it. Confirm a slice that does.")
        found.append(text.format(structures=listed(missing)))
    slices = np.concatenate([count[:, 1 : len(labels)].any(axis=1) for count in counts])
    if len(slices) > 10 * slices.sum():
        found.append(_("Nearly all confirmed slices show background only. Confirm more slices with structures."))
    return found


def _amountWarnings(correcting: Correcting, cases: Sequence[StoredCase]) -> list[str]:
    found = []
    if sum(case.slices for case in cases) < SLICES_TO_HOLD_OUT_ONE:
        found.append(_("With one or two slices the improvement is small. Three to five slices teach much more."))
    if max(case.slices for case in cases) < SLICES_TO_HOLD_OUT_ONE:
        found.append(_("No volume has three confirmed slices, so there will be no figure for the improvement."))
    changes = correcting.changes
    if changes is not None and changes.editedVoxels:
        found.append(_("There are changed slices that you have not confirmed; they will not be learned from."))
    if changes is not None and changes.changedSince:
        found.append(_("Slices that you have changed since you confirmed them count as they were then. Confirm them."))
    return found


def _memoryWarnings(workspace: Workspace, cases: Sequence[StoredCase]) -> list[str]:
    devices = workspace.capabilities.devices if workspace.capabilities is not None else ()
    main = next((device.memory_gb for device in devices if device.name == "cpu"), None)
    limit = workspace.settings.memoryGb or main
    needed = WORKING_GB + sum(np.prod(case.shape) * len(case.images) for case in cases) * BYTES_PER_VOXEL / 2**30
    if limit is None or needed <= limit:
        return []
    text = _("Training needs about {needed:.0f} GB of memory, and {limit:.0f} GB may be used. Close other programs.")
    return [text.format(needed=needed, limit=limit)]


def _summary(workspace: Workspace, slices: int, volumes: int) -> str:
    version = workspace.version()
    base = workspace.project.base(version.id) if version is not None else None
    start = _("a new network") if base is None else _("“{name}”").format(name=base.name)
    text = _("{slices} in {volumes}, starting from {start}")
    return text.format(slices=sliceCount(slices), volumes=volumeCount(volumes), start=start)


@functools.lru_cache(maxsize=256)
def _voxelsPerSlice(annotation: Path, changed: int) -> np.ndarray:
    """Voxels of each label value 0 … 255 on each confirmed slice; ``changed`` makes a new file another key."""
    _shape, slices = load_slices(annotation)
    return np.stack([np.bincount(taken.labels.ravel(), minlength=256) for taken in slices])
