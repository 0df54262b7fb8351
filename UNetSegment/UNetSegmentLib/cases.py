"""Cases as folders: one volume (or group of channels) of the project with its confirmed slices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unetseg.errors import SettingsError
from unetseg.volume import Shape

from .disk import FolderCache, readRecord, subfolders
from .versions import OWN_ID, SHIPPED_ID

CASE_RECORD = "case.json"
SLICES = "slices.json"
OLDER_SLICES = "slices.older.json"
RESULTS = "results"


@dataclass(frozen=True)
class StoredCase:
    """One case of the project.

    Attributes:
        id: name of its folder.
        name: of the volume, as the user knows it.
        shape: voxels along D, H, W.
        labelNames: of the structures that its slices show, background included, in the order of their values.
        slices: how many are confirmed.
        images: the channels written so far; a model of fewer channels takes the first ones.
        annotation: file of the confirmed slices.
    """

    id: str
    name: str
    shape: Shape
    labelNames: tuple[str, ...]
    slices: int
    images: tuple[Path, ...]
    annotation: Path


NOT_STORED = frozenset({"id", "images", "annotation"})
"""Fields of a case that its folder says."""


def checkCaseId(caseId: str) -> str:
    """The id, which may come from somebody else's scene. Raises ``SettingsError`` for anything but an id."""
    if not OWN_ID.fullmatch(caseId):
        raise SettingsError("A stored case is named by 32 hexadecimal digits", received=caseId[:80])
    return caseId


def resultName(versionId: str) -> str:
    """File name of a version's result. Raises ``SettingsError`` for anything but a version's id."""
    if not SHIPPED_ID.fullmatch(versionId):
        raise SettingsError("A version is named by letters and digits", received=versionId[:80])
    return f"{versionId}.npz"


def channelPath(folder: Path, channel: int) -> Path:
    """File of one channel of the case in ``folder``."""
    return folder / f"channel{channel}.npz"


def isStored(folder: Path) -> bool:
    """Whether slices were stored in a case's folder; until the first is confirmed it may hold images only."""
    return bool(OWN_ID.fullmatch(folder.name)) and (folder / CASE_RECORD).exists()


def readCase(folder: Path) -> tuple[StoredCase, bool]:
    """The case in ``folder``; always complete. Raises ``OSError``, or ``ValueError`` for a damaged record."""
    channels = (channelPath(folder, channel) for channel in itertools.count())
    annotation = folder / SLICES
    annotation.stat()
    case = readRecord(
        StoredCase,
        folder / CASE_RECORD,
        id=folder.name,
        images=tuple(itertools.takewhile(Path.is_file, channels)),
        annotation=annotation,
    )
    return case, True


def listCases(
    folder: Path, cache: FolderCache[StoredCase], setAside: Callable[[Path, str], None]
) -> tuple[tuple[StoredCase, ...], tuple[str, ...]]:
    """The cases in a folder, and what is wrong with others, one sentence each.

    ``setAside(path, reason)`` is called for a record that is damaged.
    """
    cases, problems = [], []
    try:
        stored = [case for case in subfolders(folder) if isStored(case)]
    except OSError as error:
        return (), (f"The stored volumes cannot be read: {folder}: {error.strerror}.",)
    for case in stored:
        try:
            cases.append(cache.read(case, readCase))
        except OSError as error:
            problems.append(f"A stored volume cannot be read: {error.filename or case}: {error.strerror}.")
        except ValueError as error:
            setAside(case / CASE_RECORD, str(error))
    return tuple(cases), tuple(problems)
