"""What the panel shows: plain values that the logic makes and the panel only reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobStatus:
    """The work on its way.

    Attributes:
        kind: ``segment``, ``train`` or ``compare``.
        stage: in the user's words.
        fraction: 0 … 1.
        secondsLeft: None where nobody knows yet.
        stopping: the user has cancelled or stopped it and waits for its end.
    """

    kind: str
    stage: str = ""
    fraction: float = 0.0
    secondsLeft: float | None = None
    stopping: bool = False


@dataclass(frozen=True)
class Notice:
    """One message to the user.

    Attributes:
        kind: ``error``, ``warning`` or ``info``.
        text: what happened, one sentence.
        remedy: what to do now; empty where nothing has to be done.
        report: everything a helper would ask for, for the clipboard; empty where there is nothing to report.
        actions: buttons: (code, title).
    """

    kind: str
    text: str
    remedy: str = ""
    report: str = ""
    actions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """One report of a training. ``heldOut``: mean Dice over the structures; None where not measured then."""

    iteration: int
    fraction: float
    loss: float | None
    heldOut: float | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """One structure under the old and under the new version.

    Dice is 0 … 1, None where it is not known, or not defined (the structure is on none of those slices).
    ``heldOut`` is measured on slices that were held out in a trial; the new version has learned from them since.
    ``checked`` is measured on slices before they were used for training; it is known for the old version only,
    until slices are confirmed that the new one has predicted.
    """

    name: str
    color: tuple[int, int, int]
    heldOutBefore: float | None
    heldOutAfter: float | None
    checkedBefore: float | None
    changedMl: float


@dataclass(frozen=True)
class Comparison:
    """The offered version beside the one in use.

    Attributes:
        versionId, name: of the offered version.
        rows: one a structure.
        heldOutSlices, heldOutVolumes, checkedSlices: how many slices the figures come from, and of how many volumes.
        summary: what the figures mean, in one to three sentences.
    """

    versionId: str
    name: str
    rows: tuple[ComparisonRow, ...]
    heldOutSlices: int
    heldOutVolumes: int
    checkedSlices: int
    summary: str


@dataclass(frozen=True)
class VersionRow:
    """One version in the table of versions; the texts are shown as they are.

    Attributes:
        id, name: of the version.
        parentName: the version it was made from; empty where it was trained from nothing or the parent is gone.
        createdText: date.
        slices: how many confirmed slices it was trained on.
        figureText: its overlap on held-out slices, a dash where it is not known.
        statusText: in use, kept, offered, rejected or shipped.
        inUse: it is the version that segments.
        removable: the user may delete it.
        hasPieces: pieces of images lie beside it, for its retrainings to rehearse.
    """

    id: str
    name: str
    parentName: str
    createdText: str
    slices: int
    figureText: str
    statusText: str
    inUse: bool
    removable: bool
    hasPieces: bool = False
