"""Print a benchmark's table and append it to RESULTS.md, with what is needed to repeat it."""

from __future__ import annotations

import datetime
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

RESULTS = Path(__file__).with_name("RESULTS.md")


def publish(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], *, notes: Sequence[str] = ()) -> None:
    """Print the table and append it to RESULTS.md under ``title`` with date, machine and the command line."""
    text = "\n".join([f"## {title}", "", *_facts(), "", *_table(header, rows), *([""] if notes else []), *notes])
    print(text, flush=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


def _facts() -> list[str]:
    script = Path(sys.argv[0]).name
    command = shlex.join(["python", f"Testing/benchmarks/{script}", *sys.argv[1:]])
    today = datetime.datetime.now(datetime.timezone.utc).date()
    machine = f"{_processor()}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    return [f"`{command}`", "", f"{today}, {machine}, torch {torch.__version__}, Python {platform.python_version()}"]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(_cell(value) for value in line) + " |" for line in lines]


def _cell(value: object) -> str:
    if value is None:
        return "n/a"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
