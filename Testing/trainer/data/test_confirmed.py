"""Annotations as files: a label map, or the confirmed slices of a project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unetseg.array_file import save_array
from unetseg.data import read_annotation
from unetseg.errors import ImageError, TrainingDataError
from unetseg.image_io import write_label_map
from unetseg.labelled_slices import LabelledSlice, save_slices
from unetseg.volume import UNLABELLED, Geometry, LabelMap

GEOMETRY = Geometry((3, 4, 5), (2.0, 1.0, 0.5), (1.0, -2.0, 3.0))


def plane(*size: int, value: int) -> np.ndarray:
    return np.full(size, value, np.uint8)


@pytest.mark.parametrize("name", ["slices.json", "slices.JSON"])
def test_confirmed_slices_label_their_planes_and_say_what_was_changed(tmp_path: Path, name: str) -> None:
    before = plane(4, 5, value=1)
    before[0] = 2
    slices = (
        LabelledSlice(0, 1, plane(4, 5, value=1), before=before),
        LabelledSlice(2, 4, plane(3, 4, value=0)),  # what was predicted here is not known
    )
    save_slices(tmp_path / name, slices, GEOMETRY.shape)
    annotation, edited = read_annotation(tmp_path / name, GEOMETRY)
    expected = np.full(GEOMETRY.shape, UNLABELLED, np.uint8)
    expected[1], expected[:, :, 4] = 1, 0
    np.testing.assert_array_equal(annotation.array, expected)
    assert annotation.geometry == GEOMETRY
    changed = np.zeros(GEOMETRY.shape, bool)
    changed[1, 0, :4] = True
    assert edited is not None
    np.testing.assert_array_equal(edited & (expected == 1), changed)


@pytest.mark.parametrize("name", ["labels.nrrd", "labels.nii.gz", "labels.npz"])
def test_of_a_label_map_the_changes_are_not_known(tmp_path: Path, name: str) -> None:
    array = np.random.default_rng(0).choice([0, 1, 2, UNLABELLED], GEOMETRY.shape).astype(np.uint8)
    if name.endswith("npz"):
        save_array(tmp_path / name, array, GEOMETRY)
    else:
        write_label_map(tmp_path / name, LabelMap(array, GEOMETRY))
    annotation, edited = read_annotation(tmp_path / name, GEOMETRY)
    np.testing.assert_array_equal(annotation.array, array)
    assert annotation.geometry.matches(GEOMETRY)
    assert edited is None


@pytest.mark.parametrize(
    "other",
    [
        Geometry((3, 4, 6), GEOMETRY.spacing_mm, GEOMETRY.origin_mm),
        Geometry((3, 4, 5), (2.0, 1.0, 0.6), GEOMETRY.origin_mm),
        Geometry((3, 4, 5), GEOMETRY.spacing_mm, (1.0, -2.0, 4.0)),
    ],
)
def test_a_label_map_on_another_grid_is_refused(tmp_path: Path, other: Geometry) -> None:
    write_label_map(tmp_path / "labels.nrrd", LabelMap(np.zeros(other.shape, np.uint8), other))
    with pytest.raises(TrainingDataError, match=r"grid of its image.*labels\.nrrd"):
        read_annotation(tmp_path / "labels.nrrd", GEOMETRY)


def test_slices_of_another_volume_and_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    save_slices(tmp_path / "slices.json", (LabelledSlice(0, 2, plane(4, 6, value=0)),), (3, 4, 6))
    with pytest.raises(TrainingDataError, match=r"\(3, 4, 6\) in slices\.json, an image \(3, 4, 5\)"):
        read_annotation(tmp_path / "slices.json", GEOMETRY)
    (tmp_path / "slices.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ImageError):
        read_annotation(tmp_path / "slices.json", GEOMETRY)
    (tmp_path / "labels.nrrd").write_text("no image", encoding="utf-8")
    with pytest.raises(ImageError):
        read_annotation(tmp_path / "labels.nrrd", GEOMETRY)
