"""Folders of jobs, of programs that live and of programs that have ended."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_files import Refusals, finished, interrupted

from unetseg.files import locked_folder
from UNetSegmentLib.project import Project

HERE = Path(__file__).parent


def jobsOf(project: Project) -> list[Path]:
    return sorted(path for path in (project.folder / "jobs").glob("*/*") if path.is_dir())


def test_every_job_gets_an_empty_folder_of_its_own(project: Project) -> None:
    jobs = [project.newJobFolder() for _ in range(3)]
    assert len(set(jobs)) == 3
    assert all(os.listdir(job) == [] for job in jobs)
    shutil.rmtree(jobs[0].parent)
    assert project.newJobFolder().is_dir()


def test_jobs_of_a_living_program_are_not_cleaned(project: Project) -> None:
    own = finished(project.newJobFolder())
    other = Project(project.folder)
    theirs = other.newJobFolder()
    project.cleanJobs()
    other.cleanJobs()
    assert jobsOf(project) == sorted([own, theirs])
    assert project.unfinishedTrainings() == ()


def test_jobs_of_a_program_that_has_ended_are_cleaned(project: Project) -> None:
    code = "import sys; from pathlib import Path; from UNetSegmentLib.project import Project\n"
    code += "job = Project(Path(sys.argv[1])).newJobFolder(); (job / 'labels.npz').touch(); print(job)"
    paths = os.pathsep.join(map(str, (HERE.parents[1] / "UNetSegment", HERE.parents[1] / "trainer")))
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code, str(project.folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    job = Path(done.stdout.strip())
    assert (job / "labels.npz").exists()
    own = project.newJobFolder()
    project.cleanJobs()
    assert list((project.folder / "jobs").iterdir()) == [own.parent]
    assert own.is_dir()


def test_a_job_that_a_worker_still_uses_is_not_cleaned(project: Project) -> None:
    ended = Project(project.folder)
    busy, idle = finished(ended.newJobFolder()), finished(ended.newJobFolder())
    del ended
    with locked_folder(busy):
        project.cleanJobs()
        assert jobsOf(project) == [busy]
        assert not idle.exists()
    project.cleanJobs()
    assert os.listdir(project.folder / "jobs") == []


def test_a_training_that_was_interrupted_is_offered_and_kept(project: Project) -> None:
    ended = Project(project.folder)
    second, first, lost = interrupted(ended.newJobFolder()), interrupted(ended.newJobFolder()), ended.newJobFolder()
    (lost / "request.json").write_text("{}")
    os.utime(first / "request.json", (0, 0))
    assert project.unfinishedTrainings() == ()
    del ended
    assert project.unfinishedTrainings() == (first, second)
    with locked_folder(first):
        assert project.unfinishedTrainings() == (second,)
    project.cleanJobs()
    assert jobsOf(project) == sorted([first, second])
    shutil.rmtree(first)
    shutil.rmtree(second)
    project.cleanJobs()
    assert os.listdir(project.folder / "jobs") == []


def test_a_folder_that_may_only_be_read_offers_no_training(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Project(project.folder)
    interrupted(ended.newJobFolder())
    del ended
    Refusals(monkeypatch, 1, errno.EROFS)
    assert project.unfinishedTrainings() == ()


def test_cleaning_does_not_follow_links(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    ended = Project(project.folder)
    job = ended.newJobFolder()
    (job / "link").symlink_to(outside, target_is_directory=True)
    (job / "file").symlink_to(outside / "precious")
    del ended
    project.cleanJobs()
    assert not job.exists()
    assert (outside / "precious").read_text() == "x"


def test_without_jobs_there_is_nothing_to_clean(project: Project) -> None:
    project.cleanJobs()
    assert project.unfinishedTrainings() == ()
    assert not project.folder.exists()
