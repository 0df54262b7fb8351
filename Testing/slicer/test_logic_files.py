"""Model files that come and go: one that is no model is in nobody's way, and one that is written is finished."""

import types

import pytest
import slicer
from loop import LABELS

from fake_worker import save_model
from unetseg.errors import ModelFileError
from UNetSegmentLib import version_actions
from UNetSegmentLib.versions import Version


@pytest.fixture
def loop(loop):
    loop.version = loop.addVersion()
    return loop


def test_a_model_is_written_to_its_end_where_the_scene_is_closed_meanwhile(loop):
    target = loop.folder / "exported.safetensors"
    loop.logic.exportVersion(loop.version.id, str(target))
    slicer.mrmlScene.Clear()
    loop.settle()
    assert target.read_bytes() == loop.version.path.read_bytes()
    assert loop.logic.notice.text.startswith("The model was written")


def test_a_file_that_is_no_model_keeps_no_other_from_being_taken_in(loop, monkeypatch):
    def document(description):
        if description == "a":
            raise ModelFileError("This file is not a model that UNetSegment can use")

    def versionOf(_document, **known):
        return Version(**known, labels=LABELS)

    def describe(paths):
        yield
        return types.SimpleNamespace(models=[path.stem for path in paths])

    monkeypatch.setattr(version_actions, "_document", document)
    monkeypatch.setattr(version_actions, "versionOf", versionOf)
    monkeypatch.setattr(loop.logic._workspace, "describe", describe)
    for name, thresholds in (("a", (10,)), ("b", (20,))):
        save_model(loop.logic.project.folder / "models" / f"{name}.safetensors", thresholds)
    loop.logic.enter()
    loop.settle()
    assert "b" in [version.name for version in loop.logic.project.versions()]
    assert loop.logic.notice.text == "This file is not a model that UNetSegment can use."
