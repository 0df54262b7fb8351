"""Versions in the folder of models: put there by hand, damaged, unreadable, changed by another Slicer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from project_files import PIECES, modelFile, record, withPieces

from unetseg.files import replay_path
from UNetSegmentLib import disk
from UNetSegmentLib.project import Project


def settle(folder: Path) -> None:
    """As if the folder had last changed a while ago."""
    os.utime(folder, ns=(0, folder.stat().st_mtime_ns - 2 * disk.SETTLED_NANOSECONDS))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return modelFile(tmp_path / "Model #1 ü.safetensors")


@pytest.mark.usefixtures("rereading")
def test_a_model_put_there_by_hand_waits_for_its_description(project: Project, source: Path, tmp_path: Path) -> None:
    project.add(source, record("First"))
    byHand = withPieces(modelFile(project.folder / "models" / "From Anna.safetensors", "b"))
    byHand.with_suffix(".json").write_text('{"name": "A", "status": "own", "createdUtc": "2025-01-01"}')
    assert project.undescribed() == (byHand,)
    assert [version.name for version in project.versions()] == ["First"]
    content = byHand.read_bytes()
    added = project.add(byHand, record("From Anna"))
    assert added.path.read_bytes() == content
    assert replay_path(added.path).read_bytes() == PIECES
    assert not byHand.exists()
    assert not replay_path(byHand).exists()
    assert project.undescribed() == ()
    assert {version.name for version in project.versions()} == {"First", "From Anna"}
    assert project.problems() == ()


@pytest.mark.usefixtures("rereading")
def test_a_record_without_its_model_is_told_and_stays(project: Project, source: Path) -> None:
    added = project.add(source, record())
    added.path.unlink()
    assert project.versions() == ()
    assert project.problems() == (
        f"A model is missing; only its description is there: {added.path.with_suffix('.json')}.",
    )
    assert added.path.with_suffix(".json").exists()
    modelFile(added.path)
    assert project.problems() == ()
    assert project.versions() == (added,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "\xff",
        "null",
        '{"name": "x"}',
        '{"name": "x", "status": "new", "createdUtc": "2025-01-01"}',
        '{"name": "x", "status": "own", "createdUtc": "yesterday"}',
        '{"name": "x", "status": "own", "createdUtc": "2025-01-01", "unknown": 1}',
        '{"name": "x", "status": "own", "createdUtc": "2025-01-01", "seconds": NaN}',
        '{"name": "x", "status": "own", "createdUtc": "2025-01-01", "heldOut": [[0.5], [0.5], [0.5]]}',
    ],
)
@pytest.mark.usefixtures("rereading")
def test_a_damaged_record_is_set_aside(project: Project, source: Path, text: str) -> None:
    added = project.add(source, record())
    path = added.path.with_suffix(".json")
    path.write_bytes(text.encode("latin-1"))
    for number in ("", "1"):
        assert project.versions() == ()
        assert project.undescribed() == (added.path,)
        aside = path.with_name(f"{path.name}.damaged{number}")
        assert aside.read_bytes() == text.encode("latin-1")
        assert not path.exists()
        assert str(aside) in project.problems()[-1]
        path.write_bytes(text.encode("latin-1"))


@pytest.mark.usefixtures("rereading")
def test_a_damaged_record_that_cannot_be_set_aside_is_told_once(
    project: Project, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = project.add(source, record())
    added.path.with_suffix(".json").write_text("{")

    def refused(old: object, new: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(os, "rename", refused)
    for _ in range(2):
        assert project.undescribed() == (added.path,)
    assert len(project.problems()) == 1
    assert "read-only" in project.problems()[0]


def test_files_of_others_in_the_models_folder_are_left_alone(project: Project, source: Path) -> None:
    added = project.add(source, record())
    for name in ("notes.txt", f"._{added.id}.json", ".DS_Store", f".123-ff-{added.id}.safetensors"):
        (added.path.parent / name).write_text("x")
    assert project.versions() == (added,)
    assert project.undescribed() == ()
    assert project.problems() == ()
    assert len(os.listdir(added.path.parent)) == 6


def test_two_slicers_see_what_the_other_does(tmp_path: Path) -> None:
    one, two = Project(tmp_path / "p"), Project(tmp_path / "p")
    assert two.versions() == ()
    added = one.add(modelFile(tmp_path / "m", "1"), record("First"))
    assert two.versions() == (added,)
    two.rename(added.id, "Renamed")
    assert one.version(added.id).name == "Renamed"
    settle(tmp_path / "p" / "models")
    assert one.versions() == two.versions()
    one.rename(added.id, "Again")
    assert two.version(added.id).name == "Again"
    two.delete(added.id)
    assert one.versions() == ()


def test_a_folder_that_has_not_changed_is_not_read_again(
    project: Project, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = project.add(source, record())
    settle(added.path.parent)
    assert project.versions() == (added,)
    monkeypatch.setattr(os, "scandir", None)
    assert project.versions() == (added,)


@pytest.mark.parametrize(("later", "seen"), [(0.5, "Hippocampus"), (1.5, "Amygdala")])
def test_a_folder_that_has_just_changed_is_read_again_soon(
    project: Project, source: Path, monkeypatch: pytest.MonkeyPatch, later: float, seen: str
) -> None:
    added = project.add(source, record())
    folder = added.path.parent
    now = folder.stat().st_mtime_ns + disk.SETTLED_NANOSECONDS // 2
    clock = [now]
    monkeypatch.setattr(time, "time_ns", lambda: clock[0])
    assert project.versions() == (added,)
    path = added.path.with_suffix(".json")
    stamp = folder.stat().st_mtime_ns
    path.write_text(path.read_text().replace("Hippocampus", "Amygdala"))
    os.utime(folder, ns=(stamp, stamp))
    clock[0] = now + int(later * disk.SETTLED_NANOSECONDS)
    assert project.version(added.id).name == seen


def test_a_change_of_ours_counts_where_time_stamps_are_coarse(project: Project, source: Path) -> None:
    added = project.add(source, record())
    folder = added.path.parent
    settle(folder)
    assert project.versions() == (added,)
    stamp = folder.stat().st_mtime_ns
    project.rename(added.id, "Renamed")
    os.utime(folder, ns=(stamp, stamp))
    assert project.version(added.id).name == "Renamed"


@pytest.mark.usefixtures("rereading")
def test_a_record_that_cannot_be_read_now_is_tried_again(
    project: Project, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = project.add(source, record())
    settle(added.path.parent)

    def unreachable(path: Path, **options: object) -> str:
        if path.suffix == ".json" and path.parent.name == "models":
            raise OSError(116, "Stale file handle")
        return original(path, **options)

    original = Path.read_text
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", unreachable)
        assert project.versions() == ()
        assert project.problems() == (
            f"The description of a model could not be read: {added.path.with_suffix('.json')}: Stale file handle.",
        )
    assert project.versions() == (added,)
    assert project.problems() == ()


def test_a_models_folder_that_cannot_be_read_is_told(project: Project) -> None:
    project.folder.mkdir(parents=True)
    (project.folder / "models").write_text("a file")
    assert project.versions() == ()
    assert "The models cannot be read" in project.problems()[0]
