"""Cases described by JSON: the data sets of MSD and nnU-Net v2, and a plain list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Label, Modality
from ..errors import TrainingDataError
from ..records import RecordError, from_json, loads
from ..volume import UNLABELLED
from .case_files import CaseFiles, CaseList, default_labels
from .case_folders import CHANNEL, case_name, pair_folders

_MODALITIES: Mapping[str, Modality] = {
    "ct": "CT",
    "mr": "MR",
    "mri": "MR",
    "t1": "MR",
    "t1w": "MR",
    "t2": "MR",
    "t2w": "MR",
    "flair": "MR",
    "us": "ultrasound",
    "ultrasound": "ultrasound",
    "microscopy": "microscopy",
}


def read_case_json(path: Path) -> CaseList:
    """Cases of a ``dataset.json`` or a JSON list. Raises ``TrainingDataError`` where it is neither."""
    try:
        data = loads(path.read_text(encoding="utf-8"))
        if isinstance(data, list):
            return CaseList(_listed(path.parent, data))
        if isinstance(data, dict) and "training" in data:
            return _decathlon(path.parent, data)
        if isinstance(data, dict) and "channel_names" in data:
            return _nnunet(path.parent, data)
    except (RecordError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path} does not describe cases", received=error) from error
    raise TrainingDataError(
        "The JSON must be a list of cases, or a dataset.json with the key training (MSD) or channel_names (nnU-Net v2)",
        received=path,
    )


@dataclass(frozen=True)
class _Listed:
    images: tuple[str, ...]
    label: str | None = None
    name: str = ""


def _listed(folder: Path, entries: Sequence[Any]) -> tuple[CaseFiles, ...]:
    cases = []
    for number, data in enumerate(entries):
        entry = from_json(_Listed, data, where=f"case {number}")
        if not entry.images:
            raise RecordError(f"case {number} needs at least one image")
        images = tuple(folder / image for image in entry.images)
        stem = case_name(images[0]) or images[0].name
        match = CHANNEL.fullmatch(stem)
        name = entry.name or (match[1] if match and len(images) > 1 else stem)
        cases.append(CaseFiles(name, images, folder / entry.label if entry.label else None))
    return tuple(cases)


@dataclass(frozen=True)
class _DecathlonCase:
    image: str
    label: str


@dataclass(frozen=True)
class _Decathlon:
    training: tuple[_DecathlonCase, ...]


def _decathlon(folder: Path, data: Mapping[str, Any]) -> CaseList:
    """MSD: ``training`` lists pairs, ``labels`` maps "0" to "background"; unlabelled ``test`` images are left out."""
    entries = from_json(_Decathlon, {"training": data["training"]}, where="dataset").training
    labels, ignore_value = _label_table({str(name): value for value, name in _mapping(data, "labels").items()})
    images = [folder / entry.image for entry in entries]
    cases = tuple(
        CaseFiles(case_name(image) or image.name, (image,), folder / entry.label, ignore_value)
        for image, entry in zip(images, entries, strict=True)
    )
    return CaseList(cases, labels, _modality(_mapping(data, "modality")))


def _nnunet(folder: Path, data: Mapping[str, Any]) -> CaseList:
    """nnU-Net v2: imagesTr/NAME_0000.ext …, labelsTr/NAME.ext, ``labels`` maps names to values."""
    channel_names = _mapping(data, "channel_names")
    labels, ignore_value = _label_table(_mapping(data, "labels"))
    if not (folder / "imagesTr").is_dir():
        raise TrainingDataError("An nnU-Net data set needs the folder imagesTr", received=folder)
    cases = []
    for case in pair_folders(folder / "imagesTr", folder / "labelsTr"):
        if len(case.images) != len(channel_names):
            raise TrainingDataError(
                f"Every case must have the {len(channel_names)} channels of channel_names",
                received=f"{case.name} with {len(case.images)}",
            )
        cases.append(CaseFiles(case.name, case.images, case.label, ignore_value))
    return CaseList(tuple(cases), labels, _modality(channel_names))


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise RecordError(f"{key} must be an object")
    return value


def _label_table(values: Mapping[str, Any]) -> tuple[tuple[Label, ...], int | None]:
    """Labels 0 … K-1 and the ignore value, from names → values as nnU-Net v2 writes them."""
    names: dict[int, str] = {}
    for name, value in values.items():
        if isinstance(value, list):
            raise RecordError(f"the label {name} is a region of several values, which is not supported")
        try:
            names[int(value)] = name
        except (TypeError, ValueError) as error:
            raise RecordError(f"the label {name} must have a whole number, received {value!r}") from error
    ignore_value = next((value for value, name in names.items() if name == "ignore"), None)
    names = {value: name for value, name in names.items() if value not in (ignore_value, UNLABELLED)}
    if any(not 0 <= value < UNLABELLED for value in names):
        raise RecordError(f"label values must lie in 0 … {UNLABELLED - 1}, received {sorted(names)}")
    return (default_labels(max(names) + 1, names) if names else ()), ignore_value


def _modality(channel_names: Mapping[str, Any]) -> Modality | None:
    """Of the first channel; None where its name is not that of a known modality."""
    return _MODALITIES.get(str(channel_names.get("0", "")).lower())
