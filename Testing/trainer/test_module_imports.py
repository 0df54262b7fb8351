"""Which part of the Slicer module may import which: the table of docs/architecture.md, as a test."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "UNetSegment" / "UNetSegmentLib"
FILES = {path.relative_to(LIBRARY).with_suffix("").as_posix(): path for path in sorted(LIBRARY.rglob("*.py"))}

APPLICATION = {"slicer", "vtk", "qt", "ctk"}

LAYERS: dict[str, tuple[set[str], set[str], set[str]]] = {
    # layer: (its files, the layers below it that it may import, packages beside the standard library and unetseg)
    "values": ({"signal", "state", "effort", "wording", "parameters", "settings"}, set(), {"slicer", "qt"}),
    "corrections": ({"change_scan", "corrections", "confirmed", "comparison", "trial"}, {"values"}, {"numpy"}),
    "project": (
        {"project", "project_folder", "project_models", "cases", "versions", "contents", "disk", "job_folders"},
        set(),
        set(),
    ),
    "adapters": (
        {
            *("mrml_adapter", "label_layers", "segmentation_adapter", "slice_views", "overlays", "record"),
            "images",
        },
        {"corrections", "project"},
        {"numpy", "slicer", "vtk"},
    ),
    "sample data": ({"sample_data"}, set(), {"numpy", "slicer", "SampleData"}),
    "process": (
        {"idle", "job", "child_process", "process_tree", "job_runner", "install"},
        {"values"},
        {"qt", "slicer"},
    ),
    "actions": (
        {
            *("workspace", "case_store", "next_slice", "correcting", "segmenting", "offering"),
            *("retraining", "training_check", "version_actions", "computation"),
        },
        {"values", "corrections", "project", "adapters", "process"},
        {"numpy", "slicer", "qt"},
    ),
    "logic": ({"logic", "panel_state"}, {"values", "corrections", "project", "adapters", "actions"}, {"slicer", "qt"}),
    "panel": (
        {"panel", "dialogs", "icons", "plot", *(name for name in FILES if name.startswith("sections/"))},
        {"values", "corrections"},
        APPLICATION,
    ),
    "self test": (
        {"self_test", "self_test_worker"},
        {"corrections", "project", "adapters", "sample data", "process"},
        {"numpy", "slicer"},
    ),
}
LAYER_OF = {file: layer for layer, (files, _below, _packages) in LAYERS.items() for file in files}


def imports_of(file: str, path: Path) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a file of the library) of all that a file imports, anywhere in it."""
    folder = file.split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0], False
        elif isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) - node.level + 1]
            parts = [node.module.replace(".", "/")] if node.module else [alias.name for alias in node.names]
            yield from (("/".join([*start, part]), True) for part in parts)


def test_every_file_has_a_layer_and_every_layer_its_files() -> None:
    assert {name for name in FILES if not name.endswith("__init__")} == {
        name for name in LAYER_OF if not name.endswith("__init__")
    }


@pytest.mark.parametrize("file", [name for name in FILES if not name.endswith("__init__")])
def test_a_file_imports_only_what_its_layer_may(file: str) -> None:
    layer = LAYER_OF[file]
    _files, below, packages = LAYERS[layer]
    for name, own in imports_of(file, FILES[file]):
        if own:
            assert LAYER_OF[name] in below | {layer}, f"{file} ({layer}) must not import {name} ({LAYER_OF[name]})"
        elif name not in {"unetseg", "UNetSegmentLib", "__future__"} | sys.stdlib_module_names:
            assert name in packages, f"{file} ({layer}) must not import {name}"
