from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from project_files import PIECES, modelFile, record, withPieces

from unetseg.array_file import exhaust
from unetseg.config import Label
from unetseg.errors import FileAccessError, ModelFileError, SettingsError
from unetseg.files import replay_path
from UNetSegmentLib import disk
from UNetSegmentLib.project import Project
from UNetSegmentLib.versions import utcNow

LABELS = (Label(0, "Background", (0, 0, 0)), Label(1, "Leber (ü)", (230, 90, 60), "a~b~c~d~e~f~g"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return modelFile(tmp_path / "Model #1 ü.safetensors")


def test_utc_now_is_read_by_every_python() -> None:
    now = datetime.fromisoformat(utcNow())
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_a_new_project_is_empty_and_makes_nothing(project: Project) -> None:
    assert project.versions() == ()
    assert project.cases() == ()
    assert project.problems() == ()
    assert not project.folder.exists()


def test_a_version_comes_back_as_it_was_added(project: Project, source: Path) -> None:
    given = record(
        "Hippocampus",
        id="given by the caller",
        status="offered",
        parent="f" * 32,
        labels=LABELS,
        channels=2,
        network="unet_2d",
        dimensions=2,
        modality="MR",
        volumes=3,
        slices=7,
        heldOut=((0.5, None), (0.75, 1.0)),
        seconds=31.5,
        note="zuerst",
    )
    added = project.add(source, given)
    assert added.path.read_bytes() == source.read_bytes()
    assert added.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert added.id not in ("", given.id)
    assert added == replace(given, id=added.id, path=added.path, sha256=added.sha256)
    assert Project(project.folder).versions() == (added,)
    assert source.exists()


def test_names_on_disk_are_ids(project: Project, source: Path) -> None:
    added = project.add(source, record("Patient Müller"))
    assert sorted(os.listdir(project.folder / "models")) == [f"{added.id}.json", f"{added.id}.safetensors"]
    assert added.id == added.path.stem
    int(added.id, 16)


def test_versions_are_listed_newest_first_and_shipped_ones_last(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    modelFile(shipped / "hippocampus-mr.safetensors")
    (shipped / "hippocampus-mr.json").write_text(
        json.dumps({"name": "Hippocampus (MR)", "status": "own", "createdUtc": "2099-01-01"})
    )
    project = Project(tmp_path / "p", shippedFolder=shipped)
    times = ["2025-01-02T00:00:00+00:00", "2025-01-03T00:00:00+00:00", "2025-01-01T00:00:00+00:00"]
    for number, created in enumerate(times):
        project.add(modelFile(tmp_path / "m", str(number)), record(str(number), createdUtc=created))
    assert [version.name for version in project.versions()] == ["1", "0", "2", "Hippocampus (MR)"]
    assert project.version("hippocampus-mr").status == "shipped"
    assert not list(shipped.glob("*damaged*"))


def test_a_shipped_version_stays_as_it_is(tmp_path: Path) -> None:
    modelFile(tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text('{"name": "A", "status": "own", "createdUtc": "2025-01-01"}')
    (tmp_path / "b.json").write_text("{")
    modelFile(tmp_path / "b.safetensors", "b")
    project = Project(tmp_path / "p", shippedFolder=tmp_path)
    for change in (
        lambda: project.setStatus("a", "kept"),
        lambda: project.rename("a", "x"),
        lambda: project.delete("a"),
    ):
        with pytest.raises(SettingsError, match="comes with UNetSegment"):
            change()
    assert project.version("a").name == "A"
    assert (tmp_path / "b.json").exists()
    assert "b.json" in project.problems()[0]
    assert project.undescribed() == ()


def test_a_missing_shipped_folder_is_no_problem(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", shippedFolder=tmp_path / "none")
    assert project.versions() == ()
    assert project.problems() == ()


def test_a_model_is_taken_in_once(project: Project, source: Path, tmp_path: Path) -> None:
    added = project.add(source, record("First"))
    with pytest.raises(ModelFileError, match="“First”"):
        project.add(withPieces(source), record("Second"))
    assert project.versions() == (added,)
    assert len(os.listdir(project.folder / "models")) == 2


def test_pieces_of_images_go_with_the_model_that_rehearses_them(project: Project, source: Path) -> None:
    added = project.add(withPieces(source), record())
    assert replay_path(added.path).read_bytes() == PIECES
    assert Project(project.folder).versions() == (added,)
    assert (project.undescribed(), project.problems()) == ((), ())
    sizes = dict(project.contents())
    assert sizes["pieces"] == len(PIECES)
    assert sizes["models"] == added.path.stat().st_size + added.path.with_suffix(".json").stat().st_size
    project.delete(added.id)
    assert os.listdir(project.folder / "models") == []


def test_pieces_of_images_are_never_exported(project: Project, source: Path, tmp_path: Path) -> None:
    added = project.add(withPieces(source), record())
    (tmp_path / "out").mkdir()
    exhaust(project.exportInSteps(added.id, tmp_path / "out" / "x.safetensors"))
    assert os.listdir(tmp_path / "out") == ["x.safetensors"]


def test_everything_that_is_removed_includes_pieces_of_images(project: Project, source: Path) -> None:
    added = project.add(withPieces(source), record())
    byHand = withPieces(modelFile(added.path.with_name("From Anna.safetensors"), "b"))
    left = project.removeEverything()
    assert sorted(left) == sorted((byHand, replay_path(byHand)))


def test_a_shipped_model_may_bring_pieces_of_images(tmp_path: Path) -> None:
    withPieces(modelFile(tmp_path / "a.safetensors"))
    (tmp_path / "a.json").write_text('{"name": "A", "status": "own", "createdUtc": "2025-01-01"}')
    project = Project(tmp_path / "p", shippedFolder=tmp_path)
    assert [version.name for version in project.versions()] == ["A"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 renamed zip of weights",
        b"\x80\x02}q\x00 a pickle, long enough",
        (1 << 63).to_bytes(8, "little") + b"{}",
        (100).to_bytes(8, "little") + b'{"cut off": ',
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_what_is_no_model_is_refused(project: Project, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"must be a .safetensors file that UNetSegment has written"):
        project.add(path, record())
    assert project.versions() == ()


def test_a_model_that_is_not_there_is_named(project: Project, tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match=r"gone.safetensors"):
        project.add(tmp_path / "gone.safetensors", record())


def test_adding_closed_early_leaves_no_trace(project: Project, tmp_path: Path) -> None:
    model = modelFile(tmp_path / "m", size=3 * disk.STEP_BYTES)
    assert len(list(Project(tmp_path / "other").addInSteps(model, record()))) == 4
    for number in range(1, 6):
        steps = project.addInSteps(withPieces(model), record())
        for _ in range(number):
            next(steps)
        assert os.listdir(project.folder / "models") != []
        steps.close()
        assert os.listdir(project.folder / "models") == []
    assert len(list(project.addInSteps(model, record()))) == 5


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Liver", "Liver (3)"),
        ("LIVER (2)", "LIVER (2) (2)"),
        ("  Two \n lines ", "Two lines"),
        (" ", "Model"),
        ("x" * 90, "x" * 80),
        ("y" * 80, "y" * 76 + " (2)"),
    ],
)
def test_a_name_that_is_taken_or_too_long_is_changed(tmp_path: Path, given: str, stored: str) -> None:
    project = Project(tmp_path / "p")
    for number, name in enumerate(["Liver", "Liver", "y" * 80]):
        project.add(modelFile(tmp_path / "m", str(number)), record(name))
    assert project.add(modelFile(tmp_path / "m"), record(given)).name == stored


def test_renaming(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    first = project.add(modelFile(tmp_path / "m", "1"), record("First"))
    project.add(modelFile(tmp_path / "m", "2"), record("Second"))
    assert project.rename(first.id, " FIRST \t one ").name == "FIRST one"
    assert project.rename(first.id, "first one").name == "first one"
    assert project.version(first.id).name == "first one"
    for name, reason in (("", "0 characters"), (" \n", "0 characters"), ("x" * 81, "81"), ("SECOND", "of its own")):
        with pytest.raises(SettingsError, match=reason):
            project.rename(first.id, name)
    assert project.version(first.id).name == "first one"
    assert project.rename(first.id, "x" * 80).name == "x" * 80


def test_a_status_is_kept(project: Project, source: Path) -> None:
    added = project.add(source, record(status="offered"))
    assert project.setStatus(added.id, "rejected").status == "rejected"
    assert Project(project.folder).version(added.id).status == "rejected"
    for status in ("shipped", "kep"):
        with pytest.raises(SettingsError, match="one of kept, offered, own, rejected"):
            project.setStatus(added.id, status)


def test_a_version_that_is_gone_is_said(project: Project) -> None:
    assert project.find("a") is None
    assert project.base("a") is None
    with pytest.raises(SettingsError, match="no longer in the project"):
        project.rename("a" * 32, "x")


def test_lineage_tells_what_was_deleted(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    ids = [""]
    for number in range(4):
        version = project.add(modelFile(tmp_path / "m", str(number)), record(str(number), parent=ids[-1]))
        ids.append(version.id)
    _none, base, first, second, third = ids
    assert [found for found, _version in project.lineage(third)] == [third, second, first, base]
    assert project.base(third).id == base
    assert {version.id for version in project.descendants(base)} == {first, second, third}
    project.delete(first)
    lineage = project.lineage(third)
    assert [found for found, _version in lineage] == [third, second, first]
    assert lineage[-1][1] is None
    assert lineage[0][1] == project.version(third)
    assert project.base(third).id == second
    assert project.descendants(base) == ()


def test_a_lineage_that_bites_its_tail_ends(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    one = project.add(modelFile(tmp_path / "m", "1"), record("1"))
    two = project.add(modelFile(tmp_path / "m", "2"), record("2", parent=one.id))
    data = json.loads(one.path.with_suffix(".json").read_text())
    one.path.with_suffix(".json").write_text(json.dumps({**data, "parent": two.id}))
    assert [found for found, _version in Project(project.folder).lineage(one.id)] == [one.id, two.id]


def test_exporting(project: Project, source: Path, tmp_path: Path) -> None:
    added = project.add(source, record())
    target = tmp_path / "out ü #%.safetensors"
    target.write_text("old")
    exhaust(project.exportInSteps(added.id, target))
    assert target.read_bytes() == source.read_bytes()
    for inside in (added.path, added.path.with_name("new.safetensors")):
        with pytest.raises(FileAccessError, match="another folder"):
            exhaust(project.exportInSteps(added.id, inside))
    with pytest.raises(FileAccessError, match=r"no_folder.*Check that the disk"):
        exhaust(project.exportInSteps(added.id, tmp_path / "no_folder" / "x.safetensors"))
    assert added.path.read_bytes() == source.read_bytes()
    assert sorted(os.listdir(added.path.parent)) == [f"{added.id}.json", f"{added.id}.safetensors"]


def test_an_export_through_a_link_does_not_overwrite_the_model(project: Project, source: Path, tmp_path: Path) -> None:
    added = project.add(source, record())
    (tmp_path / "link").symlink_to(added.path.parent, target_is_directory=True)
    with pytest.raises(FileAccessError, match="another folder"):
        exhaust(project.exportInSteps(added.id, tmp_path / "link" / added.path.name))
    (tmp_path / "project link").symlink_to(project.folder, target_is_directory=True)
    with pytest.raises(FileAccessError, match="another folder"):
        exhaust(Project(tmp_path / "project link").exportInSteps(added.id, added.path))


def test_deleting_removes_the_files_and_the_results(project: Project, source: Path) -> None:
    added = project.add(source, record())
    caseId = project.newCaseId()
    result, other = project.resultFile(caseId, added.id), project.resultFile(caseId, "other")
    result.touch()
    other.touch()
    project.delete(added.id)
    assert project.versions() == ()
    assert project.problems() == ()
    assert os.listdir(project.folder / "models") == []
    assert os.listdir(other.parent) == ["other.npz"]


def test_a_model_that_another_program_holds_is_not_half_deleted(
    project: Project, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = project.add(withPieces(source), record())

    def held(path: object, **options: object) -> None:
        raise PermissionError(13, "in use", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", held)
        with pytest.raises(FileAccessError, match=r"in use.*close the program"):
            project.delete(added.id)
    assert Project(project.folder).versions() == (added,)
    assert replay_path(added.path).read_bytes() == PIECES
