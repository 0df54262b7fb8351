"""The training curve: one JSON record a line, in a ``.jsonl`` file beside the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from ..files import atomic_path


def curve_path(model: Path) -> Path:
    """Where the curve of the training that makes ``model`` lies."""
    return model.with_suffix(".jsonl")


class Curve:
    """Appends records; a context manager.

    Args:
        resumed_at: the iteration at which a resumed training stands; records after it are dropped, because
            their steps will be done again. 0 begins a new curve.
    """

    def __init__(self, path: Path, *, resumed_at: int) -> None:
        kept: list[str] = []
        if resumed_at and path.is_file():
            kept = [line for line in path.read_text("utf-8").splitlines() if _iteration(line) <= resumed_at]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), "utf-8")
        self._file = path.open("a", encoding="utf-8", buffering=1)  # by line: a kill loses none

    def append(self, record: Mapping[str, object]) -> None:
        self._file.write(json.dumps(record) + "\n")

    def __enter__(self) -> Curve:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _iteration(line: str) -> float:
    """Of a record; infinite for a line cut off by a kill."""
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
