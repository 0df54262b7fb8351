"""What the program has made in a project folder, told apart from what others have put there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .disk import subfolders
from .versions import OWN_ID, PIECES_SUFFIX

_TEMPORARY = r"(\.\d+-[0-9a-f]+-)?"
"""Left by a program that was killed while it wrote."""
_DAMAGED = r"(\.damaged\d*)?"

Kinds = tuple[tuple[str, str], ...]
"""(kind, pattern of file names)."""

_IN_PROJECT: Kinds = (("other", "project.json"),)
_IN_MODELS: Kinds = (
    ("models", rf"{OWN_ID.pattern}\.(safetensors|json)"),
    ("pieces", OWN_ID.pattern + re.escape(PIECES_SUFFIX)),
)
_IN_CASE: Kinds = (("slices", r"(case|slices|slices\.older)\.json"), ("volumes", r"channel\d+\.npz"))
_IN_RESULTS: Kinds = (("results", r"[A-Za-z0-9_-]+\.npz"),)


def madeFiles(folder: Path) -> Iterator[tuple[str, Path]]:
    """(kind, file) of every file outside the folders of jobs; links are neither given nor followed.

    Kinds: ``models``, ``pieces``, ``slices``, ``volumes``, ``results``, ``other``. Raises ``OSError``.
    """
    places = [(folder, _IN_PROJECT), (folder / "models", _IN_MODELS)]
    for case in subfolders(folder / "cases"):
        if OWN_ID.fullmatch(case.name):
            places += [(case, _IN_CASE), (case / "results", _IN_RESULTS)]
    for place, kinds in places:
        if place.is_dir() and (place == folder or not place.is_symlink()):
            yield from _matching(place, kinds)


def _matching(folder: Path, kinds: Kinds) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        for kind, pattern in kinds:
            if re.fullmatch(_TEMPORARY + pattern + _DAMAGED, path.name) and path.is_file() and not path.is_symlink():
                yield kind, path
