"""Ending a process with everything that it has started.

Slicer's ``PythonSlicer`` is a launcher: killing it leaves the Python that it has started running.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys


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
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    children: dict[int, list[int]] = {}
    for line in listing.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [processId]
    for parent in found:
        found.extend(children.get(parent, []))
    return found[1:]
