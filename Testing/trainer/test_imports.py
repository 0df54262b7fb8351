"""Which room of unetseg may import which: the table of docs/architecture.md, as a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TRAINER = REPOSITORY / "trainer"
SLICER_MODULE = REPOSITORY / "UNetSegment"
MODULES = {
    ".".join(path.relative_to(TRAINER).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((TRAINER / "unetseg").rglob("*.py"))
}

STDLIB_ROOMS = {"allocator", "errors", "files", "messages", "protocol", "records", "versions"}
CLASSICAL_ROOMS = {
    *("config", "volume", "array_file", "labelled_slices", "suggestion", "image_io", "planning", "phantom"),
    *("preprocessing", "postprocessing", "metrics", "data.weight_maps"),
}
TORCH_FREE_ROOMS = STDLIB_ROOMS | CLASSICAL_ROOMS
SHARED_WITH_SLICER = {
    *("errors", "files", "messages", "protocol", "records"),
    *("array_file", "config", "labelled_slices", "phantom", "suggestion", "volume"),
}
ALL_BUT_ENTRIES = TORCH_FREE_ROOMS | {
    *("networks", "losses", "data", "augmentation"),
    *("tensor_file", "model_file", "inference", "training", "failures", "jobs"),
}
ARRAYS = {"numpy", "SimpleITK"}

ROOMS: dict[str, tuple[set[str], set[str]]] = {
    # room: (other rooms it may import, third-party packages it may import)
    "": (set(), set()),
    **dict.fromkeys(STDLIB_ROOMS, (STDLIB_ROOMS, set())),
    **dict.fromkeys(CLASSICAL_ROOMS, (TORCH_FREE_ROOMS, ARRAYS)),
    "networks": ({"errors"}, {"torch"}),
    "losses": ({"errors"}, {"torch"}),
    "data": (TORCH_FREE_ROOMS | {"augmentation"}, ARRAYS | {"torch"}),
    "augmentation": (TORCH_FREE_ROOMS | {"data"}, ARRAYS | {"torch"}),
    "tensor_file": (STDLIB_ROOMS, {"torch", "safetensors"}),
    "model_file": (STDLIB_ROOMS | {"config", "volume", "networks", "tensor_file"}, {"torch"}),
    "inference": (TORCH_FREE_ROOMS - {"data.weight_maps"} | {"networks", "model_file"}, ARRAYS | {"torch"}),
    "failures": ({"errors", "inference"}, set()),
    "training": (ALL_BUT_ENTRIES - {"jobs", "failures"}, ARRAYS | {"torch"}),
    "jobs": (ALL_BUT_ENTRIES, ARRAYS | {"torch"}),
    "worker": (ALL_BUT_ENTRIES, ARRAYS | {"torch"}),
    "cli": (ALL_BUT_ENTRIES, ARRAYS | {"torch"}),
    "__main__": ({"allocator", "cli", "worker"}, set()),
}


def room_of(module: str) -> str:
    """``unetseg.losses.overlap`` lives in the room ``losses``; a room may also be one file of a folder."""
    path = module.split(".")[1:]
    file_room = ".".join(path[:2])
    return file_room if file_room in ROOMS else ".".join(path[:1])


def imported_modules(module: str, path: Path) -> Iterator[str]:
    """Absolute names of all that a file imports, anywhere in it; ``from a import b`` is a.b where that is a module."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else source for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    room = room_of(module)
    assert room in ROOMS, f"{room} is a new room: give it a row here and in docs/architecture.md"
    rooms, packages = ROOMS[room]
    for name in imported_modules(module, MODULES[module]):
        top = name.split(".")[0]
        if top == "unetseg":
            assert room_of(name) in rooms | {room}, f"{module} must not import {name}"
        else:
            assert top in packages | sys.stdlib_module_names, f"{module} must not import {name}"


@pytest.mark.parametrize("path", sorted(SLICER_MODULE.rglob("*.py")), ids=lambda path: path.stem)
def test_the_slicer_module_shares_only_what_needs_no_torch(path: Path) -> None:
    for name in imported_modules(path.stem, path):
        assert name.split(".")[0] not in {"torch", "safetensors"}, f"{path.name} must not import {name}"
        if name.split(".")[0] == "unetseg":
            assert room_of(name) in SHARED_WITH_SLICER, f"{path.name} must not import {name}"


def test_the_package_itself_stays_empty() -> None:
    assert MODULES["unetseg"].read_bytes() == b""


def loaded_by(modules: list[str]) -> set[str]:
    """Top-level names of all that a fresh interpreter has loaded after importing the modules."""
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("rooms", "absent"),
    [
        (STDLIB_ROOMS, {"numpy", "SimpleITK", "torch"}),
        (SHARED_WITH_SLICER - {"phantom"}, {"SimpleITK", "torch"}),
        (CLASSICAL_ROOMS, {"torch"}),
        ({"cli"}, {"torch"}),
    ],
    ids=["stdlib", "shared with Slicer", "classical", "help on the command line"],
)
def test_the_torch_free_part_really_loads_no_torch(rooms: set[str], absent: set[str]) -> None:
    loaded = loaded_by([f"unetseg.{room}" for room in sorted(rooms)])
    assert "unetseg" in loaded
    assert not loaded & absent
