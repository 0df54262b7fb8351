"""Every model that comes with the extension: its files agree, and it does what its card says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from experiment import load_cases, measure
from published import find_training
from results import RESULTS
from ship_model import MAX_BYTES, MODELS, dice_on_test_cases
from shipped_models import DESCRIPTIONS, PERMITTED_LICENCES
from train_hippocampus import case_number, without_parts
from unetseg.inference import segment
from unetseg.model_file import Model, file_sha256, load_model
from unetseg.records import dumps
from unetseg.volume import Geometry, Volume
from UNetSegmentLib.project import Project
from UNetSegmentLib.versions import Version

IDS = sorted(path.stem for path in MODELS.glob("*.safetensors"))
ENDINGS = (".safetensors", ".json", ".md")
FLOOR = 0.8
"""Dice on three test cases; the cards say more than this of each model."""


@pytest.fixture(scope="module", params=IDS)
def model_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(model_id: str) -> Model:
    return load_model(path_of(model_id))


@pytest.fixture(scope="module")
def version(model_id: str, tmp_path_factory: pytest.TempPathFactory) -> Version:
    return Project(tmp_path_factory.mktemp("project"), shippedFolder=MODELS).version(model_id)


def path_of(model_id: str) -> Path:
    return MODELS / f"{model_id}.safetensors"


def card_of(model_id: str) -> str:
    return one_line(path_of(model_id).with_suffix(".md").read_text(encoding="utf-8"))


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_every_described_model_is_there_and_nothing_else() -> None:
    expected = {f"{model_id}{ending}" for model_id in DESCRIPTIONS for ending in ENDINGS}
    assert {path.name for path in MODELS.iterdir()} == {*expected, "LICENSES.md"}


def test_a_model_is_small_and_has_learned_from_images_that_permit_it(model_id: str) -> None:
    assert path_of(model_id).stat().st_size < MAX_BYTES
    licence = DESCRIPTIONS[model_id].data.licence
    assert licence in PERMITTED_LICENCES
    assert "NC" not in licence.split("-")
    row = next(line for line in (MODELS / "LICENSES.md").read_text("utf-8").splitlines() if f"({model_id}.md)" in line)
    assert licence in row
    assert DESCRIPTIONS[model_id].data.attribution in row


def test_record_and_document_agree(model_id: str, model: Model, version: Version) -> None:
    document = model.document
    assert (version.status, version.name, version.parent) == ("shipped", DESCRIPTIONS[model_id].name, "")
    assert not version.hasPieces
    assert (version.labels, version.network, version.dimensions) == (
        document.labels, document.network.name, document.plan.dimensions,
    )  # fmt: skip
    assert (version.channels, version.modality) == (document.network.in_channels, document.plan.modality)
    assert version.volumes == len(document.training.cases)
    assert version.slices == sum(document.training.annotated_slices)
    assert version.sha256 == file_sha256(path_of(model_id))


def test_the_card_says_all_that_it_has_to(model_id: str, model: Model, version: Version) -> None:
    description, card = DESCRIPTIONS[model_id], card_of(model_id)
    data = description.data
    said = [
        *(description.segments, description.audience, description.split, *description.limits),
        *(data.name, data.url, data.licence, PERMITTED_LICENCES[data.licence], data.attribution, data.citation),
        *(version.sha256, "Not for clinical use", f"{model.document.training.iterations} steps"),
        *(f"ship_model.py {model_id}", *model.document.provenance["commands"].splitlines()),
    ]
    assert [part for part in said if one_line(part) not in card] == []


def test_the_figures_are_the_published_ones(model_id: str, model: Model, version: Version) -> None:
    description = DESCRIPTIONS[model_id]
    results = RESULTS.read_text(encoding="utf-8")
    published = find_training(results, description.title, iterations=model.document.training.iterations)
    assert version.heldOut == ((), dice_on_test_cases(description, model.document, published))
    assert len(version.heldOut[1]) == len(version.labels) - 1
    assert one_line("\n".join(published.table)) in card_of(model_id)
    assert "\n".join(published.table) in model.document.provenance["figures"]
    assert published.command in model.document.provenance["commands"]


def test_the_document_names_its_source_and_no_folder_of_a_computer(model_id: str, model: Model) -> None:
    data = DESCRIPTIONS[model_id].data
    provenance = model.document.provenance
    assert provenance["licence"].startswith(data.licence)
    assert (provenance["attribution"], provenance["citation"]) == (data.attribution, data.citation)
    for text in (dumps(model.document), card_of(model_id)):
        assert re.findall(r"(?:^|[\s\"'=`])(?:/|[A-Z]:\\)\w[^\s\"']*", text) == []


def test_any_image_comes_back_on_its_own_grid(model: Model) -> None:
    spacing = (1.0, 1.0, 1.0) if model.document.plan.dimensions == 3 else (50.0, 1.0, 1.0)
    geometry = Geometry((3, 20, 17), spacing)
    volume = Volume(np.random.default_rng(0).normal(100, 20, (1, 3, 20, 17)).astype(np.float32), geometry)
    labels = segment(model, volume, device="cpu").label_map
    assert labels.geometry == geometry
    assert labels.array.max() < model.document.network.classes


def test_the_hippocampus_is_found_in_cases_never_trained_on(model_id: str, model: Model, data_dir: Path) -> None:
    names = sorted(path.name.split(".")[0] for path in (data_dir / "hippocampus" / "images").iterdir())
    names = [name for name in names if case_number(name) % 3 == 2][:3]
    assert not {*names} & {*model.document.training.cases, *model.document.training.validation_cases}
    cases = load_cases(data_dir / "hippocampus", keep=lambda name: name in names)
    if len(model.document.labels) == 2:
        cases = [without_parts(case) for case in cases]
    assert measure(model, cases, device="cpu").mean > FLOOR
