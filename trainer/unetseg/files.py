"""Writing files so that a reader only ever sees the old one or the whole new one; locking a folder; a file beside.

Only the standard library is imported, so that the Slicer side can share this file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_SYSTEM = os.name
WINDOWS_RETRY_SECONDS = 2.0
"""A virus scanner or indexer holds a new file for about this long (WinError 5 and 32)."""


def replay_path(model: Path) -> Path:
    """Where the pieces of earlier cases lie that a retraining from this model file rehearses.

    >>> replay_path(Path("knee.safetensors")).name
    'knee.replay.safetensors'
    """
    return model.with_suffix(f".replay{model.suffix}")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, with the same file extension, that becomes ``path`` on success.

    The new content reaches the disk before the name does. On any exception the temporary file is removed
    and ``path`` stays as it was. Raises ``OSError`` as the operating system gives it.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}-{time.monotonic_ns():x}-{path.name}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        _replace(temporary, path)
        if _SYSTEM == "posix":
            _flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    # Windows flushes only through a handle that may write; a folder on POSIX cannot be opened for writing.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(source: Path, target: Path) -> None:
    deadline = time.monotonic() + (WINDOWS_RETRY_SECONDS if _SYSTEM == "nt" else 0.0)
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def locked_folder(folder: Path, *, wait_seconds: float = 0.0) -> Iterator[bool]:
    """Holds ``folder/.lock`` and yields True; yields False where another process holds it for so long.

    The operating system releases the lock when its owner dies, so that none is ever stale; the file holds
    the owner's process id for the reader.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        deadline = time.monotonic() + wait_seconds
        while not (held := _try_lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(0.01)
        if held:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield held
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            # One byte far behind the end: the text in the file stays readable for others.
            os.lseek(descriptor, 1 << 30, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
