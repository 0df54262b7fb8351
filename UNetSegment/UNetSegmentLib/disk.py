"""The file system in the user's words: what it refuses becomes a ``FileAccessError`` that says what to do."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from unetseg.errors import FileAccessError
from unetseg.files import atomic_path
from unetseg.records import RecordError, dumps, from_json, loads

STEP_BYTES = 2**20
"""Copied and hashed between two yields: a few milliseconds."""
SETTLED_NANOSECONDS = 100_000_000
"""A folder changed less than this ago can change again without another time stamp: it is read again after this."""

Content = TypeVar("Content")

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def inWords(rule: str, path: Path) -> Iterator[None]:
    """Turns an ``OSError`` into a ``FileAccessError`` with the rule, the path, the reason and a way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileAccessError(rule, received=f"{path}: {reason}", remedy=_remedy(error)) from error


def _remedy(error: OSError) -> str:
    if error.errno in _FULL:
        return "Free some space on the disk, then try again"
    if error.errno in _FORBIDDEN:
        return "Choose a folder that you may write to, or close the program that uses the file"
    return "Check that the disk or network drive is connected, then try again"


def writeText(path: Path, text: str) -> None:
    """Write a text file, atomically. Raises ``FileAccessError``."""
    with inWords("The project folder must be writable", path), atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def writeRecord(path: Path, record: Any, leaveOut: frozenset[str]) -> None:
    """Write a dataclass as JSON, atomically, without fields that the file's place says. Raises ``FileAccessError``."""
    stored = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in leaveOut}
    writeText(path, dumps(stored, indent=1))


def readRecord(kind: type[Content], path: Path, /, **known: Any) -> Content:
    """What ``writeRecord`` wrote, with the ``known`` fields. Raises ``OSError``; ``ValueError`` for a damaged file."""
    data = loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise RecordError("the record is not an object")
    return from_json(kind, {**data, **known})


def copyInSteps(source: Path, target: Path) -> Generator[None, None, str]:
    """Copy a file's content, at most ``STEP_BYTES`` between two yields; returns its sha256. Raises ``OSError``."""
    digest = hashlib.sha256()
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while block := reader.read(STEP_BYTES):
            digest.update(block)
            writer.write(block)
            # Else all of it would wait for the disk at once, at the end.
            writer.flush()
            os.fsync(writer.fileno())
            yield
    return digest.hexdigest()


def checkFreeSpace(folder: Path, neededBytes: float) -> None:
    """Raise ``FileAccessError`` unless the disk of ``folder``, which may be still to be made, has that much free."""
    with inWords("The project folder must be readable", folder):
        existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        free = shutil.disk_usage(existing).free
    if free < neededBytes:
        raise FileAccessError(
            f"This needs about {neededBytes / 1e6:.0f} MB of free space in the project folder",
            received=f"{free / 1e6:.0f} MB free on the disk of {folder}",
            remedy="Free some space, or choose a project folder on another disk",
        )


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without links; none where it is missing or a link itself."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())


def everythingBelow(folder: Path) -> Iterator[Path]:
    """Files, links and folders below a folder, each before the folder it is in; links are not followed."""
    for parent, folders, files in os.walk(folder, topdown=False):
        yield from (Path(parent, name) for name in (*files, *folders))


def remove(paths: Iterable[Path], root: Path) -> None:
    """Remove files, links and empty folders, and then the folders below ``root`` that this has emptied.

    Raises:
        FileAccessError: some could not be removed; all others are.
    """
    paths = list(paths)
    failures: list[tuple[Path, OSError]] = []
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            failures.append((path, error))
    parents = {parent for path in paths for parent in path.parents if root in parent.parents}
    for parent in sorted(parents, key=lambda parent: len(parent.parts), reverse=True):
        with contextlib.suppress(OSError):  # not empty: something else is in it
            parent.rmdir()
    if failures:
        path, failure = failures[0]
        with inWords(f"Files of the project must be removable, {len(failures)} could not be removed", path):
            raise failure


class FolderCache(Generic[Content]):
    """Remembers what was read from a folder until something is added to it, removed or replaced."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int, Content]] = {}

    def read(self, folder: Path, reader: Callable[[Path], tuple[Content, bool]]) -> Content:
        """What ``reader`` makes of the folder, and whether that is complete and may be remembered.

        Raises ``OSError`` where there is no such folder.
        """
        now, changed = time.time_ns(), folder.stat().st_mtime_ns
        if folder in self._known:
            seen, readAt, content = self._known[folder]
            settled = readAt - changed > SETTLED_NANOSECONDS
            if seen == changed and (settled or 0 <= now - readAt < SETTLED_NANOSECONDS):
                return content
        content, complete = reader(folder)
        if complete:
            self._known[folder] = (changed, now, content)
        return content

    def forget(self) -> None:
        """Read everything again the next time; some file systems keep time stamps in steps of seconds."""
        self._known.clear()
