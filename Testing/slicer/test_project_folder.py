from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from project_files import Refusals, finished, interrupted, modelFile, record

from unetseg.array_file import exhaust
from unetseg.errors import FileAccessError, SettingsError
from unetseg.labelled_slices import LabelledSlice, load_slices
from UNetSegmentLib.project import Project

HERE = Path(__file__).parent


def slices(value: int) -> tuple[LabelledSlice, ...]:
    return (LabelledSlice(0, 0, np.full((2, 2), value, np.uint8)),)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "ü #1 100%" / "project")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- the disk refuses ----


def prepared(folder: Path) -> SimpleNamespace:
    project = Project(folder / "project")
    version = project.add(modelFile(folder / "model"), record())
    caseId = project.newCaseId()
    exhaust(project.saveCaseInSteps(caseId, "old", slices(1), (1, 2, 2), ()))
    (folder / "export").write_text("old")
    return SimpleNamespace(
        project=project, id=version.id, case=caseId, new=modelFile(folder / "new", "b"), folder=folder
    )


ACTIONS: dict[str, Callable[[SimpleNamespace], object]] = {
    "add": lambda at: at.project.add(at.new, record("New")),
    "status": lambda at: at.project.setStatus(at.id, "kept"),
    "rename": lambda at: at.project.rename(at.id, "New"),
    "export": lambda at: exhaust(at.project.exportInSteps(at.id, at.folder / "export")),
    "case": lambda at: exhaust(at.project.saveCaseInSteps("c" * 32, "new", slices(2), (1, 2, 2), ())),
    "case again": lambda at: exhaust(at.project.saveCaseInSteps(at.case, "old", slices(2), (1, 2, 2), ())),
    "images": lambda at: at.project.imagePaths("c" * 32, 2),
    "result": lambda at: at.project.resultFile(at.case, at.id),
    "job": lambda at: at.project.newJobFolder(),
    "new project": lambda at: Project(at.folder / "other").caseFolder("c" * 32),
}


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_disk_that_refuses_leaves_the_project_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, reason: int
) -> None:
    at = prepared(tmp_path)
    before = files(tmp_path)
    known = at.project.versions(), [(case.id, case.name, case.slices) for case in at.project.cases()]
    for number in itertools.count(1):
        with monkeypatch.context() as patch:
            refusals = Refusals(patch, number, reason)
            try:
                ACTIONS[action](at)
            except FileAccessError as error:
                refused: FileAccessError | None = error
            else:
                refused = None
        if refusals.calls < number:
            break
        assert refused is not None, f"call {number} failed unnoticed"
        assert os.strerror(reason) in refused.received
        after = {
            name: content for name, content in files(tmp_path).items() if not name.startswith(("project/jobs", "other"))
        }
        if action.startswith("case"):
            for path in (tmp_path / "project" / "cases").glob("*/slices.json"):
                load_slices(path)
                after.pop(str(path.relative_to(tmp_path)))
            before = {name: content for name, content in before.items() if not name.endswith("slices.json")}
        assert after == before
        fresh = Project(at.project.folder)
        assert fresh.versions() == known[0]
        assert [(case.id, case.name, case.slices) for case in fresh.cases()] == known[1]
        assert fresh.undescribed() == ()
        assert fresh.problems() == ()
    assert number > 1
    assert refused is None
    assert not [name for name in files(tmp_path) if "/." in name and not name.endswith(".lock")]


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EACCES, "may write to"),
        (errno.EROFS, "may write to"),
        (errno.EIO, "disk or network drive is connected"),
    ],
)
def test_the_way_out_fits_the_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch, reason: int, remedy: str
) -> None:
    Refusals(monkeypatch, 1, reason)
    with pytest.raises(FileAccessError) as caught:
        project.newJobFolder()
    assert caught.value.rule == "The project folder must be writable"
    assert remedy in caught.value.remedy
    assert str(project.folder) in caught.value.received


def test_a_project_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    project = Project(tmp_path / "file")
    assert project.versions() == ()
    assert len(project.problems()) == 1
    with pytest.raises(FileAccessError, match="must be writable"):
        project.newJobFolder()
    assert (tmp_path / "file").read_text() == "x"


def test_the_space_for_a_training_is_checked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=250_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    project.checkSpaceForTraining(100_000_000)
    with pytest.raises(FileAccessError, match=r"about 255 MB.*250 MB free.*Free some space"):
        project.checkSpaceForTraining(102_000_000)
    assert all(path.is_dir() for path in asked)
    assert not project.folder.exists()


# ---- the folder's format ----


def test_a_project_of_a_newer_program_is_left_alone(project: Project, tmp_path: Path) -> None:
    version = project.add(modelFile(tmp_path / "m"), record())
    exhaust(project.saveCaseInSteps("a" * 32, "CT", slices(1), (1, 2, 2), ()))
    path = project.folder / "project.json"
    assert json.loads(path.read_text()) == {"format": 1}
    path.write_text('{"format": 2, "more": true}')
    version.path.with_suffix(".json").write_text('{"format of the future": 1}')
    before = files(project.folder)
    newer = Project(project.folder)
    assert newer.versions() == ()
    assert newer.cases() == ()
    assert newer.undescribed() == ()
    assert newer.problems() == (f"This project folder was made by a newer UNetSegment: {project.folder}.",)
    for write in (newer.newJobFolder, lambda: newer.caseFolder("a" * 32), lambda: newer.add(tmp_path / "m", record())):
        with pytest.raises(SettingsError, match="Update UNetSegment"):
            write()
    assert files(project.folder) == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "one"}', "\xff"])
def test_a_damaged_format_file_is_set_aside_and_written_anew(project: Project, tmp_path: Path, text: str) -> None:
    version = project.add(modelFile(tmp_path / "m"), record())
    (project.folder / "project.json").write_bytes(text.encode("latin-1"))
    again = Project(project.folder)
    assert again.versions() == (version,)
    assert (project.folder / "project.json.damaged").read_bytes() == text.encode("latin-1")
    assert "project.json.damaged" in again.problems()[0]
    again.newJobFolder()
    assert json.loads((project.folder / "project.json").read_text()) == {"format": 1}


# ---- removing everything ----


def filled(project: Project, tmp_path: Path) -> str:
    version = project.add(modelFile(tmp_path / "m"), record())
    (project.folder / "models" / f".12-ab-{version.id}.json").write_text("left by a killed program")
    (project.folder / "models" / f"{version.id}.json.damaged").write_text("x")
    caseId = project.newCaseId()
    exhaust(project.saveCaseInSteps(caseId, "CT", slices(1), (1, 2, 2), ()))
    project.imagePaths(caseId, 1)[0].write_bytes(b"x" * 1000)
    project.resultFile(caseId, version.id).write_bytes(b"x" * 200)
    interrupted(finished(project.newJobFolder()))
    return caseId


def test_contents_are_what_goes(project: Project, tmp_path: Path) -> None:
    assert project.contents() == ()
    filled(project, tmp_path)
    contents = dict(project.contents())
    assert set(contents) == {"models", "slices", "volumes", "results", "jobs", "other"}
    assert contents["volumes"] == 1000
    assert contents["results"] == 200
    assert sum(contents.values()) == sum(len(content) for content in files(project.folder).values())
    assert project.removeEverything() == ()
    assert os.listdir(project.folder) == []
    assert project.contents() == ()
    assert project.versions() == ()
    assert project.cases() == ()
    project.add(tmp_path / "m", record())
    assert json.loads((project.folder / "project.json").read_text()) == {"format": 1}


def test_what_others_have_put_there_stays_and_is_told(project: Project, tmp_path: Path) -> None:
    caseId = filled(project, tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{'a' * 32}.safetensors").write_text("precious")
    (outside / "case.json").write_text("precious")
    (project.folder / "cases" / ("b" * 32)).symlink_to(outside, target_is_directory=True)
    (project.folder / "models" / f"{'c' * 32}.safetensors").symlink_to(outside / f"{'a' * 32}.safetensors")
    (project.folder / "cases" / "mine").mkdir()
    others = [
        project.folder / "notes.txt",
        project.folder / "models" / "From Anna.safetensors",
        project.folder / "cases" / "mine" / "case.json",
        project.folder / "cases" / caseId / "report.pdf",
        project.folder / "cases" / caseId / "results" / "my.nii.gz",
    ]
    for path in others:
        path.write_text("mine")
    links = [project.folder / "cases" / ("b" * 32), project.folder / "models" / f"{'c' * 32}.safetensors"]
    assert set(project.removeEverything()) == {*others, *links}
    assert files(outside) == {f"{'a' * 32}.safetensors": b"precious", "case.json": b"precious"}
    assert all(path.read_text() == "mine" for path in others)


@pytest.mark.parametrize("place", ["models", "cases", "jobs"])
def test_a_linked_folder_is_not_emptied(project: Project, tmp_path: Path, place: str) -> None:
    filled(project, tmp_path)
    outside = tmp_path / "outside"
    (project.folder / place).rename(outside)
    (project.folder / place).symlink_to(outside, target_is_directory=True)
    before = files(outside)
    project.removeEverything()
    assert files(outside) == before


def test_a_project_folder_that_is_a_link_itself_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    project = Project(tmp_path / "link")
    filled(project, tmp_path)
    assert project.removeEverything() == ()
    assert os.listdir(tmp_path / "real") == []


def test_jobs_of_other_programs_stay(project: Project, tmp_path: Path) -> None:
    other = Project(project.folder)
    job = finished(other.newJobFolder())
    filled(project, tmp_path)
    left = project.removeEverything()
    assert job / "deep" / "labels.npz" in left
    assert all(job.parent in path.parents for path in left)


def test_what_cannot_be_removed_is_told_and_all_else_is_removed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(project, tmp_path)

    def held(path: os.PathLike[str], **options: object) -> None:
        if os.fspath(path).endswith("channel0.npz"):
            raise PermissionError(13, "in use", path)
        unlink(path, **options)

    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", held)
    with pytest.raises(FileAccessError, match=r"1 could not be removed.*channel0.npz: in use.*close the program"):
        project.removeEverything()
    assert [Path(name).name for name in files(project.folder)] == ["channel0.npz"]
