"""Folders in which jobs read and write: one for each running program, in it one for each job."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from unetseg.files import locked_folder

from .disk import everythingBelow, inWords, remove, subfolders
from .versions import OWN_ID, newId

LOCK = ".lock"
REQUEST = "request.json"
"""Of a training, written before it begins."""


class JobFolders:
    """Job folders below ``folder``.

    A program locks the folder of its session as long as it lives, and a worker the folder of its job: what
    neither holds any more is left over from a program that has died.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._session: Path | None = None
        self._lock = contextlib.ExitStack()
        self._numbers = itertools.count(1)

    def new(self) -> Path:
        """A new empty folder. Raises ``FileAccessError``."""
        with inWords("The project folder must be writable", self._folder):
            session = self._session
            if session is None or not session.is_dir():
                session = self._beginSession()
            job = session / str(next(self._numbers))
            job.mkdir()
        return job

    def unfinishedTrainings(self) -> tuple[Path, ...]:
        """Folders, oldest first, of trainings that ended with their program and can go on from a checkpoint.

        None in a folder that may only be read: no training can go on there.
        """
        try:
            jobs = [job for session in self._sessions(own=False) for job in _idle(session) if _isUnfinished(job)]
            return tuple(sorted(jobs, key=lambda job: (job / REQUEST).stat().st_mtime_ns))
        except OSError:
            return ()

    def clean(self) -> None:
        """Remove what programs that have died left over, but for unfinished trainings. Raises ``FileAccessError``."""
        with inWords("The project folder must be writable", self._folder):
            leftOver = list(self._files(own=False))
        remove(leftOver, self._folder)

    def everything(self) -> Iterator[Path]:
        """All that nobody works on, this program's own and unfinished trainings included. Raises ``OSError``."""
        return self._files(own=True)

    def release(self) -> None:
        """End this program's session; the next job begins a new one."""
        self._lock.close()
        self._session = None

    def _beginSession(self) -> Path:
        self.release()
        session = self._folder / newId()
        session.mkdir(parents=True)
        self._lock.enter_context(locked_folder(session))
        self._session = session
        return session

    def _sessions(self, *, own: bool) -> Iterator[Path]:
        """Folders of sessions that have ended, and with ``own`` this program's."""
        for session in subfolders(self._folder):
            if OWN_ID.fullmatch(session.name):
                with locked_folder(session) as ended:
                    pass
                if ended or (own and session == self._session):
                    yield session

    def _files(self, *, own: bool) -> Iterator[Path]:
        for session in self._sessions(own=own):
            for job in _idle(session):
                if own or not _isUnfinished(job):
                    yield from everythingBelow(job)
            yield session / LOCK


def _idle(session: Path) -> Iterator[Path]:
    for job in subfolders(session):
        with locked_folder(job) as idle:
            pass
        if idle:
            yield job


def _isUnfinished(job: Path) -> bool:
    return (job / REQUEST).is_file() and any(job.glob("*.checkpoint.safetensors"))
