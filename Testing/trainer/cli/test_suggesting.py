"""``unetseg suggest``: from files to slices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unetseg import cli
from unetseg.image_io import write_image, write_label_map
from unetseg.labelled_slices import LabelledSlice, save_slices
from unetseg.volume import Geometry, LabelMap

GEOMETRY = Geometry((40, 8, 20), (5.0, 1.0, 1.0), (1.0, 2.0, 3.0))


def run(*words: object) -> int:
    return cli.main(["suggest", *map(str, words)], serve=lambda: 0)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """An object in slices 10 … 29 along D, 2 … 5 along H."""
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[10:30, 2:6, 6:12] = 1
    write_label_map(tmp_path / "labels.nii.gz", LabelMap(array, GEOMETRY))
    array[27, 2:6, 6:12] = 0
    write_label_map(tmp_path / "start.nrrd", LabelMap(array, GEOMETRY))
    return tmp_path / "labels.nii.gz"


@pytest.fixture
def uncertainty(tmp_path: Path) -> Path:
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[12, 3, 7], array[25, 3, 7] = 200, 100
    write_image(tmp_path / "uncertainty.nrrd", array, GEOMETRY)
    return tmp_path / "uncertainty.nrrd"


def test_slices_come_in_order_with_their_reasons(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(labels) == 0
    assert capsys.readouterr().out == "axis 0 index 19: the middle of what is segmented\n"
    assert run(labels, "--count", 4) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "axis 1 index 3: the middle, seen from another side",
        "axis 0 index 13: the largest gap between the slices seen so far",
        "axis 0 index 25: the largest gap between the slices seen so far",
    ]


def test_with_the_uncertainty_the_model_decides(
    labels: Path, uncertainty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = ["--skip", "0:19", "--skip", "1:3"]
    assert run(labels, *seen, "--uncertainty", uncertainty) == 0
    assert capsys.readouterr().out == "axis 0 index 12: the model is least sure here\n"
    assert run(labels, *seen, "--uncertainty", uncertainty, "--start", labels.with_name("start.nrrd")) == 0
    assert capsys.readouterr().out == "axis 0 index 27: the model differs most from the start model here\n"
    drawn = set()
    for seed in range(12):
        assert run(labels, *seen, "--uncertainty", uncertainty, "--seed", seed) == 0
        drawn.add(capsys.readouterr().out.split(":")[0])
    assert drawn == {"axis 0 index 12", "axis 0 index 25"}


def test_json_names_axis_index_and_reason(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(labels, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"suggestions": [{"axis": 0, "index": 19, "reason": "middle"}]}


def test_slices_of_a_project_count_as_seen(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plane = LabelledSlice(0, 19, np.zeros((8, 20), np.uint8))
    save_slices(tmp_path / "slices.json", [plane], GEOMETRY.shape)
    assert run(labels, "--slices", tmp_path / "slices.json") == 0
    assert capsys.readouterr().out == "axis 1 index 3: the middle, seen from another side\n"
    save_slices(tmp_path / "other.json", [plane], (41, 8, 20))
    assert run(labels, "--slices", tmp_path / "other.json") == 1
    assert "must be of the volume that is segmented. Received: slices of (41, 8, 20)" in capsys.readouterr().err


def test_it_says_when_no_slice_is_left(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(labels, "--count", 100) == 0
    assert len(capsys.readouterr().out.splitlines()) == 25  # 20 slices, 2 on either side, 1 across
    skipped = [word for index in range(8, 32) for word in ("--skip", f"0:{index}")]
    assert run(labels, *skipped, "--skip", "1:0") == 0
    assert capsys.readouterr().out == "Every slice of the structures has been seen.\n"


def test_wrong_options_are_explained(labels: Path, uncertainty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(labels, "--seed", 1, "--start", labels) == 2
    assert "Received: --start --seed. Add --uncertainty FILE" in capsys.readouterr().err
    assert run(labels, "--skip", "0:40") == 2
    assert "must lie in the volume of (40, 8, 20) voxels. Received: --skip 0:40." in capsys.readouterr().err
    moved = Geometry(GEOMETRY.shape, GEOMETRY.spacing_mm, (9.0, 2.0, 3.0))
    write_image(uncertainty, np.zeros(GEOMETRY.shape, np.uint8), moved)
    assert run(labels, "--uncertainty", uncertainty) == 1
    assert "must lie on the same grid. Received: uncertainty.nrrd" in capsys.readouterr().err
    for wrong in ("3:1", "0", "0:-1", "a:b", ":4"):
        with pytest.raises(SystemExit, match="2"):
            run(labels, "--skip", wrong)
