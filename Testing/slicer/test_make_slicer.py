"""``make slicer`` starts the program that it is given on the module of this checkout, or says what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def makeSlicer(*settings):
    environment = {
        name: value for name, value in os.environ.items() if name not in {"SLICER", "MAKEFLAGS", "MAKELEVEL"}
    }
    command = ["make", "--no-print-directory", "slicer", *settings]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


@pytest.fixture
def fakeSlicer(tmp_path):
    """A program that prints its arguments, one a line; its folder's name has a space as on Windows and macOS."""
    path = tmp_path / "Program Files" / "Slicer"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return path


def test_slicer_is_started_on_the_module(fakeSlicer):
    done = makeSlicer(f"SLICER={fakeSlicer}")
    assert done.stdout.splitlines() == [
        "--additional-module-paths",
        str(REPOSITORY / "UNetSegment"),
        "--python-code",
        'slicer.util.selectModule("UNetSegment")',
    ]
    assert done.returncode == 0


def test_further_arguments_are_passed_on(fakeSlicer):
    done = makeSlicer(f"SLICER={fakeSlicer}", "ARGUMENTS=--no-splash")
    assert done.stdout.splitlines()[-1] == "--no-splash"


@pytest.mark.parametrize("what", ["nothing", "no such file", "a folder", "a text"])
def test_it_says_what_is_missing(what, fakeSlicer):
    text = fakeSlicer.with_name("notes.txt")
    text.touch()
    named = {"nothing": "", "no such file": "/no/Slicer", "a folder": fakeSlicer.parent, "a text": text}[what]
    done = makeSlicer(f"SLICER={named}")
    assert done.returncode != 0
    assert "make slicer SLICER=/path/to/Slicer" in done.stderr
    assert done.stdout == ""
