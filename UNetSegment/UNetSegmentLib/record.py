"""Keeps the corrections of a segmentation with the scene, and what fits with a segmentation file alone.

In a scene they are text in one hidden node for each segmentation, so that every version of Slicer saves them inside
the scene file itself. A ``.seg.nrrd`` keeps the tags of its segments: they say which slices are confirmed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Generator, Iterator
from typing import Any, Protocol
from urllib.parse import quote, unquote

import slicer
import vtk
from slicer.i18n import tr as _

from unetseg.errors import ImageError
from unetseg.labelled_slices import LabelledSlice
from unetseg.records import Json, RecordError, loads
from unetseg.volume import LabelArray

from .confirmed import composedPlane
from .corrections import Corrections

MODULE_NAME = "UNetSegment.Record"
CONFIRMED_TAG = "UNetSegment.confirmed"

CASE = "case"
"""Parameter of the record node: id of the case in the project."""
_SEGMENTATION, _VOLUME = "segmentation", "volume"
_CORRECTIONS, _BASELINE, _SHAPE = "corrections", "baseline", "shape"


class SliceReader(Protocol):
    """Reads the labels as they are now."""

    def slice(self, axis: int, index: int) -> LabelArray:
        """One slice, uint8 2D."""


def recordNode(segmentationNode: Any) -> Any:
    """The hidden ``vtkMRMLScriptedModuleNode`` of a segmentation; None where nothing was saved yet."""
    return next((node for node in _records() if node.GetNodeReference(_SEGMENTATION) == segmentationNode), None)


def recordedCase(segmentationNode: Any) -> str:
    """Id of the segmentation's case in the project; empty where it has none.

    Also where an earlier segmentation has the same, as when a scene was added to itself: each is a case of its own.
    """
    own = recordNode(segmentationNode)
    if own is None:
        return ""
    case = own.GetParameter(CASE)
    return case if next(node for node in _records() if node.GetParameter(CASE) == case) == own else ""


def recordedVolume(segmentationNode: Any) -> Any:
    """The volume that a segmentation was corrected on; None without a record, and where the volume is gone."""
    node = recordNode(segmentationNode)
    return None if node is None else node.GetNodeReference(_VOLUME)


def segmentationOf(volumeNode: Any) -> Any:
    """A segmentation with a record for this volume; None without one."""
    found = (node for node in _records() if node.GetNodeReference(_VOLUME) == volumeNode)
    return next((node.GetNodeReference(_SEGMENTATION) for node in found if node.GetNodeReference(_SEGMENTATION)), None)


def saveRecord(segmentationNode: Any, volumeNode: Any, corrections: Corrections) -> None:
    """Put all but the baseline into the scene; ``recordBaseline`` adds that.

    An earlier record for a volume of another shape is kept aside.
    """
    node = recordNode(segmentationNode) or _newRecord(segmentationNode)
    shape = " ".join(map(str, corrections.shape))
    if node.GetParameter(_SHAPE) not in ("", shape):
        _setAside(node, _CORRECTIONS, _BASELINE)
    node.SetNodeReferenceID(_VOLUME, volumeNode.GetID())
    node.SetParameter(_SHAPE, shape)
    node.SetParameter(_CORRECTIONS, json.dumps(corrections.toJson()))


def recordBaseline(segmentationNode: Any, corrections: Corrections) -> Generator[None, None, None]:
    """Put the baseline into the record, in steps of a few milliseconds; a record removed meanwhile is no error."""
    packed = yield from corrections.packBaseline()
    node = recordNode(segmentationNode)
    if node is None:
        return
    if packed is None:
        node.UnsetParameter(_BASELINE)
    else:
        node.SetParameter(_BASELINE, json.dumps(packed))


def loadRecord(segmentationNode: Any) -> Corrections | None:
    """The corrections that were saved with the scene; None without a record.

    Raises:
        ImageError: the record is damaged. The damaged part is kept in the scene under another name, so that loading
            once more gives what is left: the slices, where only the prediction is damaged; else None.
    """
    node = recordNode(segmentationNode)
    if node is None or not node.GetParameter(_CORRECTIONS):
        return None
    try:
        corrections = Corrections.fromJson(_parsed(node, _CORRECTIONS))
    except (ImageError, RecordError) as error:
        _setAside(node, _CORRECTIONS, _BASELINE)
        rule = _("The confirmed slices of “{name}” must be readable as they were saved")
        raise _damaged(rule, segmentationNode, error) from error
    try:
        if node.GetParameter(_BASELINE):
            corrections.unpackBaseline(_parsed(node, _BASELINE))
    except (ImageError, RecordError) as error:
        _setAside(node, _BASELINE)
        rule = _("The labels of “{name}” from before your changes must be readable as they were saved")
        raise _damaged(rule, segmentationNode, error) from error
    return corrections


def removeRecord(segmentationNode: Any) -> None:
    """Remove the record of a segmentation from the scene, and those of segmentations that are no longer there."""
    for node in list(_records()):
        if node.GetNodeReference(_SEGMENTATION) in (None, segmentationNode):
            slicer.mrmlScene.RemoveNode(node)


def tagSegments(segmentationNode: Any, corrections: Corrections) -> Generator[None, None, None]:
    """Write on every segment which slices are confirmed, each with a checksum of its labels, for a file of its own.

    One segment a step: everything that shows segments reacts to each.
    """
    planes = [
        f"{taken.axis}-{taken.index}-{_checksum(composedPlane(corrections.slices, taken))}"
        for taken in corrections.slices
    ]
    text = ";".join([" ".join(map(str, corrections.shape)), quote(corrections.version, safe=""), " ".join(planes)])
    for segment in _segments(segmentationNode):
        if planes:
            segment.SetTag(CONFIRMED_TAG, text)
        elif segment.HasTag(CONFIRMED_TAG):  # removing what is not there would count as a change of the segment
            segment.RemoveTag(CONFIRMED_TAG)
        yield


def restoreFromTags(segmentationNode: Any, corrections: Corrections, reader: SliceReader) -> None:
    """Confirm again what the segments' tags say, in corrections that have no slice yet.

    The labels come from the segmentation itself; a slice that was changed after its confirmation is left out. What
    was predicted is not known then. Without tags nothing happens.

    Raises:
        ImageError: the tags are damaged or belong to a volume of another shape.
    """
    text = next(filter(None, map(_tag, _segments(segmentationNode))), "")
    if not text:
        return
    try:
        shapeText, version, planes = text.split(";")
        shape = tuple(int(length) for length in shapeText.split())
        fields = [plane.split("-") for plane in planes.split()]
        checksums = {(int(axis), int(index)): checksum for axis, index, checksum in fields}
    except ValueError as error:
        rule = _("The list of the confirmed slices of “{name}” must be readable as it was saved")
        raise _damaged(rule, segmentationNode, error) from error
    if shape != corrections.shape or any(axis > 2 or index >= shape[axis] for axis, index in checksums):
        raise ImageError(
            _("The confirmed slices of a segmentation must belong to its volume"),
            received=f"{shape}, {corrections.shape}",
            remedy=_("Choose the volume that this segmentation was made for"),
        )
    corrections.setBaseline(None, unquote(version))
    for (axis, index), checksum in checksums.items():
        labels = reader.slice(axis, index)
        if _checksum(labels) == checksum:
            corrections.slices += (LabelledSlice(axis, index, labels, version=corrections.version),)


def _records() -> Iterator[Any]:
    for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
        if node.GetAttribute("ModuleName") == MODULE_NAME:
            yield node


def _newRecord(segmentationNode: Any) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", MODULE_NAME)
    node.SetHideFromEditors(True)
    node.SetAttribute("ModuleName", MODULE_NAME)
    node.SetNodeReferenceID(_SEGMENTATION, segmentationNode.GetID())
    return node


def _setAside(node: Any, *names: str) -> None:
    number = 1
    while any(node.HasParameter(f"{name} kept {number}") for name in names):
        number += 1
    for name in names:
        if node.HasParameter(name):
            node.SetParameter(f"{name} kept {number}", node.GetParameter(name))
            node.UnsetParameter(name)


def _parsed(node: Any, name: str) -> Json:
    return loads(node.GetParameter(name))


def _segments(segmentationNode: Any) -> list[Any]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]


def _tag(segment: Any) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(CONFIRMED_TAG, value) else ""


def _checksum(labels: LabelArray) -> str:
    return f"{zlib.crc32(labels.tobytes()):08x}"


def _damaged(rule: str, segmentationNode: Any, error: Exception) -> ImageError:
    return ImageError(
        rule.format(name=segmentationNode.GetName()),
        received=error.received if isinstance(error, ImageError) else error,
        remedy=_("Nothing was deleted; open an earlier copy of the scene, or confirm the slices again"),
    )
