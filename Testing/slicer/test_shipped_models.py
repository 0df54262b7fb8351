"""The models that come with the extension, at the panel: listed, used, and retrained without being touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import patients
import pytest
import qt
from radiologist import doctorOf

from unetseg.data import find_cases, load_case
from unetseg.model_file import read_document
from UNetSegmentLib.project import Project
from UNetSegmentLib.retraining import Retraining
from UNetSegmentLib.sample_data import HIPPOCAMPUS_CASES
from UNetSegmentLib.workspace import SHIPPED_MODELS

PARTS = "hippocampus_parts_mr"


@pytest.fixture(scope="module")
def sample():
    """The first image of the sample data, with its labels."""
    found = find_cases(patients.hippocampusFolder()).cases
    return load_case(next(files for files in found if files.name == HIPPOCAMPUS_CASES[0]))


def filesOf(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_a_fresh_project_offers_the_shipped_models_first(widget, tmp_path):
    shipped = Project(tmp_path / "other", shippedFolder=SHIPPED_MODELS).versions()
    assert PARTS in [version.id for version in shipped]
    chooser = widget.panel.uis["segment"].modelChooser
    titles = [chooser.itemText(n) for n in range(chooser.count)]
    assert titles[: len(shipped)] == [version.name for version in shipped]
    assert all(title.startswith("New: ") for title in titles[len(shipped) :])
    for n, version in enumerate(shipped):
        assert version.note in chooser.itemData(n, qt.Qt.ToolTipRole)
    rows = widget.logic.segmentation.versionRows()
    assert [(row.statusText, row.removable) for row in rows] == [("built in", False)] * len(shipped)
    assert widget.logic.segmentation.project.problems() == ()


def test_the_sample_images_are_none_that_a_shipped_model_has_learned_from():
    models = list(SHIPPED_MODELS.glob("*.safetensors"))
    assert models
    for model in models:
        training = read_document(model).training
        assert not {*HIPPOCAMPUS_CASES} & {*training.cases, *training.validation_cases}


def test_a_shipped_model_segments_and_is_retrained_without_being_touched(widget, sample, monkeypatch):
    made = Retraining._request
    monkeypatch.setattr(
        Retraining,
        "_request",
        lambda self, folder: replace(made(self, folder), settings={"iterations": 2, "seed": 0}),
    )
    before = filesOf(SHIPPED_MODELS)
    doctor = doctorOf(widget, sample)
    doctor.choose(PARTS)
    doctor.segment()
    assert doctor.dice([]) > 0.8

    planes = doctor.correctNext(2)
    doctor.retrain()
    doctor.keep()
    project = doctor.logic.project
    version = project.version(doctor.parameters.model)
    assert (version.parent, version.slices, version.labels) == (PARTS, 2, project.version(PARTS).labels)
    assert version.path.parent == project.folder / "models"
    assert project.base(version.id).id == PARTS
    assert [known.id for known in project.descendants(PARTS)] == [version.id]
    labels = doctor.labels()
    for axis, index in planes:
        assert np.array_equal(np.take(labels, index, axis), np.take(sample.annotation.array, index, axis))
    assert filesOf(SHIPPED_MODELS) == before
