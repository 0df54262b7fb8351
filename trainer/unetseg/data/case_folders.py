"""Pairing the images of one folder with the labels of another by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import TrainingDataError
from .case_files import CaseFiles, name_twice

ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tiff", ".tif", ".png")

CHANNEL = re.compile(r"(.+)_(\d{4})")
"""The name of one channel of a case: NAME_0000."""


def pair_folders(images: Path, labels: Path) -> tuple[CaseFiles, ...]:
    """The cases of two folders, in natural order of their names; ``labels`` need not exist.

    Raises ``TrainingDataError`` for a name twice, a missing channel and a label without its image.
    """
    label_of = _by_name(labels) if labels.is_dir() else {}
    image_of = _by_name(images)
    channels: dict[str, dict[int, Path]] = {}
    for entry, path in image_of.items():
        match = CHANNEL.fullmatch(entry)
        # A year or number of four digits at the end of a name is not a channel.
        is_channel = match and f"{match[1]}_0000" in image_of and entry not in label_of
        name, channel = (match[1], int(match[2])) if match and is_channel else (entry, 0)
        if channel in channels.setdefault(name, {}):
            raise name_twice(name, channels[name][channel], path)
        channels[name][channel] = path
    _check_orphans(sorted(set(label_of) - set(channels)), images, labels)
    for name, paths in channels.items():
        missing = sorted(set(range(max(paths) + 1)) - set(paths))
        if missing:
            raise TrainingDataError(
                "The channels of a case must be numbered _0000, _0001, … without a gap",
                received=f"{name} without {_enumerate(f'_{channel:04d}' for channel in missing)}",
            )
    return tuple(
        CaseFiles(name, tuple(path for _, path in sorted(channels[name].items())), label_of.get(name))
        for name in sorted(channels, key=_natural)
    )


def _check_orphans(orphans: Sequence[str], images: Path, labels: Path) -> None:
    if orphans:
        raise TrainingDataError(
            f"Every label in {labels} needs an image of the same name in {images}",
            received=f"no image for {_enumerate(orphans)}",
            remedy="Name the image like the label, or its channels NAME_0000, NAME_0001, …",
        )


def _by_name(folder: Path) -> dict[str, Path]:
    """Images of a folder by their name without ending: known file types, and subfolders (a series each)."""
    entries: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = case_name(path)
        if name is None or path.name.startswith("."):
            continue
        if name in entries:
            raise name_twice(name, entries[name], path)
        entries[name] = path
    return entries


def case_name(path: Path) -> str | None:
    """The name without the ending, of a folder (a series) as it is; None for a file that is not an image."""
    if path.is_dir():
        return path.name
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    return path.name[: -len(ending)] if ending else None


def _enumerate(names: Iterable[str]) -> str:
    """At most five names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - 5} more" if len(every) > 5 else ""
    return ", ".join(every[:5]) + more


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which case_2 comes before case_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
