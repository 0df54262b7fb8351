from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from unetseg.array_file import exhaust
from unetseg.config import Label
from unetseg.errors import SettingsError
from unetseg.labelled_slices import LabelledSlice, load_slices
from UNetSegmentLib.project import Project

SHAPE = (4, 3, 2)
LABELS = (Label(0, "Background", (0, 0, 0)), Label(1, "Liver", (230, 90, 60)))
SLICES = (
    LabelledSlice(0, 2, np.array([[0, 1], [1, 1], [0, 0]], np.uint8), seconds=4.5),
    LabelledSlice(2, 0, np.eye(4, 3, dtype=np.uint8), version="v"),
)


def saved(project: Project, name: str = "CT Müller", slices: tuple[LabelledSlice, ...] = SLICES) -> str:
    caseId = project.newCaseId()
    exhaust(project.saveCaseInSteps(caseId, name, slices, SHAPE, LABELS))
    return caseId


def test_a_case_comes_back(project: Project) -> None:
    caseId = saved(project)
    images = project.imagePaths(caseId, 2)
    for path in images:
        path.touch()
    (case,) = Project(project.folder).cases()
    assert (case.id, case.name, case.shape, case.slices) == (caseId, "CT Müller", SHAPE, 2)
    assert case.labelNames == ("Background", "Liver")
    assert case.images == images
    assert [path.name for path in images] == ["channel0.npz", "channel1.npz"]
    shape, slices = load_slices(case.annotation)
    assert shape == SHAPE
    assert [(entry.axis, entry.index, entry.seconds, entry.version) for entry in slices] == [
        (0, 2, 4.5, ""),
        (2, 0, 0.0, "v"),
    ]
    assert np.array_equal(slices[0].labels, SLICES[0].labels)
    assert np.array_equal(slices[1].labels, SLICES[1].labels)


def test_no_name_of_a_patient_is_on_disk_as_a_name(project: Project) -> None:
    saved(project, "Müller, Hans 1950")
    assert not [path for path in project.folder.rglob("*") if "Hans" in path.name]


def test_saving_again_replaces(project: Project) -> None:
    caseId = saved(project)
    exhaust(project.saveCaseInSteps(caseId, "Renamed", SLICES[:1], SHAPE, LABELS))
    (case,) = project.cases()
    assert (case.name, case.slices) == ("Renamed", 1)
    exhaust(project.saveCaseInSteps(caseId, "Renamed", (), SHAPE, LABELS))
    assert project.cases()[0].slices == 0
    assert load_slices(case.annotation) == (SHAPE, ())


@pytest.mark.usefixtures("rereading")
def test_images_appear_as_they_are_written_up_to_the_first_gap(project: Project) -> None:
    caseId = saved(project)
    paths = project.imagePaths(caseId, 3)
    assert project.cases()[0].images == ()
    paths[0].touch()
    paths[2].touch()
    assert project.cases()[0].images == paths[:1]


def test_a_case_without_slices_yet_is_not_listed_and_no_problem(project: Project) -> None:
    project.imagePaths(project.newCaseId(), 1)[0].touch()
    assert project.cases() == ()
    assert project.problems() == ()


@pytest.mark.parametrize("caseId", ["", "..", "../" + "a" * 29, "A" * 32, "a" * 31, "a" * 32 + "\n", "/" + "a" * 32])
def test_an_id_from_a_hostile_scene_reaches_no_other_folder(project: Project, caseId: str) -> None:
    for use in (
        lambda: project.caseFolder(caseId),
        lambda: project.imagePaths(caseId, 1),
        lambda: project.resultFile(caseId, "v"),
        lambda: exhaust(project.saveCaseInSteps(caseId, "x", SLICES, SHAPE, LABELS)),
    ):
        with pytest.raises(SettingsError, match="32 hexadecimal digits"):
            use()
    assert not project.folder.exists()


@pytest.mark.parametrize("versionId", ["", "../x", "a/b", "a\\b", "a.b", "x" * 65])
def test_a_version_id_from_a_hostile_scene_reaches_no_other_folder(project: Project, versionId: str) -> None:
    with pytest.raises(SettingsError, match="letters and digits"):
        project.resultFile("a" * 32, versionId)
    assert not project.folder.exists()


def test_results_are_kept_per_version(project: Project) -> None:
    caseId = project.newCaseId()
    path = project.resultFile(caseId, "hippocampus-mr")
    assert path == project.caseFolder(caseId) / "results" / "hippocampus-mr.npz"
    assert path.parent.is_dir()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"name": "x"}', '{"name": "x", "shape": [1, 2], "slices": 1}'])
def test_a_damaged_case_is_set_aside(project: Project, text: str) -> None:
    caseId, other = saved(project), saved(project)
    path = project.caseFolder(caseId) / "case.json"
    path.write_text(text)
    os.utime(path.parent)
    assert [case.id for case in project.cases()] == [other]
    assert (path.parent / "case.json.damaged").read_text() == text
    assert "case.json.damaged" in project.problems()[0]
    assert (path.parent / "slices.json").exists()


def test_a_case_whose_slices_are_gone_is_told(project: Project) -> None:
    caseId = saved(project)
    (project.caseFolder(caseId) / "slices.json").unlink()
    assert project.cases() == ()
    assert "slices.json" in project.problems()[0]
    exhaust(project.saveCaseInSteps(caseId, "x", SLICES, SHAPE, LABELS))
    assert project.problems() == ()


def test_folders_of_others_and_links_are_no_cases(project: Project, tmp_path: Path) -> None:
    caseId = saved(project)
    cases = project.folder / "cases"
    elsewhere = tmp_path / "elsewhere"
    (cases / caseId).rename(elsewhere)
    (cases / caseId).symlink_to(elsewhere, target_is_directory=True)
    (cases / "mine").mkdir()
    (cases / "mine" / "case.json").write_text("{")
    assert project.cases() == ()
    assert project.problems() == ()


def test_another_slicer_sees_the_case(tmp_path: Path) -> None:
    one, two = Project(tmp_path), Project(tmp_path)
    assert two.cases() == ()
    caseId = saved(one)
    folder = one.caseFolder(caseId)
    os.utime(folder, ns=(0, folder.stat().st_mtime_ns - 10**9))
    assert two.cases()[0].slices == 2
    exhaust(one.saveCaseInSteps(caseId, "x", SLICES[:1], SHAPE, LABELS))
    assert two.cases()[0].slices == 1


def test_a_stored_case_is_plain_json(project: Project) -> None:
    caseId = saved(project)
    assert json.loads((project.caseFolder(caseId) / "case.json").read_text(encoding="utf-8")) == {
        "name": "CT Müller",
        "shape": [4, 3, 2],
        "labelNames": ["Background", "Liver"],
        "slices": 2,
    }


def test_slices_that_an_old_scene_does_not_know_stay_beside_the_new_ones(project: Project) -> None:
    caseId = saved(project)
    exhaust(project.saveCaseInSteps(caseId, "CT", SLICES[:1], SHAPE, LABELS))
    older = project.caseFolder(caseId) / "slices.older.json"
    assert [(entry.axis, entry.index) for entry in load_slices(older)[1]] == [(0, 2), (2, 0)]
    exhaust(project.saveCaseInSteps(caseId, "CT", SLICES, SHAPE, LABELS))
    assert len(load_slices(older)[1]) == 2
    assert project.removeEverything() == ()
