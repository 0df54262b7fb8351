"""Make a trained model one that comes with the extension: the model file, its record and its card.

``ship_model.py hippocampus_parts_mr models/hippocampus_all_slices.safetensors`` writes
``UNetSegment/Resources/Models/hippocampus_parts_mr`` with the endings .safetensors, .json and .md, and ``LICENSES.md``
beside them. What is said of the model stands in ``shipped_models.py``, its figures are read from RESULTS.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from model_card import NOT_FOR_PATIENTS, licence_link, model_card
from published import Published, find_training
from results import RESULTS
from shipped_models import DESCRIPTIONS, Description
from unetseg.config import ModelDocument
from unetseg.errors import SettingsError
from unetseg.model_file import load_model, save_model

MODULE = Path(__file__).resolve().parents[2] / "UNetSegment"
sys.path.append(str(MODULE))

from UNetSegmentLib.disk import writeRecord, writeText  # noqa: E402
from UNetSegmentLib.versions import NOT_STORED, Version, recordPath, versionOf  # noqa: E402

MODELS = MODULE / "Resources" / "Models"
MAX_BYTES = 10_000_000


def ship(description: Description, trained: Path, *, models: Path, results: str) -> Path:
    """Write the files of one model into ``models``, its figures taken from the text ``results``; returns the model.

    Raises:
        SettingsError: the figures are not published, or the model is too large.
        ModelFileError: ``trained`` is no model.
    """
    if trained.stat().st_size >= MAX_BYTES:
        raise SettingsError(f"A shipped model is smaller than {MAX_BYTES} bytes", received=trained.stat().st_size)
    model = load_model(trained)
    published = find_training(results, description.title, iterations=model.document.training.iterations)
    commands = [
        published.command,
        f"python Testing/benchmarks/ship_model.py {description.id} models/{trained.name}",
    ]
    document = replace(model.document, provenance=_provenance(description, published, commands))
    model = replace(model, document=document)
    path = models / f"{description.id}.safetensors"
    sha256 = save_model(path, model)
    version = _version(description, document, published, sha256=sha256, path=path)
    writeRecord(recordPath(path), version, NOT_STORED)
    megabytes = path.stat().st_size / 1e6
    card = model_card(description, model, published, sha256=sha256, megabytes=megabytes, commands=commands)
    writeText(path.with_suffix(".md"), card)
    writeText(models / "LICENSES.md", _licences(models))
    return path


def dice_on_test_cases(description: Description, document: ModelDocument, published: Published) -> tuple[float, ...]:
    """Of each structure, on the test cases."""
    row = published.row_of_training(document.training.iterations)
    assert row is not None
    return tuple(float(row[column]) for column in description.dice_columns)


def _provenance(description: Description, published: Published, commands: list[str]) -> dict[str, str]:
    data = description.data
    return {
        "name": description.name,
        "licence": f"{data.licence}, as the images it was trained on",
        "data": f"{data.name}, {data.url}",
        "attribution": data.attribution,
        "citation": data.citation,
        "split": description.split,
        "figures": "\n".join([published.facts, *published.table, published.notes]),
        "commands": "\n".join(commands),
        "use": NOT_FOR_PATIENTS,
    }


def _version(
    description: Description, document: ModelDocument, published: Published, *, sha256: str, path: Path
) -> Version:
    return versionOf(
        document,
        id=description.id,
        name=description.name,
        status="shipped",
        createdUtc=document.training.finished_utc,
        heldOut=((), dice_on_test_cases(description, document, published)),
        note=description.hint,
        sha256=sha256,
        path=path,
    )


def _licences(models: Path) -> str:
    rows = [
        f"| [{known.name}]({known.id}.md) | {licence_link(data.licence)} | {data.attribution} | {data.citation} |"
        for known in DESCRIPTIONS.values()
        for data in (known.data,)
        if (models / f"{known.id}.safetensors").is_file()
    ]
    return "\n".join(
        [
            "# Licences of the models",
            "",
            "The program is under the Apache License 2.0. The models in this folder are not: each is under the licence",
            "of the images that it has learned from. Its card says more.",
            "",
            "| model | licence of the weights | source | cite |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("id", choices=sorted(DESCRIPTIONS))
    options.add_argument("model", type=Path, help="the trained model file")
    chosen = options.parse_args()
    MODELS.mkdir(exist_ok=True)
    print(ship(DESCRIPTIONS[chosen.id], chosen.model, models=MODELS, results=RESULTS.read_text(encoding="utf-8")))
