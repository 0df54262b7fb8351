"""Versions of a model as files: a ``.safetensors`` file, its record and, where it has any, pieces of images."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from unetseg.config import Label, ModelDocument
from unetseg.errors import ModelFileError, SettingsError
from unetseg.files import replay_path
from unetseg.messages import Dice

from .disk import inWords, readRecord

Status = Literal["shipped", "own", "offered", "kept", "rejected"]
OWN_STATUSES = ("own", "offered", "kept", "rejected")
MODEL_SUFFIX = ".safetensors"
PIECES_SUFFIX = "".join(replay_path(Path(f"model{MODEL_SUFFIX}")).suffixes)
"""Of the pieces of images that lie beside a model, for its retrainings to rehearse."""
MAX_NAME_LENGTH = 80
SHIPPED_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
OWN_ID = re.compile(r"[0-9a-f]{32}")

NOT_STORED = frozenset({"id", "path", "hasPieces"})
"""Fields of a version that its files say by their name, place and number."""


@dataclass(frozen=True)
class Version:
    """One model and where it comes from.

    Attributes:
        id: name of its files without ending.
        name: as shown to the user; each version has its own.
        status: ``shipped`` with the program; ``own``: taken in from a file; ``offered``, ``kept`` or ``rejected``
            after a retraining.
        createdUtc: ISO 8601, see ``utcNow``.
        parent: id of the version that training started from; empty for none. That version may be deleted.
        labels: background included.
        channels: of the volumes it segments.
        network, dimensions, modality: as in the model's document.
        volumes, slices: how many it has learned from.
        heldOut: Dice per label ≥ 1 on held-out slices, of the version that training started from and of what was
            learned before these slices were learned from, too; empty where not measured.
        seconds: that the training took.
        note: what to know before using it.
        sha256: of the model file.
        path: of the model file.
        hasPieces: pieces of images lie beside the model, for its retrainings to rehearse.
    """

    id: str
    name: str
    status: Status
    createdUtc: str
    parent: str = ""
    labels: tuple[Label, ...] = ()
    channels: int = 1
    network: str = ""
    dimensions: Literal[2, 3] = 3
    modality: str = ""
    volumes: int = 0
    slices: int = 0
    heldOut: tuple[Dice, Dice] = ((), ())
    seconds: float = 0.0
    note: str = ""
    sha256: str = ""
    path: Path = Path()
    hasPieces: bool = False


@dataclass(frozen=True)
class Listing:
    """What a folder of models holds.

    Attributes:
        versions: newest first.
        undescribed: model files without a record, put there by hand.
        problems: one sentence each.
    """

    versions: tuple[Version, ...] = ()
    undescribed: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()


def versionOf(document: ModelDocument, **known: Any) -> Version:
    """What a model's document says of it, with the ``known`` fields, which come before."""
    training = document.training
    described = {
        "labels": document.labels,
        "channels": document.network.in_channels,
        "network": document.network.name,
        "dimensions": document.plan.dimensions,
        "modality": document.plan.modality,
        "volumes": len(training.cases),
        "slices": sum(training.annotated_slices),
        "heldOut": ((), training.held_out_dice),
        "seconds": training.seconds,
    }
    return Version(**(described | known))


def newId() -> str:
    """A name for files that says nothing about a patient and that every file system takes."""
    return uuid.uuid4().hex


def utcNow() -> str:
    """The time as ISO 8601, readable by every Python."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def recordPath(model: Path) -> Path:
    """Where the record of a model file lies."""
    return model.with_suffix(".json")


def removeFiles(model: Path) -> None:
    """Remove a version's files, the record last: until then the user can try again. Raises ``OSError``."""
    for path in (replay_path(model), model, recordPath(model)):
        path.unlink(missing_ok=True)


def readVersion(model: Path, *, shipped: bool, hasPieces: bool) -> Version:
    """The version of a model file. Raises ``OSError``, or ``ValueError`` for a damaged record."""
    version = readRecord(Version, recordPath(model), id=model.stem, path=model, hasPieces=hasPieces)
    datetime.fromisoformat(version.createdUtc)
    return replace(version, status="shipped") if shipped else version


def listVersions(folder: Path, *, shipped: bool, setAside: Callable[[Path, str], None]) -> tuple[Listing, bool]:
    """What is in a folder of models, and whether everything in it could be read.

    ``setAside(path, reason)`` is called for a record that is damaged. Raises ``OSError`` for an unreadable folder.
    """
    allowed = SHIPPED_ID if shipped else OWN_ID
    names = {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
    versions, undescribed, problems, complete = [], [], [], True
    for name in sorted(name for name in names if name.endswith(MODEL_SUFFIX) and not name.endswith(PIECES_SUFFIX)):
        model = folder / name
        if not allowed.fullmatch(model.stem) or recordPath(model).name not in names:
            undescribed.append(model)
            continue
        try:
            versions.append(readVersion(model, shipped=shipped, hasPieces=replay_path(model).name in names))
        except OSError as error:
            complete = False
            problems.append(f"The description of a model could not be read: {recordPath(model)}: {error.strerror}.")
        except ValueError as error:
            undescribed.append(model)
            setAside(recordPath(model), str(error))
    for path in sorted(folder / name for name in names if name.endswith(".json")):
        if allowed.fullmatch(path.stem) and path.with_suffix(MODEL_SUFFIX).name not in names:
            problems.append(f"A model is missing; only its description is there: {path}.")
    newestFirst = sorted(versions, key=lambda version: version.createdUtc, reverse=True)
    return Listing(tuple(newestFirst), tuple(undescribed), tuple(problems)), complete


def lineage(versions: Iterable[Version], versionId: str) -> dict[str, Version | None]:
    """Ids and versions from the version itself back to the first; None for the one, at the end, that is deleted."""
    known = {version.id: version for version in versions}
    found: dict[str, Version | None] = {}
    while versionId and versionId not in found:
        version = found[versionId] = known.get(versionId)
        versionId = version.parent if version is not None else ""
    return found


def checkModelFile(path: Path) -> None:
    """Look at the beginning of a file that is said to be a model; the worker looks at the rest.

    Raises:
        ModelFileError: it is something else.
        FileAccessError: it cannot be read.
    """
    with inWords("The model file must be readable", path), open(path, "rb") as file:
        prefix, opening = file.read(8), file.read(1)
        size = os.fstat(file.fileno()).st_size
    headerBytes = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or opening != b"{" or not 2 <= headerBytes <= size - 8:
        raise ModelFileError(
            "A model must be a .safetensors file that UNetSegment has written",
            received=f"{path}, which is something else or not complete",
            remedy="Copy or download it again, or choose another file",
        )


def cleanName(name: str) -> str:
    """The name without line breaks and superfluous spaces. Raises ``SettingsError`` for one that cannot be used."""
    clean = " ".join(name.split())
    if not 0 < len(clean) <= MAX_NAME_LENGTH:
        raise SettingsError(
            f"The name of a version has 1 to {MAX_NAME_LENGTH} characters",
            received=f"{len(clean)} characters",
            remedy="Type another name",
        )
    return clean


def freeName(name: str, taken: set[str]) -> str:
    """The name, shortened where it is too long and with a number where it is taken (``taken`` is in lower case)."""
    clean = " ".join(name.split())[:MAX_NAME_LENGTH].strip() or "Model"
    number = 1
    found = clean
    while found.casefold() in taken:
        number += 1
        ending = f" ({number})"
        found = clean[: MAX_NAME_LENGTH - len(ending)].strip() + ending
    return found
