"""A project's folder as such: whether this program may use it, and damaged files set aside in it."""

from __future__ import annotations

import itertools
from pathlib import Path

from unetseg.errors import SettingsError
from unetseg.records import dumps, loads

from .disk import inWords, writeText

FORMAT_VERSION = 1
FORMAT_FILE = "project.json"
_NEWER = "This project folder was made by a newer UNetSegment"


class ProjectFolder:
    """The folder at ``path``, which is made at the first write.

    Attributes:
        path: of the folder.
        damaged: one sentence for each damaged file that was found, oldest first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: dict[str, None] = {}
        self._isKnown = False

    def problem(self) -> str:
        """Why the folder cannot be used, one sentence; empty where it can, or is still to be made."""
        if self._isKnown:
            return ""
        path = self.path / FORMAT_FILE
        try:
            data = loads(path.read_text(encoding="utf-8"))
            number = int(data["format"])
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"The project folder cannot be read: {path}: {error.strerror}."
        except (ValueError, TypeError, KeyError) as error:
            self.setAside(path, str(error))
            return ""
        if number > FORMAT_VERSION:
            return f"{_NEWER}: {self.path}."
        self._isKnown = True
        return ""

    def made(self, *parts: str) -> Path:
        """A folder below, made where it is missing.

        Raises:
            FileAccessError: it cannot be made.
            SettingsError: the project is one of a newer program.
        """
        if self.problem().startswith(_NEWER):
            raise SettingsError(
                "The project folder must be one that this version of UNetSegment understands",
                received=f"{self.path}, made by a newer one",
                remedy="Update UNetSegment, or choose another project folder",
            )
        folder = self.path.joinpath(*parts)
        with inWords("The project folder must be writable", folder):
            folder.mkdir(parents=True, exist_ok=True)
        if not self._isKnown:
            writeText(self.path / FORMAT_FILE, dumps({"format": FORMAT_VERSION}))
            self._isKnown = True
        return folder

    def forget(self) -> None:
        """The folder's content was removed."""
        self._isKnown = False

    def setAside(self, path: Path, reason: str) -> None:
        """Rename a damaged file, so that nobody takes it for what it was and nothing in it is lost."""
        names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
        aside = next(name for name in names if not name.exists())
        try:
            path.rename(aside)
        except OSError as error:
            self.tellDamaged(path, f"{reason}; it could not be set aside: {error.strerror}")
        else:
            self.tellDamaged(aside, reason)

    def tellDamaged(self, path: Path, reason: str) -> None:
        """Remember for ``damaged`` that a file is damaged, once."""
        self.damaged[f"A file is damaged and is not used: {path} ({reason})."] = None
