"""The demo with budgets too small to learn anything: every step runs and leaves what it promises."""

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path

import matplotlib.image
import pytest

from unetseg.image_io import read_label_map, read_volume
from unetseg.model_file import read_document

DEMO = Path(__file__).parents[1] / "demo"


@pytest.fixture
def run_demo(monkeypatch):
    monkeypatch.syspath_prepend(DEMO)
    spec = importlib.util.spec_from_file_location("run_demo", DEMO / "run_demo.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_demo", module)
    spec.loader.exec_module(module)
    return module


def test_the_demo_leaves_models_label_maps_and_pictures(run_demo, tmp_path, capsys):
    run_demo.main(Namespace(output=tmp_path, cases=None, first_seconds=1, seconds=0.5, seed=0))
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.split() and line.split()[0] in ("0", "1", "3", "5")]
    assert [row[0] for row in rows] == ["0", "1", "3", "5"]
    volume = read_volume(tmp_path / "volume.nii.gz")
    for count in (0, 1, 3, 5):
        assert read_label_map(tmp_path / f"result_{count}_slices.nii.gz").geometry.matches(volume.geometry)
    for count in (1, 3, 5):
        record = read_document(tmp_path / f"after_{count}_slices.safetensors").training
        assert record.annotated_slices == (count,)
        assert record.parent_sha256
    for picture in ("before_after.png", "loss.png"):
        assert matplotlib.image.imread(tmp_path / picture).std() > 0
