"""Finished measurements on disk: one JSON line each, appended as soon as there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measures import Figures
from unetseg.records import dumps, from_json, loads

START = "start"
"""The method of the rows that hold the start model's own figures, without anything pasted."""


@dataclass(frozen=True)
class Key:
    """What makes a measurement another one. ``start`` is the start model's hash, empty for learning from scratch."""

    domain: str
    case: str
    slices: str
    seed: int
    method: str
    budget_seconds: float
    start: str


@dataclass(frozen=True)
class Row:
    """One measurement; ``seconds`` are those of training and segmenting."""

    key: Key
    figures: Figures
    seconds: float


def append_row(path: Path, row: Row) -> None:
    """Write the row at the end of the file, in one piece."""
    with path.open("a", encoding="utf-8") as file:
        file.write(dumps(row) + "\n")


def stored_rows(folder: Path) -> Iterator[Row]:
    """All rows of the folder's ``rows*.jsonl`` files. Raises ``RecordError`` for a line that is no row."""
    for path in sorted(folder.glob("rows*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield from_json(Row, loads(line))
