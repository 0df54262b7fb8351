"""The user's corrections of the segmentation at hand: found and confirmed."""

from __future__ import annotations

import functools
import zlib
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from unetseg.config import Label
from unetseg.errors import ImageError, UnetsegError
from unetseg.suggestion import Suggestion
from unetseg.volume import LabelArray

from .case_store import CaseStore
from .corrections import Changes, Corrections, SliceRow
from .effort import EffortClock
from .next_slice import NextSlice
from .record import recordedVolume, removeRecord, segmentationOf
from .segmentation_adapter import LabelReader, bindSegments
from .slice_views import jumpToSlice, shownSlice
from .wording import listed, suggestionReason
from .workspace import Workspace

UNDOABLE_RESULTS = 3
"""Results whose undoing is understood; what each has predicted is kept for it."""
MILLISECONDS_TO_SETTLE = 300
"""Edits are looked for when none has come for this long: a stroke is one edit."""

_EDIT_EVENTS = (
    "SourceRepresentationModified",
    "RepresentationModified",
    "SegmentModified",
    "SegmentAdded",
    "SegmentRemoved",
)
_SCAN = "scan"


class Correcting(VTKObservationMixin):
    """Follows ``parameters.volume`` and ``parameters.segmentation``.

    ``corrections`` is None until both are chosen; ``changes`` is None until they have been looked through.
    """

    def __init__(self, workspace: Workspace) -> None:
        VTKObservationMixin.__init__(self)
        self.corrections: Corrections | None = None
        self.changes: Changes | None = None
        self.suggestion: Suggestion | None = None
        self.rows: tuple[SliceRow, ...] = ()
        self.store = CaseStore(workspace)
        self.effort = EffortClock()
        self._workspace = workspace
        self._nextSlice = NextSlice(workspace)
        self._volume: Any = None
        self._segmentation: Any = None
        self._problem = ""
        self._undoable: dict[int, tuple[LabelArray, str]] = {}
        self._settle = qt.QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(MILLISECONDS_TO_SETTLE)
        self._settle.connect("timeout()", self._scan)

    def bind(self) -> None:
        """Follow the volume and segmentation that are chosen now; whatever was followed before is let go."""
        parameters = self._workspace.parameters
        volume = parameters.volume if parameters is not None else None
        segmentation = parameters.segmentation if parameters is not None else None
        if volume == self._volume and segmentation == self._segmentation:
            return
        if volume is not None and self._turned(volume, segmentation):
            return  # to come back with the two that belong together
        self.release()
        self._volume, self._segmentation = volume, segmentation
        if volume is None or segmentation is None:
            self._workspace.changed.emit()
            return
        try:
            self.corrections = self.store.load(segmentation, volume, self.labels())
        except UnetsegError as error:
            self._problem = f"{error.rule}. {error.remedy}"
            self._workspace.report(error)
            return
        for event in _EDIT_EVENTS:
            self.addObserver(segmentation.GetSegmentation(), getattr(slicer.vtkSegmentation, event), self._onEdited)
        self._scan()
        self.introduce()

    def _turned(self, volume: Any, segmentation: Any) -> bool:
        """Whether the user has turned to another volume or segmentation, so that the other one has to follow."""
        parameters = self._workspace.parameters
        if segmentation is None:
            found = segmentationOf(volume) if volume != self._volume else None
            if found is not None:
                parameters.segmentation = found
            return found is not None
        recorded = recordedVolume(segmentation)
        if recorded in (None, volume):
            return False
        if segmentation == self._segmentation:
            parameters.segmentation = segmentationOf(volume)
        else:
            parameters.volume = recorded
        return True

    def introduce(self) -> None:
        """Store what the scene brings along in a project that does not know of it, as on another computer."""
        known = (case.id for case in self._workspace.project.cases())
        if self.corrections is not None and self.corrections.slices and self.store.caseId not in known:
            self._save()

    def release(self) -> None:
        """Let go of the nodes; what is confirmed lies in the scene and the project already."""
        self.removeObservers()
        removeRecord(None)
        self._settle.stop()
        self._workspace.tasks.cancel(_SCAN)
        self._nextSlice.forget()
        self.store.finish()
        self._volume = self._segmentation = self.corrections = self.changes = self.suggestion = None
        self.rows, self._problem = (), ""
        self._undoable.clear()

    def labels(self) -> tuple[Label, ...]:
        """What the segments stand for: the structures of the version that predicted them, else of the chosen one."""
        version = self._workspace.project.find(self.corrections.version) if self.corrections is not None else None
        return version.labels if version is not None else self._workspace.labels()

    def whyNotSegmentWith(self, labels: tuple[Label, ...]) -> str:
        """Why a result with these labels cannot go into this segmentation; empty where it can."""
        corrections = self.corrections
        if corrections is None or not (corrections.version or corrections.slices):
            return self._problem
        names, others = ([label.name for label in found if label.value] for found in (self.labels(), labels))
        if names == others:
            return ""
        text = _("The segmentation holds corrections of other structures ({names}): choose “Create new segmentation”")
        return text.format(names=listed(names))

    def reader(self) -> LabelReader:
        """Reads the labels as they are now."""
        return LabelReader(self._segmentation, self._volume, self.labels())

    def whyNotConfirm(self, viewName: str) -> str:
        """Why the slice in a view cannot be confirmed now; empty where it can."""
        if self.corrections is None:
            return self._problem or _("Segment the volume first, or choose a segmentation")
        try:
            shownSlice(viewName, self._volume)
        except ImageError as error:
            return f"{error.rule}. {error.remedy}"
        return ""

    def confirmView(self, viewName: str) -> None:
        """The slice that the view shows is right.

        Raises:
            ImageError: the view does not show one slice of the volume, or nothing is segmented yet.
        """
        if self.corrections is None:
            raise ImageError(self.whyNotConfirm(viewName))
        self.confirm([shownSlice(viewName, self._volume)])

    def confirm(self, planes: list[tuple[int, int]]) -> None:
        """These slices are right as they are now; the time since the last confirmation is shared among them."""
        bindSegments(self._segmentation, self.labels())
        reader, seconds = self.reader(), self.effort.take() / max(len(planes), 1)
        for axis, index in planes:
            self.corrections.confirm(axis, index, reader.slice(axis, index), seconds)
        self._save()
        self._scan()

    def remove(self, axis: int, index: int) -> None:
        """Take a confirmation back, or skip a suggestion; what was painted stays."""
        if any((taken.axis, taken.index) == (axis, index) for taken in self.corrections.slices):
            self.corrections.remove(axis, index)
            self._save()
        else:
            self.skipSuggestion()
        self._scan()

    def jumpTo(self, axis: int, index: int) -> None:
        """Show a slice."""
        jumpToSlice(self._volume, axis, index)
        self.effort.touch()

    def skipSuggestion(self) -> None:
        """Propose another slice."""
        if self.suggestion is not None:
            self.corrections.skipped = (*self.corrections.skipped, (self.suggestion.axis, self.suggestion.index))
            self._save()
            self._suggest()

    def suggestionText(self) -> str:
        """Why the proposed slice is proposed; empty without one."""
        return "" if self.suggestion is None else suggestionReason(self.suggestion.reason)

    def setPrediction(
        self,
        merged: LabelArray,
        before: LabelArray,
        baseline: LabelArray,
        version: str,
        uncertainty: LabelArray | None = None,
    ) -> None:
        """The program has written ``merged`` where ``before`` was; edits count from ``baseline`` on.

        Undo brings ``before`` back, and with it the prediction that it was edited from. ``uncertainty``, from 0 to 255,
        is that of the prediction where it is known.
        """
        known = (self.corrections.baseline, self.corrections.version)
        for labels, prediction in ((before, known), (merged, (baseline, version))):
            self._undoable.pop(zlib.crc32(labels), None)
            self._undoable[zlib.crc32(labels)] = prediction
        for oldest in tuple(self._undoable)[: -2 * UNDOABLE_RESULTS]:
            del self._undoable[oldest]
        self._setBaseline(baseline, version)
        self._nextSlice.learn(self.corrections, uncertainty, self._suggest)
        self._save()
        self._scan()

    def settle(self) -> None:
        """Look for the edits that have just come, without waiting for more."""
        if self._settle.isActive():
            self._settle.stop()
            self._scan()

    def editedNow(self) -> int:
        """Voxels changed outside confirmed slices, looked through before returning."""
        self._scan()
        self._workspace.tasks.drain(_SCAN)
        return self.changes.editedVoxels

    def _save(self) -> None:
        self.store.save(self._segmentation, self._volume, self.corrections, self.labels())

    def _setBaseline(self, baseline: LabelArray, version: str) -> None:
        self.corrections.setBaseline(baseline, version)
        self.store.saveBaseline(self._segmentation, self._volume, self.corrections)

    def _onEdited(self, caller: Any, event: str) -> None:
        self.effort.touch()
        self._settle.start()

    def _scan(self) -> None:
        if self.corrections is None:
            return
        reader = _FingerprintingReader(self.reader())
        onDone = functools.partial(self._onScanned, reader)
        self._workspace.tasks.run(_SCAN, self.corrections.scan(reader), onDone, self._workspace.report)

    def _onScanned(self, reader: _FingerprintingReader, changes: Changes) -> None:
        undone = self._undoable.get(reader.fingerprint)
        if changes.editedVoxels and undone is not None and undone[0] is not self.corrections.baseline:
            self._setBaseline(*undone)
            self._scan()
            return
        self.changes = changes
        self._suggest()

    def _suggest(self) -> None:
        if self.changes is not None:
            self.suggestion = self._nextSlice.choose(self.corrections, self.changes)
            self.rows = self.corrections.rows(self.changes, self.suggestion)
            self._workspace.changed.emit()


class _FingerprintingReader:
    """A reader that also tells, after a pass from first to last slab, which labels it has read."""

    def __init__(self, reader: LabelReader) -> None:
        self._reader = reader
        self.fingerprint = 0

    def slab(self, start: int, stop: int) -> LabelArray:
        labels = self._reader.slab(start, stop)
        self.fingerprint = zlib.crc32(labels, self.fingerprint if start else 0)
        return labels
