"""What the README quotes is what the panel shows, and the script that it prints does what it says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from unetseg.array_file import save_array
from unetseg.data import find_cases, load_case
from unetseg.labelled_slices import LabelledSlice, save_slices
from unetseg.volume import UNLABELLED, Geometry

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MODULE = REPOSITORY / "UNetSegment"
LETTERS_TO_TELL = 5
"""A text of fewer letters around its gaps would match anything."""


def texts_of_the_module() -> Iterator[str]:
    """Every text that may be shown; ``{name}`` stands for what is put in."""
    for path in MODULE.rglob("*.ui"):
        yield from (node.text or "" for node in ElementTree.parse(path).iter("string"))
    for path in MODULE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str)


def is_shown(quoted: str, texts: set[str]) -> bool:
    """Whether it is a text of the module or the beginning of one; “…” stands for anything."""
    wanted = re.escape(quoted.removesuffix(".")).replace("…", ".*")
    for text in texts:
        if re.match(wanted, text):
            return True
        pattern = re.sub(r"\\\{.*?\\\}", ".+", re.escape(text.removesuffix(".")))
        letters = re.sub(r"\{.*?\}|\W", "", text)
        if ".+" in pattern and len(letters) >= LETTERS_TO_TELL and re.fullmatch(pattern, quoted.removesuffix(".")):
            return True
    return False


def test_every_text_that_the_readme_quotes_in_bold_is_in_the_panel() -> None:
    quoted = set(re.findall(r"\*\*(.+?)\*\*", README))
    texts = {text for text in texts_of_the_module() if text.strip()}
    assert len(quoted) > 50
    assert not is_shown("No such text", texts)
    assert sorted(text for text in quoted if not is_shown(text, texts)) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a case of two channels that has a confirmed slice, and one that has none any more."""
    geometry = Geometry((3, 4, 5), spacing_mm=(2.0, 1.0, 0.5))
    confirmed = LabelledSlice(1, 2, np.full((3, 5), 7, np.uint8))
    for name, slices in (("a" * 32, (confirmed,)), ("b" * 32, ())):
        folder = tmp_path / "project" / "cases" / name
        folder.mkdir(parents=True)
        for channel in (0, 1):
            image = np.full(geometry.shape, channel, np.float32)
            save_array(folder / f"channel{channel}.npz", image, geometry)
        save_slices(folder / "slices.json", slices, geometry.shape)
    return tmp_path / "project"


def test_the_script_of_the_readme_makes_cases_of_a_project(project: Path, tmp_path: Path) -> None:
    script = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "load_slices" in code)
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "script.py", "project", "training"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (files,) = find_cases(tmp_path / "training" / "cases.json").cases
    case = load_case(files)
    assert case.name == "a" * 32
    assert case.volume.array.mean(axis=(1, 2, 3)).tolist() == [0.0, 1.0]
    assert case.volume.geometry.spacing_mm == (2.0, 1.0, 0.5)
    expected = np.full((3, 4, 5), UNLABELLED, np.uint8)
    expected[:, 2] = 7
    np.testing.assert_array_equal(case.annotation.array, expected)
