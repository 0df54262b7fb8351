"""What the documents say is there: commands, paths, pinned versions; and nothing heavy is tracked."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/extension.md", "docs/retraining.md"]
MAX_TRACKED_KB = 300
SHIPPED_MODELS = REPOSITORY / "UNetSegment" / "Resources" / "Models"
"""Has a limit of its own, see ``test_shipped_models.py``."""


def text_of(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_command_in_a_document_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    assert {"demo", "test", "lint", "bench"} <= targets
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text_of(document), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_a_document_exists(document: str) -> None:
    text = text_of(document)
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    quoted = re.findall(r"`((?:trainer|Testing|docs|UNetSegment|Resources)/[\w./-]*)`", text)
    folder = (REPOSITORY / document).parent
    missing = [link for link in links if not (folder / link).exists()]
    missing += [path for path in quoted if not (REPOSITORY / path).exists()]
    assert not missing


def test_the_architecture_names_every_part_of_the_package() -> None:
    text = text_of("docs/architecture.md")
    parts = {path.stem for path in (REPOSITORY / "trainer" / "unetseg").iterdir() if not path.name.startswith("__")}
    assert sorted(part for part in parts if not re.search(rf"\b{part}\b", text)) == []


def test_the_architecture_names_every_file_of_training() -> None:
    text = text_of("docs/architecture.md")
    files = {path.name for path in (REPOSITORY / "trainer" / "unetseg" / "training").glob("*.py")} - {"__init__.py"}
    assert sorted(name for name in files if f"`{name}`" not in text) == []


def test_the_architecture_names_every_file_of_the_slicer_module() -> None:
    text = text_of("docs/architecture.md")
    parts = {path.stem for path in (REPOSITORY / "UNetSegment" / "UNetSegmentLib").glob("*.py")} - {"__init__"}
    assert sorted(part for part in parts if not re.search(rf"\b{part}\b", text)) == []


def test_every_dependency_is_pinned_for_development() -> None:
    declared = set(re.findall(r'^ +"([\w-]+)>=', text_of("trainer/pyproject.toml"), re.MULTILINE))
    pinned = set(re.findall(r"^([\w-]+)==", text_of("constraints.txt"), re.MULTILINE))
    assert {"torch", "pytest"} <= declared
    assert declared == pinned


def test_no_tracked_file_is_heavy() -> None:
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("this is not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    files = [path for path in files if path.parent != SHIPPED_MODELS or path.suffix != ".safetensors"]
    sizes_kb = {str(path): path.stat().st_size // 1024 for path in files if path.is_file()}
    assert sizes_kb
    assert {path: size for path, size in sizes_kb.items() if size > MAX_TRACKED_KB} == {}
