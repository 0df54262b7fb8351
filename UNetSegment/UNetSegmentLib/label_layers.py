"""The arrays in which Slicer stores segments, as seen from a volume's grid.

Slicer keeps segments that do not overlap together in one array, cropped to what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from unetseg.errors import ImageError
from unetseg.volume import LabelArray

from .mrml_adapter import applyMatrix, indexToRas, volumeGeometry, volumeShape

GRID_TOLERANCE_VOXEL = 0.1
"""Grids that differ by less have their voxels in the same places: headers are rounded."""

LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
CLOSED_SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


@dataclass(frozen=True, eq=False)
class Layer:
    """Segments in one array.

    Attributes:
        array: (d, h, w), a view of what is stored.
        offset: (3,), where in the volume its first voxel lies; it may lie outside.
        ranks: by stored value, the rank of a segment among those asked for, from 1 on; 0 for any other. The
            last entry is 0 and stands for all larger values.
    """

    array: NDArray[Any]
    offset: NDArray[np.int64]
    ranks: LabelArray


class LabelLayers:
    """Where the segments of a node lie on a volume's grid; resamples those of another grid, once a change."""

    def __init__(self, segmentationNode: Any, volumeNode: Any) -> None:
        self._segmentationNode = segmentationNode
        self._volumeNode = volumeNode
        self._resampled: Layer | None = None
        self._resampledState: Any = None

    def layers(self, segmentIDs: Sequence[str]) -> list[Layer]:
        """``segmentIDs`` in the order of their ranks. Empty segments lie in no layer.

        Raises:
            ImageError: the segmentation is made of surfaces.
        """
        images = self._images(segmentIDs)
        offsets = [self._offset(image) for image in images]
        if any(offset is None for offset in offsets):
            return [self._resample(segmentIDs, images)]
        return [
            Layer(_array(image), offset, _ranks(stored))
            for (image, stored), offset in zip(images.items(), offsets, strict=True)
        ]

    def _images(self, segmentIDs: Sequence[str]) -> dict[Any, dict[int, int]]:
        """Every image that holds some of the segments, with their ranks by the values that are stored in it."""
        images: dict[Any, dict[int, int]] = {}
        for rank, name in enumerate(segmentIDs, start=1):
            segment = self._segmentationNode.GetSegmentation().GetSegment(name)
            image = segment.GetRepresentation(LABELMAP)
            if image is None:
                raise madeOfSurfaces(self._segmentationNode)
            if not image.IsEmpty():
                images.setdefault(image, {})[segment.GetLabelValue()] = rank
        return images

    def _offset(self, image: Any) -> NDArray[np.int64] | None:
        """Where in the volume the first stored voxel lies; None where the grids differ."""
        if self._segmentationNode.GetParentTransformNode() != self._volumeNode.GetParentTransformNode():
            return None
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        i0, i1, j0, j1, k0, k1 = image.GetExtent()
        corners = np.array([(i, j, k) for k in (k0, k1) for j in (j0, j1) for i in (i0, i1)], dtype=float)
        world = applyMatrix(slicer.util.arrayFromVTKMatrix(matrix), corners)
        indices = applyMatrix(np.linalg.inv(indexToRas(self._volumeNode)), world)
        offset = np.round(indices[0])
        gaps = indices - offset - (corners - corners[0])[:, ::-1]
        return offset.astype(int) if np.abs(gaps).max() <= GRID_TOLERANCE_VOXEL else None

    def _resample(self, segmentIDs: Sequence[str], images: dict[Any, dict[int, int]]) -> Layer:
        transforms = [node.GetParentTransformNode() for node in (self._segmentationNode, self._volumeNode)]
        state = (
            list(segmentIDs),
            [(image, image.GetMTime(), stored) for image, stored in images.items()],
            [(transform, transform.GetTransformToWorldMTime()) for transform in transforms if transform is not None],
            volumeGeometry(self._volumeNode),
        )
        if self._resampled is None or state != self._resampledState:
            self._resampled, self._resampledState = self._merge(segmentIDs), state
        return self._resampled

    def _merge(self, segmentIDs: Sequence[str]) -> Layer:
        """All segments in one array in which their ranks are stored."""
        names, merged = vtk.vtkStringArray(), slicer.vtkOrientedImageData()
        for name in segmentIDs:
            names.InsertNextValue(name)
        slicer.vtkSlicerSegmentationsModuleLogic.GenerateMergedLabelmapInReferenceGeometry(
            self._segmentationNode,
            self._volumeNode,
            names,
            slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY,
            merged,
            None,
        )
        if merged.GetDimensions()[::-1] != volumeShape(self._volumeNode):
            raise ImageError(
                _("Slicer could not bring the segmentation to the volume's resolution"),
                received=_("“{name}”").format(name=self._segmentationNode.GetName()),
                remedy=_("Choose the volume that this segmentation was made for"),
            )
        ranks = _ranks({rank: rank for rank in range(1, len(segmentIDs) + 1)})
        return Layer(_array(merged), np.zeros(3, dtype=int), ranks)


def madeOfSurfaces(segmentationNode: Any) -> ImageError:
    """The error for a segmentation without voxels."""
    return ImageError(
        _("The segmentation must be made of voxels"),
        received=_("“{name}” is made of surfaces").format(name=segmentationNode.GetName()),
        remedy=_("Convert it under Segmentations, Representations: Binary labelmap, “Make source”"),
    )


def _array(image: Any) -> NDArray[Any]:
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def _ranks(stored: dict[int, int]) -> LabelArray:
    table = np.zeros(max(stored, default=0) + 2, dtype=np.uint8)
    for value, rank in stored.items():
        table[value] = rank
    return table
