"""What a user has corrected in one segmentation: confirmed slices, and edits that wait to be confirmed."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from unetseg.errors import ImageError
from unetseg.labelled_slices import (
    LabelledSlice,
    check_slice,
    pack_labels,
    slices_from_json,
    slices_to_json,
    unpack_labels,
    unreadable_slices,
)
from unetseg.records import Json, RecordError, from_json, to_json
from unetseg.suggestion import SlicePosition, Suggestion
from unetseg.volume import LabelArray, Shape, Vector

from .change_scan import Changes, SlabReader, partsInSlab, scanChanges, slabs


class SliceState(enum.Enum):
    """Where a slice stands."""

    SUGGESTED = "suggested"
    EDITED = "edited"
    CONFIRMED = "confirmed"
    UNCHANGED = "unchanged"
    CHANGED_SINCE = "changed since"


@dataclass(frozen=True)
class SliceRow:
    """One slice of the table.

    Attributes:
        state: ``UNCHANGED``: confirmed as it was predicted; ``CHANGED_SINCE``: changed after it was confirmed.
        values: structures (from 1 on) that the user gave voxels or took them from.
        seconds: spent on it; 0 before it is confirmed.
    """

    axis: int
    index: int
    state: SliceState
    values: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class _Stored:
    spacing_mm: Vector
    version: str
    baseline: str | None
    skipped: tuple[SlicePosition, ...]
    slices: Mapping[str, Any]
    pasted: tuple[SlicePosition, ...] = ()


class Corrections:
    """The corrections of one segmentation of one volume.

    Attributes:
        shape: (D, H, W) of the volume.
        spacing_mm: of the volume along D, H, W.
        baseline: uint8 (D, H, W): the prediction, with the slices pasted in that were confirmed then; labels that
            differ from it are edits. All background where nothing was predicted; None where it is not known, so that
            nothing counts as an edit.
        version: id of the model that predicted the baseline; empty where none did.
        slices: confirmed ones in the order of their confirmation; where they cross, the later one is right.
        skipped: (axis, index) of suggestions that the user did not want.
        pasted: (axis, index) of the slices that were confirmed already when the baseline was written: there it holds
            the user's labels, which say nothing about the model.
    """

    def __init__(self, shape: Shape, spacing_mm: Vector) -> None:
        self.shape = shape
        self.spacing_mm = spacing_mm
        self.baseline: LabelArray | None = np.zeros(shape, dtype=np.uint8)
        self.version = ""
        self.slices: tuple[LabelledSlice, ...] = ()
        self.skipped: tuple[SlicePosition, ...] = ()
        self.pasted: tuple[SlicePosition, ...] = ()
        self._baselineId: str | None = ""

    def setBaseline(self, baseline: LabelArray | None, version: str) -> None:
        """Edits count from now on against this array, which must not be changed any more.

        Suggestions that were skipped may come again. Raises ``ImageError`` for an array that is not uint8 of the
        volume's shape.
        """
        if baseline is not None:
            self._checkArray(baseline)
        self.baseline, self.version, self.skipped = baseline, version, ()
        self.pasted = tuple((taken.axis, taken.index) for taken in self.slices)
        self._baselineId = None if baseline is None else uuid.uuid4().hex

    def confirm(self, axis: int, index: int, labels: LabelArray, seconds: float) -> LabelledSlice:
        """The user says that these labels, uint8 2D, are right.

        A slice that was confirmed before is replaced, keeps what was first predicted there, and its seconds add up.

        Raises:
            ImageError: the slice lies outside the volume, or has unlabelled voxels.
        """
        labelled = LabelledSlice(int(axis), int(index), labels)
        check_slice(labelled, self.shape)
        earlier = self._find(axis, index)
        if earlier is not None:
            before, version, seconds = earlier.before, earlier.version, earlier.seconds + seconds
        else:
            pasted = (labelled.axis, labelled.index) in self.pasted
            predicted = self.baseline is not None and self.version != "" and not pasted
            before, version = self.baseline[labelled.plane] if predicted else None, "" if pasted else self.version
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        labelled = replace(labelled, before=before, version=version, seconds=float(seconds), confirmed_utc=now)
        self.remove(axis, index)
        self.slices = (*self.slices, labelled)
        return labelled

    def remove(self, axis: int, index: int) -> None:
        """Take a confirmation back; a slice that is not confirmed is no error."""
        self.slices = tuple(taken for taken in self.slices if (taken.axis, taken.index) != (axis, index))

    def scan(self, reader: SlabReader) -> Generator[None, None, Changes]:
        """Look through the labels as they are now, in steps of a few milliseconds.

        Raises:
            ImageError: the reader's labels are not of the volume's shape.
        """
        return scanChanges(reader, self.shape, self.spacing_mm, self.baseline, self.slices)

    def rows(self, changes: Changes | None, suggestion: Suggestion | None) -> tuple[SliceRow, ...]:
        """The table of slices, by axis and index; ``changes`` is None before the first scan."""
        rows = []
        if suggestion is not None:
            rows.append(SliceRow(suggestion.axis, suggestion.index, SliceState.SUGGESTED))
        for plane in changes.edited if changes is not None else ():
            rows.append(SliceRow(plane.axis, plane.index, SliceState.EDITED, plane.values))
        changedSince = changes.changedSince if changes is not None else ()
        for taken in self.slices:
            state = SliceState.UNCHANGED if taken.unchanged else SliceState.CONFIRMED
            if (taken.axis, taken.index) in changedSince:
                state = SliceState.CHANGED_SINCE
            rows.append(SliceRow(taken.axis, taken.index, state, taken.touched_values, taken.seconds))
        ofPlane = {(row.axis, row.index): row for row in rows}
        return tuple(ofPlane[position] for position in sorted(ofPlane))

    def merge(self, prediction: LabelArray, current: LabelArray | None, keepEdits: bool) -> LabelArray:
        """A new prediction, uint8 (D, H, W), with every confirmed slice exactly as it was confirmed.

        Args:
            current: the labels as they are now; needed to keep edits.
            keepEdits: keep also the voxels that differ from the baseline. They stay edits if the baseline is then set
                to the merge without them.

        Raises:
            ImageError: an array that is not uint8 of the volume's shape.
        """
        self._checkArray(prediction)
        merged = prediction.copy()
        for start, stop in slabs(self.shape):
            slab = merged[start:stop]
            if keepEdits and self.baseline is not None:
                now = current[start:stop]
                np.copyto(slab, now, where=now != self.baseline[start:stop])
            for _labelled, plane, labels in partsInSlab(self.slices, start, stop):
                slab[plane] = labels
        return merged

    def toJson(self) -> Json:
        """Plain JSON of all but the baseline, which ``packBaseline`` makes."""
        slices = slices_to_json(self.slices, self.shape)
        return to_json(_Stored(self.spacing_mm, self.version, self._baselineId, self.skipped, slices, self.pasted))

    @classmethod
    def fromJson(cls, data: Json) -> Corrections:
        """What ``toJson`` made; a predicted baseline is unknown until ``unpackBaseline``.

        Raises:
            ImageError: anything else.
        """
        try:
            stored = from_json(_Stored, data)
        except RecordError as error:
            raise unreadable_slices(error) from error
        shape, slices = slices_from_json(stored.slices)
        if min(stored.spacing_mm) <= 0:
            raise unreadable_slices(f"spacing {stored.spacing_mm} mm")
        corrections = cls(shape, stored.spacing_mm)
        corrections.slices, corrections.skipped, corrections.version = slices, stored.skipped, stored.version
        corrections._baselineId, corrections.pasted = stored.baseline, stored.pasted
        if stored.baseline != "":
            corrections.baseline = None
        return corrections

    def packBaseline(self) -> Generator[None, None, Json]:
        """Plain JSON of the baseline, in steps of a few milliseconds; None where it is all background or unknown."""
        baseline, baselineId, packed = self.baseline, self._baselineId, []
        if baseline is None or not baselineId:
            return None
        for start, stop in slabs(self.shape):
            packed.append(pack_labels(baseline[start:stop]))
            yield
        return {"id": baselineId, "slabs": packed}

    def unpackBaseline(self, packed: Json) -> None:
        """Take back what ``packBaseline`` made; one that was packed at another moment is left alone.

        Raises:
            ImageError: anything else.
        """
        if not isinstance(packed, dict) or not isinstance(packed.get("slabs"), list):
            raise unreadable_slices("the prediction is missing")
        bounds = list(slabs(self.shape))
        if len(packed["slabs"]) != len(bounds) or not all(isinstance(part, str) for part in packed["slabs"]):
            raise unreadable_slices("the prediction is incomplete")
        if packed.get("id") == self._baselineId:
            baseline = np.empty(self.shape, dtype=np.uint8)
            for (start, stop), part in zip(bounds, packed["slabs"], strict=True):
                baseline[start:stop] = unpack_labels(part, (stop - start, *self.shape[1:]))
            self.baseline = baseline

    def _find(self, axis: int, index: int) -> LabelledSlice | None:
        return next((taken for taken in self.slices if (taken.axis, taken.index) == (axis, index)), None)

    def _checkArray(self, labels: LabelArray) -> None:
        if labels.shape != self.shape or labels.dtype != np.uint8:
            raise ImageError(
                f"Labels must be uint8 of the volume's shape {self.shape}",
                received=f"{labels.dtype} {labels.shape}",
                remedy="Choose the volume that this segmentation was made for",
            )
