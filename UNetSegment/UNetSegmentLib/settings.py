"""What is set once per computer, kept in Slicer's own settings file."""

from __future__ import annotations

from pathlib import Path

import qt

_PREFIX = "UNetSegment/"


class Settings:
    """Read from and written to the application's settings at every access, so that two windows agree."""

    @property
    def pythonPath(self) -> str:
        """The interpreter for computation; empty: Slicer's own."""
        return str(self._value("pythonPath", ""))

    @pythonPath.setter
    def pythonPath(self, path: str) -> None:
        self._set("pythonPath", path)

    @property
    def memoryGb(self) -> float | None:
        """Limit for the computation; None: what is free."""
        text = str(self._value("memoryGb", ""))
        return float(text) if text else None

    @memoryGb.setter
    def memoryGb(self, limit: float | None) -> None:
        self._set("memoryGb", "" if limit is None else str(limit))

    @property
    def projectFolder(self) -> str:
        """Where models, corrections and training records lie."""
        location = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
        return str(self._value("projectFolder", "")) or str(Path(location) / "UNetSegment")

    @projectFolder.setter
    def projectFolder(self, path: str) -> None:
        self._set("projectFolder", path)

    def _value(self, name: str, default: str) -> object:
        return qt.QSettings().value(_PREFIX + name, default)

    def _set(self, name: str, value: str) -> None:
        qt.QSettings().setValue(_PREFIX + name, value)
