"""Label arrays as segments of a segmentation node, and back.

A segment belongs to a label by its tags, whatever the user has renamed or recoloured; one without tags by its
name. All other segments of the node are foreign: they are neither read nor written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _

from unetseg.config import Label
from unetseg.errors import ImageError
from unetseg.volume import UNLABELLED, LabelArray

from .label_layers import CLOSED_SURFACE, LABELMAP, LabelLayers, madeOfSurfaces
from .mrml_adapter import volumeGeometry, volumeShape

VALUE_TAG = "UNetSegment.value"
STRUCTURE_TAG = "UNetSegment.structure"
"""The label's own name: another model's structure of the same value must not be taken for this one."""

_TERMINOLOGY_TAG = slicer.vtkSegment.GetTerminologyEntryTagName()


def segmentID(label: Label) -> str:
    """The id of the segment that is made for a label."""
    return f"UNetSegment_{label.value}"


def createSegmentation(volumeNode: Any, labels: Sequence[Label], name: str) -> Any:
    """A new segmentation node with an empty segment a label, ready for ``writeLabels``.

    Raises:
        ImageError: the volume cannot be segmented.
    """
    volumeGeometry(volumeNode)
    segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    prepareSegmentation(segmentationNode, volumeNode, labels)
    return segmentationNode


def prepareSegmentation(segmentationNode: Any, volumeNode: Any, labels: Sequence[Label]) -> None:
    """Put the node where the volume is, and add a segment for every label that has none.

    Names, colours and terminology that are there already stay.

    Raises:
        ImageError: the node is made of surfaces, or holds foreign segments that would move with the volume.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetSourceRepresentationName() != LABELMAP:
        raise madeOfSurfaces(segmentationNode)
    bound = _boundSegments(segmentation, labels)
    _followVolume(segmentationNode, volumeNode, foreign=segmentation.GetNumberOfSegments() > len(bound))
    _placeBeside(segmentationNode, volumeNode)
    segmentationNode.CreateDefaultDisplayNodes()
    for label in _foreground(labels):
        if label.value not in bound:
            _addSegment(segmentation, label)
    bindSegments(segmentationNode, labels)


def bindSegments(segmentationNode: Any, labels: Sequence[Label]) -> None:
    """Let the segments of the labels keep their values, however they are renamed and ordered from now on."""
    segmentation = segmentationNode.GetSegmentation()
    bound = _boundSegments(segmentation, labels)
    for label in _foreground(labels):
        if label.value in bound:
            segment = segmentation.GetSegment(bound[label.value])
            for tag, value in ((VALUE_TAG, str(label.value)), (STRUCTURE_TAG, _tagText(label.name))):
                if _tag(segment, tag) != value:
                    segment.SetTag(tag, value)


def labelsOf(segmentationNode: Any) -> tuple[Label, ...]:
    """Background and every segment, as the labels of a model still to be trained.

    A segment that has a value keeps it; the others get the smallest free ones, in their order.

    Raises:
        ImageError: there are more segments than values.
    """
    segments = _segments(segmentationNode.GetSegmentation())
    if len(segments) >= UNLABELLED:
        raise ImageError(
            _("A model can learn at most {count} structures").format(count=UNLABELLED - 1),
            received=len(segments),
            remedy=_("Remove segments, or choose another segmentation"),
        )
    taken: dict[int, str] = {}
    for name, segment in segments.items():
        if _value(segment):
            taken.setdefault(_value(segment), name)
    free = [value for value in range(1, UNLABELLED) if value not in taken]
    taken.update(zip(free, [name for name in segments if name not in taken.values()], strict=False))
    background = Label(0, _("Background"), (0, 0, 0))
    return (background, *(_label(value, segments[taken[value]]) for value in sorted(taken)))


def writeLabels(segmentationNode: Any, volumeNode: Any, labels: Sequence[Label], array: LabelArray) -> None:
    """Make the segments of ``labels`` what ``array`` (D, H, W) says; those that were deleted are made anew.

    Slicer drops a 3D surface, as it no longer fits; ``setShow3D`` makes it anew.

    Raises:
        ImageError: as ``prepareSegmentation``, or the array is not of the volume's size.
    """
    if array.shape != volumeShape(volumeNode):
        raise ImageError(
            _("The labels must have the size of the volume"),
            received=f"{array.shape}, {volumeShape(volumeNode)}",
            remedy=_("Choose the volume that was segmented, or segment this one again"),
        )
    prepareSegmentation(segmentationNode, volumeNode, labels)
    bound = _boundSegments(segmentationNode.GetSegmentation(), labels)
    segmentIDs = vtk.vtkStringArray()
    for value in range(1, max(bound, default=0) + 1):
        segmentIDs.InsertNextValue(bound.get(value, ""))
    labelmap = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    try:
        labelmap.CopyOrientation(volumeNode)
        labelmap.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        slicer.util.updateVolumeFromArray(labelmap, np.ascontiguousarray(array, dtype=np.uint8))
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labelmap, segmentationNode, segmentIDs)
    finally:
        slicer.mrmlScene.RemoveNode(labelmap)


def setShow3D(segmentationNode: Any, show: bool) -> None:
    """Make the surfaces of all segments, which takes seconds for a large volume, or drop those that were made."""
    if show:
        segmentationNode.CreateClosedSurfaceRepresentation()
    elif segmentationNode.GetSegmentation().GetSourceRepresentationName() != CLOSED_SURFACE:
        segmentationNode.RemoveClosedSurfaceRepresentation()


class LabelReader:
    """Reads the segments of ``labels`` on the volume's grid, always as they are now.

    Segments on that grid are read where they are stored, about as fast as they can be copied. Others, such as
    those of a loaded file of another resolution, are resampled once after every change. Where segments
    overlap, the later one in the segmentation counts.
    """

    def __init__(self, segmentationNode: Any, volumeNode: Any, labels: Sequence[Label]) -> None:
        """Raises ``ImageError`` where the volume cannot be segmented."""
        self.shape = volumeGeometry(volumeNode).shape
        self._segmentation = segmentationNode.GetSegmentation()
        self._layers = LabelLayers(segmentationNode, volumeNode)
        self._labels = tuple(labels)

    def slab(self, start: int, stop: int) -> LabelArray:
        """Slices ``start`` … ``stop - 1`` along D, (stop - start, H, W). Raises ``ImageError`` as ``all``."""
        return self._read(np.array([start, 0, 0]), np.array([stop, *self.shape[1:]]))

    def slice(self, axis: int, index: int) -> LabelArray:
        """One slice, 2D, its axes in the order of D, H, W. Raises ``ImageError`` as ``all``."""
        start, stop = np.zeros(3, dtype=int), np.array(self.shape)
        start[axis], stop[axis] = index, index + 1
        return self._read(start, stop).squeeze(axis)

    def all(self) -> LabelArray:
        """The whole volume, (D, H, W).

        Raises:
            ImageError: the segmentation is made of surfaces.
        """
        return self._read(np.zeros(3, dtype=int), np.array(self.shape))

    def _read(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> LabelArray:
        bound = _boundSegments(self._segmentation, self._labels)
        valueOf = {name: value for value, name in bound.items()}
        names = [name for name in _segments(self._segmentation) if name in valueOf]
        values = np.array([0, *(valueOf[name] for name in names)], dtype=np.uint8)
        layers = self._layers.layers(names)
        overlap = len(layers) > 1
        result = np.zeros(stop - start, dtype=np.uint8)
        for layer in layers:
            low = np.maximum(start, layer.offset)
            high = np.minimum(stop, layer.offset + layer.array.shape)
            if (low < high).all():
                stored = layer.array[_box(low - layer.offset, high - layer.offset)]
                target = result[_box(low - start, high - start)]
                # Where layers overlap, the highest rank counts.
                table = layer.ranks if overlap else values[layer.ranks]
                # Slice by slice: numpy turns what it looks up into 64-bit numbers first.
                for into, source in zip(target, stored, strict=True):
                    np.maximum(into, np.take(table, source, mode="clip"), out=into)
        return values[result] if overlap else result


def _foreground(labels: Sequence[Label]) -> Iterator[Label]:
    return (label for label in labels if label.value != 0)


def _segments(segmentation: Any) -> dict[str, Any]:
    """By id, in their order."""
    return {name: segmentation.GetSegment(name) for name in segmentation.GetSegmentIDs()}


def _boundSegments(segmentation: Any, labels: Sequence[Label]) -> dict[int, str]:
    """The ids of the labels' segments by label value; labels without one are left out."""
    left, bound = _segments(segmentation), {}
    for belongs in (_hasTags, _hasName):
        for label in _foreground(labels):
            if label.value not in bound:
                found = next((name for name, segment in left.items() if belongs(segment, label)), None)
                if found is not None:
                    bound[label.value] = found
                    del left[found]
    return bound


def _hasTags(segment: Any, label: Label) -> bool:
    named = not _tag(segment, STRUCTURE_TAG) or _hasName(segment, label)
    return named and _value(segment) == label.value


def _hasName(segment: Any, label: Label) -> bool:
    return segment.GetName() == label.name or _tag(segment, STRUCTURE_TAG) == _tagText(label.name)


def _addSegment(segmentation: Any, label: Label) -> None:
    name = segmentation.AddEmptySegment(segmentID(label), label.name, [part / 255 for part in label.color])
    segment = segmentation.GetSegment(name)
    if label.terminology:
        segment.SetTag(_TERMINOLOGY_TAG, label.terminology)
    else:
        segment.RemoveTag(_TERMINOLOGY_TAG)


def _label(value: int, segment: Any) -> Label:
    red, green, blue = (round(part * 255) for part in segment.GetColor())
    return Label(value, segment.GetName(), (red, green, blue), _tag(segment, _TERMINOLOGY_TAG))


def _value(segment: Any) -> int:
    """The label value that it carries; 0 where it carries none that a label can have."""
    text = _tag(segment, VALUE_TAG)
    return int(text) if text.isdecimal() and int(text) < UNLABELLED else 0


def _tag(segment: Any, name: str) -> str:
    """Its value; empty where there is none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def _tagText(text: str) -> str:
    # In .seg.nrrd files tags are separated by this.
    return text.replace("|", "/")


def _followVolume(segmentationNode: Any, volumeNode: Any, foreign: bool) -> None:
    if segmentationNode.GetParentTransformNode() != volumeNode.GetParentTransformNode():
        if foreign:
            raise ImageError(
                _("The segmentation must be under the same transform as the volume"),
                received=_("“{name}” holds other segments, which would move").format(name=segmentationNode.GetName()),
                remedy=_("Choose to create a new segmentation, or put both under the same transform"),
            )
        segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)


def _placeBeside(segmentationNode: Any, volumeNode: Any) -> None:
    """In the subject hierarchy, unless the user has given it a place of its own."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item, volumeItem = (hierarchy.GetItemByDataNode(node) for node in (segmentationNode, volumeNode))
    if item and volumeItem and hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID():
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))


def _box(start: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(first, last) for first, last in zip(start, stop, strict=True))
