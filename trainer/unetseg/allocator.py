"""How a process of ours keeps its memory."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt`` (malloc.h)."""


def keep_freed_memory() -> None:
    """Let freed memory be used again by this process, instead of returning it to the system at once.

    Maps of a network are large, and glibc asks the system for each anew, which hands it out page by page, filled with
    zeros: a fifth of a training step. ``give_back_memory`` is for when the work is done. Elsewhere nothing happens.
    """
    glibc = _glibc()
    if glibc is not None:
        glibc.mallopt(MMAP_MAX, 0)
        glibc.mallopt(TRIM_THRESHOLD, -1)


def give_back_memory() -> None:
    """Return to the system what is free."""
    glibc = _glibc()
    if glibc is not None:
        glibc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
