"""Ending a process with everything that it has started.

Slicer's ``PythonSlicer`` is a launcher: killing it leaves the Python that it has started running.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def killTree(processId: int) -> None:
    """End a process and its descendants at once; those that have ended already are no error."""
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(processId)],
            check=False,
            capture_output=True,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        return
    for descendant in [*descendants(processId), processId]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(descendant, signal.SIGKILL)


def descendants(processId: int) -> list[int]:
    """Ids of all processes below one, on POSIX; children come after their parents."""
    children: dict[int, list[int]] = {}
    for child, parent in _parentsByProc() if sys.platform == "linux" else _parentsByPs():
        children.setdefault(parent, []).append(child)
    found = [processId]
    for parent in found:
        found.extend(children.get(parent, []))
    return found[1:]


def _parentsByProc() -> Iterator[tuple[int, int]]:
    """(process, parent) of all processes; small systems, as in containers, have no ``ps``."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The program's name, in brackets, may hold blanks and brackets itself.
            status = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            yield int(folder.name), int(status[1])


def _parentsByPs() -> Iterator[tuple[int, int]]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        process, parent = map(int, line.split())
        yield process, parent
