"""The user's corrections of the segmentation at hand: found, confirmed, kept with the scene and the project."""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Generator
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from unetseg.config import Label
from unetseg.errors import ImageError, UnetsegError
from unetseg.suggestion import SliceScores, Suggestion, score_slices, suggest
from unetseg.volume import LabelArray, Shape

from .corrections import Changes, Corrections, SliceRow
from .effort import EffortClock
from .images import ImageExport
from .mrml_adapter import volumeGeometry
from .record import (
    CASE,
    loadRecord,
    recordBaseline,
    recordedCase,
    recordedVolume,
    recordNode,
    removeRecord,
    restoreFromTags,
    saveRecord,
    segmentationOf,
    tagSegments,
)
from .segmentation_adapter import LabelReader, bindSegments
from .slice_views import jumpToSlice, shownSlice
from .wording import listed, suggestionReason
from .workspace import Workspace

UNDOABLE_RESULTS = 3
"""Results whose undoing is understood; what each has predicted is kept for it."""
MILLISECONDS_TO_SETTLE = 300
"""Edits are looked for when none has come for this long: a stroke is one edit."""
SUGGEST_BY_UNCERTAINTY = False
"""Where the network's uncertainty is known, propose the slice where it is least sure, instead of the largest gap.

Off as long as ``Testing/benchmarks/suggestion_study.py`` does not find that this needs fewer slices.
"""

_EDIT_EVENTS = (
    "SourceRepresentationModified",
    "RepresentationModified",
    "SegmentModified",
    "SegmentAdded",
    "SegmentRemoved",
)
_SCAN, _SAVE, _BASELINE, _SCORE = "scan", "save", "baseline", "score"


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
        self.caseId = ""
        self.images = ImageExport()
        self.effort = EffortClock()
        self._workspace = workspace
        self._volume: Any = None
        self._segmentation: Any = None
        self._problem = ""
        self._undoable: dict[int, tuple[LabelArray, str]] = {}
        self._scored: tuple[LabelArray, SliceScores] | None = None
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
            self._load()
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
        if self.corrections is not None and self.corrections.slices and self.caseId not in known:
            self.save()

    def begin(self, segmentation: Any, volume: Any, caseId: str) -> None:
        """A new segmentation belongs to this case of the project from its first moment on."""
        geometry = volumeGeometry(volume)
        saveRecord(segmentation, volume, Corrections(geometry.shape, geometry.spacing_mm))
        recordNode(segmentation).SetParameter(CASE, caseId)

    def release(self) -> None:
        """Let go of the nodes; what is confirmed lies in the scene and the project already."""
        self.removeObservers()
        removeRecord(None)
        self._settle.stop()
        self._workspace.tasks.cancel(_SCAN)
        self._workspace.tasks.cancel(_SCORE)
        self._record()
        self._volume = self._segmentation = self.corrections = self.changes = self.suggestion = None
        self.rows, self.caseId, self._problem, self._scored = (), "", "", None
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
        self.save()
        self._scan()

    def remove(self, axis: int, index: int) -> None:
        """Take a confirmation back, or skip a suggestion; what was painted stays."""
        if any((taken.axis, taken.index) == (axis, index) for taken in self.corrections.slices):
            self.corrections.remove(axis, index)
            self.save()
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
            self.save()
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
        self._score(uncertainty)
        self.save()
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

    @property
    def saving(self) -> bool:
        """Whether something confirmed is still on its way into the project."""
        return self._workspace.tasks.busy(_SAVE)

    def save(self) -> None:
        """Into the scene and into the project's folder, in the next idle moments."""
        # The choices of now: another volume may be chosen before those moments come.
        steps = self._saved(self.labels(), self._workspace.chosenVolumes())
        self._workspace.tasks.run(_SAVE, steps, onError=self._workspace.report)

    def _saved(self, labels: tuple[Label, ...], volumes: list[Any]) -> Generator[None, None, None]:
        workspace, corrections = self._workspace, self.corrections
        if slicer.mrmlScene.IsNodePresent(self._segmentation):
            saveRecord(self._segmentation, self._volume, corrections)
            recordNode(self._segmentation).SetParameter(CASE, self.caseId)
            yield
            yield from tagSegments(self._segmentation, corrections)
        name, shape = self._volume.GetName(), corrections.shape
        yield from workspace.project.saveCaseInSteps(self.caseId, name, corrections.slices, shape, labels)
        if corrections.slices:
            chosen = list(itertools.takewhile(lambda node: node is not None, volumes))
            yield from self.images.steps(workspace.project, self.caseId, chosen)

    def _load(self) -> None:
        """The record of the scene, else what the segments' tags tell, else nothing confirmed yet."""
        geometry = volumeGeometry(self._volume)
        found = self._recorded(geometry.shape)
        self.corrections = found or Corrections(geometry.shape, geometry.spacing_mm)
        if found is None:
            self._restore()
        self.caseId = recordedCase(self._segmentation) or self._workspace.project.newCaseId()

    def _restore(self) -> None:
        """What the segments' tags tell of a segmentation that was loaded from a file of its own."""
        try:
            restoreFromTags(self._segmentation, self.corrections, self.reader())
        except UnetsegError as error:
            self._workspace.report(error)

    def _recorded(self, shape: Shape) -> Corrections | None:
        """What is recorded for a volume of this shape; of a damaged record what is left."""
        try:
            found = loadRecord(self._segmentation)
        except UnetsegError as error:
            self._workspace.report(error)
            found = loadRecord(self._segmentation)
        if found is not None and found.shape != shape:
            raise ImageError(
                _("The segmentation was corrected on a volume of another size"),
                received=f"{found.shape}, {shape}",
                remedy=_("Choose the volume that it was made for, or another segmentation"),
            )
        return found

    def _setBaseline(self, baseline: LabelArray, version: str) -> None:
        self.corrections.setBaseline(baseline, version)
        saveRecord(self._segmentation, self._volume, self.corrections)
        steps = recordBaseline(self._segmentation, self.corrections)
        self._workspace.tasks.run(_BASELINE, steps, onError=self._workspace.report)

    def _record(self) -> None:
        """Finish what is on its way into the scene and the project."""
        for key in (_SAVE, _BASELINE):
            self._workspace.tasks.drain(key)

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

    def _score(self, uncertainty: LabelArray | None) -> None:
        """Find out, in the next idle moments, on which slices the network was unsure of the new baseline."""
        self._workspace.tasks.cancel(_SCORE)
        if SUGGEST_BY_UNCERTAINTY and uncertainty is not None:
            baseline = self.corrections.baseline
            steps = score_slices(baseline, uncertainty, self.corrections.spacing_mm)
            onDone = functools.partial(self._onScored, baseline)
            self._workspace.tasks.run(_SCORE, steps, onDone, self._workspace.report)

    def _onScored(self, baseline: LabelArray, scores: SliceScores) -> None:
        self._scored = (baseline, scores)
        if self.changes is not None:
            self._suggest()

    def _suggest(self) -> None:
        # After an undo another prediction is the baseline, of which nothing is known any more.
        known = self._scored is not None and self._scored[0] is self.corrections.baseline
        self.suggestion = suggest(
            self.changes.foreground,
            [(taken.axis, taken.index) for taken in self.corrections.slices],
            self.corrections.skipped,
            self.corrections.spacing_mm,
            self._scored[1] if known else None,
        )
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
