from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from unetseg import files
from unetseg.files import atomic_path, locked_folder


def test_the_new_content_appears_at_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "ü #1%.nii.gz"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".nii.gz")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == [path.name]


def test_a_failure_leaves_the_old_content_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "gone" / "x.txt") as temporary:
        temporary.write_text("x")


@pytest.mark.parametrize(("system", "failures", "succeeds"), [("nt", 3, True), ("posix", 1, False)])
def test_a_file_held_by_another_program_is_tried_again_on_windows(
    system: str, failures: int, succeeds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def replace(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) <= failures:
            raise PermissionError(13, "in use")

    monkeypatch.setattr(files, "_SYSTEM", system)
    monkeypatch.setattr(files.os, "replace", replace)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    if succeeds:
        files._replace(tmp_path / "a", tmp_path / "b")
    else:
        with pytest.raises(PermissionError):
            files._replace(tmp_path / "a", tmp_path / "b")
    assert len(calls) == (failures + 1 if succeeds else 1)


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    with locked_folder(tmp_path) as first:
        with locked_folder(tmp_path) as second:
            assert (first, second) == (True, False)
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    with locked_folder(tmp_path) as third:
        assert third


def test_a_lock_that_is_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    told: list[bool] = []

    def wait() -> None:
        with locked_folder(tmp_path, wait_seconds=60.0) as held:
            told.append(held)

    waiting = threading.Thread(target=wait)
    with locked_folder(tmp_path):
        waiting.start()
    waiting.join()
    assert told == [True]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = "import sys, os, pathlib; from unetseg.files import locked_folder\n"
    code += "with locked_folder(pathlib.Path(sys.argv[1])) as held: print(held, flush=True); sys.stdin.read()"
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"True"
        with locked_folder(tmp_path) as held:
            assert not held
        other.kill()
    with locked_folder(tmp_path) as held:
        assert held
