"""Errors that reach a user: each states the rule, what was received and the way out.

Only the standard library is imported, so that the Slicer side can share this file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnetsegError(Exception):
    """A failure that a user can understand and act on.

    Args:
        rule: what must hold, as one sentence without the full stop.
        received: the value that broke the rule, in the user's terms; empty where the rule names it.
        remedy: what to do now, as one sentence without the full stop.

    ``code`` is the stable name that travels in a ``Failed`` message.
    """

    code = "error"

    def __init__(self, rule: str, *, received: object = "", remedy: str = "") -> None:
        self.rule = rule
        self.received = str(received)
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [f"{self.rule}."]
        if self.received:
            parts.append(f"Received: {self.received}.")
        if self.remedy:
            parts.append(self.remedy if self.remedy.endswith("?") else f"{self.remedy}.")
        return " ".join(parts)


class SettingsError(UnetsegError, ValueError):
    """An option or argument has a value that cannot be used (the CLI exits with 2)."""

    code = "settings"


class ImageError(UnetsegError, ValueError):
    """An image, label map or its geometry cannot be used."""

    code = "image"


class TrainingDataError(UnetsegError, ValueError):
    """The cases or annotations do not allow training."""

    code = "training_data"


class TrainingDivergedError(UnetsegError):
    """Training met non-finite numbers again and again and was stopped; the last good weights are kept."""

    code = "diverged"


class ModelFileError(UnetsegError):
    """A model file is damaged, hostile, or made by an incompatible version."""

    code = "model_file"


class MemoryLimitError(UnetsegError):
    """The work does not fit into the memory that may be used, even in its smallest form."""

    code = "memory"


class DeviceError(UnetsegError):
    """The requested device is missing or does not compute correctly."""

    code = "device"


class FileAccessError(UnetsegError):
    """A file or folder cannot be read or written."""

    code = "file"


class InternalError(UnetsegError):
    """A fault of the program, not of what it was given."""

    code = "internal"


class ProtocolError(UnetsegError):
    """A message between the two processes is malformed or of another version."""

    code = "protocol"


class CancelledError(UnetsegError):
    """The user cancelled; carries no fault (the CLI exits with 130)."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("Cancelled")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SettingsError:
    """The error for a name that is not in a table: lists the table and the closest match.

    >>> print(unknown_name("loss", "dise", ["dice", "cross_entropy"]))
    The loss must be one of cross_entropy, dice. Received: dise. Did you mean dice?
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    remedy = f"Did you mean {close[0]}?" if close else ""
    return SettingsError(f"The {kind} must be one of {', '.join(names)}", received=name, remedy=remedy)
