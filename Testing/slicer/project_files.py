"""Files that a project is tried with, and a disk that refuses to write them."""

from __future__ import annotations

import builtins
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unetseg.files import replay_path
from UNetSegmentLib.versions import Version, utcNow

PIECES = b"pieces of images"


def withPieces(model: Path, content: bytes = PIECES) -> Path:
    """The same model, with pieces of images beside it."""
    replay_path(model).write_bytes(content)
    return model


def modelFile(path: Path, content: str = "a", size: int = 5) -> Path:
    """The smallest file that can be taken for a model."""
    header = json.dumps({"__metadata__": {"unetseg": content}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * size)
    return path


def record(name: str = "Hippocampus", **fields: object) -> Version:
    return Version(**{"id": "", "name": name, "status": "own", "createdUtc": utcNow(), **fields})


def finished(job: Path) -> Path:
    (job / "deep").mkdir()
    (job / "deep" / "labels.npz").write_text("x")
    return job


def interrupted(job: Path) -> Path:
    (job / "request.json").write_text("{}")
    (job / "model.checkpoint.safetensors").write_text("x")
    return job


OPEN = builtins.open


class Refusals:
    """Lets the nth system call that writes fail."""

    PLACES = (*((os, name) for name in ("fsync", "replace", "mkdir", "open")), (io, "open"), (builtins, "open"))

    def __init__(self, patch: pytest.MonkeyPatch, at: int, reason: int) -> None:
        self.calls, self._at, self._reason = 0, at, reason
        for module, name in self.PLACES:
            patch.setattr(module, name, self._failing(getattr(module, name)))

    def _failing(self, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if not _isHarmless(function, arguments, options):
                self.calls += 1
                if self.calls == self._at:
                    raise OSError(self._reason, os.strerror(self._reason))
            return function(*arguments, **options)

        return call


def _isHarmless(function: Callable[..., object], arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Reading, making a folder that is there, and the flush of a folder, by when the new content is in place."""
    if function is OPEN:
        return str(options.get("mode", [*arguments, "r"][1])) in ("r", "rb")
    return os.path.isdir(arguments[0])
