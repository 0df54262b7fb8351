"""From a trained model and its section of RESULTS.md to the files that come with the extension."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from published import find_training
from ship_model import MAX_BYTES, ship
from shipped_models import DESCRIPTIONS
from small_models import DOCUMENT, network_of
from unetseg.errors import SettingsError
from unetseg.model_file import Model, file_sha256, load_model, save_model
from UNetSegmentLib.project import Project

DESCRIPTION = replace(DESCRIPTIONS["hippocampus_parts_mr"], title="Liver and kidney", dice_columns=("liver", "kidney"))
RESULTS = """# Results

## Liver and kidney

`python Testing/benchmarks/train_abdomen.py --seed 1`

2026-01-01, a computer

| method | kidney | liver | iterations |
| --- | --- | --- | --- |
| threshold | 0.1000 | 0.2000 |  |
| network | 0.8125 | 0.9250 | 5 |

Seed 1.

## Liver and kidney

`python Testing/benchmarks/train_abdomen.py --seed 2`

2026-01-02, a computer

| method | kidney | liver | iterations |
| --- | --- | --- | --- |
| network | 0.7000 | 0.7000 | 6 |
"""


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    path = tmp_path / "abdomen.safetensors"
    save_model(path, Model(DOCUMENT, network_of(DOCUMENT)))
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "Models").mkdir()
    return tmp_path / "Models"


def test_the_section_of_the_same_training_is_found() -> None:
    first = find_training(RESULTS, "Liver and kidney", iterations=5)
    assert first.command == "python Testing/benchmarks/train_abdomen.py --seed 1"
    assert (first.facts, first.notes, len(first.table)) == ("2026-01-01, a computer", "Seed 1.", 4)
    row = {"method": "network", "kidney": "0.8125", "liver": "0.9250", "iterations": "5"}
    assert first.row_of_training(5) == row
    assert find_training(RESULTS, "Liver and kidney", iterations=6).notes == ""


@pytest.mark.parametrize(("title", "iterations"), [("Liver and kidney", 7), ("Liver", 5)])
def test_a_model_without_published_figures_is_not_shipped(title: str, iterations: int) -> None:
    with pytest.raises(SettingsError, match="figures"):
        find_training(RESULTS, title, iterations=iterations)


def test_the_files_say_the_same_and_the_weights_stay(trained: Path, models: Path, tmp_path: Path) -> None:
    path = ship(DESCRIPTION, trained, models=models, results=RESULTS)
    names = {"LICENSES.md", *(f"hippocampus_parts_mr{ending}" for ending in (".safetensors", ".json", ".md"))}
    assert {file.name for file in models.iterdir()} == names
    before, model = load_model(trained), load_model(path)
    version = Project(tmp_path / "project", shippedFolder=models).version("hippocampus_parts_mr")
    weights = model.network.state_dict()
    assert all(weight.equal(weights[name]) for name, weight in before.network.state_dict().items())
    assert replace(model.document, provenance={}) == before.document
    assert (version.status, version.labels, version.hasPieces) == ("shipped", DOCUMENT.labels, False)
    assert (version.channels, version.dimensions, version.modality, version.volumes, version.slices) == (
        2,
        3,
        "CT",
        1,
        3,
    )
    assert version.heldOut == ((), (0.925, 0.8125))
    assert version.sha256 == file_sha256(path)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for part in (version.sha256, "| network | 0.8125 | 0.9250 | 5 |", "train_abdomen.py --seed 1", "clinical use"):
        assert part in card
    assert "| network | 0.8125 | 0.9250 | 5 |" in model.document.provenance["figures"]
    assert "CC-BY-SA-4.0" in model.document.provenance["licence"]
    assert "hippocampus_parts_mr.md" in (models / "LICENSES.md").read_text(encoding="utf-8")


def test_a_model_that_is_too_large_is_not_shipped(trained: Path, models: Path) -> None:
    trained.write_bytes(bytes(MAX_BYTES))
    with pytest.raises(SettingsError, match="smaller"):
        ship(DESCRIPTION, trained, models=models, results=RESULTS)
    assert not list(models.iterdir())
