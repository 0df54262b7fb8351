"""Measurements of speed on disk, and what is said of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from unetseg.records import dumps, from_json, loads


@dataclass(frozen=True)
class Key:
    """What makes a measurement another one.

    Attributes:
        subject, network, method: of the table's lines.
        conditions: device, threads and whatever else a script varies, as words.
        turn: 0, 1, …
    """

    subject: str
    network: str
    method: str
    conditions: str
    turn: int


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        cold: whether it was the first in its process, which also loads kernels and chooses between them.
        memory_mb: the most that the process took until then beyond what it takes with its imports, the network and
            the image loaded; of the device's memory on an accelerator. None where nobody tells.
        figures: what the work says of its result.
    """

    key: Key
    seconds: float
    cold: bool
    memory_mb: float | None
    figures: Mapping[str, float] = field(default_factory=dict)


class Rows:
    """The measurements of one kind in a folder: each is stored at once, so that a script that is run again goes on."""

    def __init__(self, folder: Path, kind: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{kind}.jsonl"
        lines = self._path.read_text("utf-8").splitlines() if self._path.is_file() else []
        self._rows = {row.key: row for row in (from_json(Row, loads(line)) for line in lines)}

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def add(self, row: Row) -> None:
        """Store it, and say so."""
        self._rows[row.key] = row
        with self._path.open("a", encoding="utf-8") as file:
            file.write(dumps(row) + "\n")
        key = row.key
        where = " | ".join((key.subject, key.network, key.method, key.conditions))
        print(f"{where} | {row.seconds:.3f} s", file=sys.stderr, flush=True)

    def turns(self, key: Key) -> list[Row]:
        """All turns of a measurement, in order."""
        same = (row for row in self if replace(row.key, turn=key.turn) == key)
        return sorted(same, key=lambda row: row.key.turn)


def warm_seconds(rows: Sequence[Row]) -> float:
    """The median of the turns."""
    return median(_warm(rows))


def ratio(rows: Sequence[Row], others: Sequence[Row]) -> float | None:
    """Median over the turns of how many times longer the others take, turn by turn; None without either.

    Of what has fewer turns the last one is compared with all that are left.
    """
    own, theirs = _warm(rows), _warm(others)
    if not own or not theirs:
        return None
    turns = range(max(len(own), len(theirs)))
    return median(theirs[min(turn, len(theirs) - 1)] / own[min(turn, len(own) - 1)] for turn in turns)


def peak_mb(rows: Sequence[Row]) -> float | None:
    """The most memory of all turns."""
    return max((row.memory_mb for row in rows if row.memory_mb is not None), default=None)


def _warm(rows: Sequence[Row]) -> list[float]:
    """Seconds of the turns but the cold ones; of those where there are no others."""
    return [row.seconds for row in rows if not row.cold] or [row.seconds for row in rows]
