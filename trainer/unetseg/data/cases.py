"""Finding the cases of a training set, and reading them.

Three sources are understood: a folder with ``images/`` and ``labels/``, the ``dataset.json`` of the Medical
Segmentation Decathlon or of nnU-Net v2 (or the folder that holds it), and a JSON list of cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import Label
from ..errors import TrainingDataError
from ..image_io import read_label_map, read_labels, read_volume
from ..volume import UNLABELLED, LabelMap, Volume
from .case_files import CaseFiles, CaseList, default_labels, name_twice
from .case_folders import ENDINGS, pair_folders
from .dataset_json import read_case_json


@dataclass(frozen=True, eq=False)
class Case:
    """One case in memory.

    Attributes:
        annotation: on the grid of ``volume``, 255 where nobody labelled; None for an unlabelled case.
        edited: bool, (D, H, W), where the user changed the label; None where that is not known.
    """

    name: str
    volume: Volume
    annotation: LabelMap | None
    edited: NDArray[np.bool_] | None = None


def find_cases(source: Path) -> CaseList:
    """List the cases of ``source`` without reading an image.

    Args:
        source: a folder with ``images/`` and, where there are labels, ``labels/`` (NAME.nii.gz in both, or
            NAME_0000.nii.gz, NAME_0001.nii.gz, … for several channels; a subfolder is a DICOM or PNG series);
            a ``dataset.json`` of MSD or nnU-Net v2, or its folder; or a JSON list of objects
            ``{"images": […], "label": …, "name": …}`` with paths relative to the JSON file, of which ``label`` and
            ``name`` may be left out.

    Raises:
        TrainingDataError: nothing there, a name twice, a missing channel, a label without its image.
    """
    if source.is_dir() and (source / "dataset.json").is_file():
        source = source / "dataset.json"
    if source.is_file() and source.suffix.lower() == ".json":
        case_list = read_case_json(source)
    elif (source / "images").is_dir():
        cases = pair_folders(source / "images", source / "labels")
        case_list = CaseList(cases, labels=_labels_of_segmentations(cases))
    else:
        raise TrainingDataError(
            "The cases must be a folder with images/ and labels/, a dataset.json, or a JSON list",
            received=source if source.exists() else f"{source}, which does not exist",
        )
    _check(case_list.cases, source)
    return case_list


def load_case(files: CaseFiles) -> Case:
    """Read one case; its label map must lie on the grid of its image.

    Raises:
        TrainingDataError: the grids differ (both files are named).
        ImageError: a file cannot be read.
    """
    volume = read_volume(files.images)
    if files.label is None:
        return Case(files.name, volume, None)
    label_map = read_label_map(files.label)
    if not label_map.geometry.matches(volume.geometry):
        raise TrainingDataError(
            "A label map must lie on the grid of its image",
            received=f"{files.label} with {label_map.geometry}, {files.images[0]} with {volume.geometry}",
            remedy="Resample the label map to the image (nearest neighbour), or correct the header",
        )
    if files.ignore_value is not None:
        array = label_map.array.copy()
        array[array == files.ignore_value] = UNLABELLED
        label_map = LabelMap(array, label_map.geometry)
    return Case(files.name, volume, label_map)


def _labels_of_segmentations(cases: Iterable[CaseFiles]) -> tuple[Label, ...]:
    """Names and colours of the classes from the cases' ``.seg.nrrd`` files, which must agree on the names."""
    found: dict[int, Label] = {}
    for case in cases:
        if case.label is None or not case.label.name.lower().endswith(".seg.nrrd"):
            continue
        for label in read_labels(case.label):
            known = found.setdefault(label.value, label)
            if known.name != label.name:
                raise TrainingDataError(
                    "A label value must mean the same structure in all cases",
                    received=f"{label.value} is {known.name}, but {label.name} in {case.label}",
                    remedy="Export the segmentations with one color table",
                )
    if not found:
        return ()
    return tuple(found.get(label.value, label) for label in default_labels(max(found) + 1))


def _check(cases: Sequence[CaseFiles], source: Path) -> None:
    if not cases:
        raise TrainingDataError(
            "The cases must hold at least one image", received=source, remedy=f"Use files of {', '.join(ENDINGS)}"
        )
    seen: dict[str, CaseFiles] = {}
    for case in cases:
        if case.name in seen:
            raise name_twice(case.name, seen[case.name].images[0], case.images[0])
        seen[case.name] = case
        for path in (*case.images, *filter(None, [case.label])):
            if not path.exists():
                raise TrainingDataError("Every file of a case must exist", received=f"{path} of case {case.name}")
    channels = {len(case.images): case.name for case in reversed(cases)}
    if len(channels) > 1:
        described = ", ".join(f"{name} has {count}" for count, name in sorted(channels.items()))
        raise TrainingDataError("All cases must have the same number of channels", received=described)
