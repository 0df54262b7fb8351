"""Nodes for the tests: volumes of any orientation, and transforms to put them under."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

SPACING = (0.7, 1.1, 3.0)
ORIGIN = (31.0, -22.5, 17.25)
SIGNED_PERMUTATIONS = [
    np.eye(3)[list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
"""All 48 ways in which I, J, K can lie along R, A, S: half of them left-handed."""


def rotation(axis: tuple[float, float, float], degrees: float) -> NDArray[np.float64]:
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    return slicer.util.arrayFromVTKMatrix(transform.GetMatrix())[:3, :3]


OBLIQUE = rotation((1.0, -2.0, 3.0), 25.0)


def affine(directions: NDArray[np.float64], origin: tuple[float, float, float] = ORIGIN) -> NDArray[np.float64]:
    """IJK to RAS with the spacings of ``SPACING``, I having the smallest."""
    matrix = np.eye(4)
    matrix[:3, :3] = directions * SPACING
    matrix[:3, 3] = origin
    return matrix


def addVolume(array: NDArray[Any], ijkToRas: NDArray[np.float64] | None = None, name: str = "CT") -> Any:
    return slicer.util.addVolumeFromArray(array, affine(np.eye(3)) if ijkToRas is None else ijkToRas, name)


def addEmptyVolume(name: str = "MR", nodeClass: str = "vtkMRMLScalarVolumeNode") -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
    slicer.util.updateVolumeFromArray(node, np.zeros((4, 5, 6), np.uint8))
    return node


def addEmptySegmentation(volumeNode: Any) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    return node


def letterF() -> NDArray[np.int16]:
    """An F of 1000, with a serif towards the viewer, in a volume of 5 × 9 × 7 voxels that is darker elsewhere."""
    array = np.full((5, 9, 7), 50, dtype=np.int16)
    array[1:3, 1:8, 2] = 1000
    array[1:3, 1, 2:6] = 1000
    array[1:3, 4, 2:5] = 1000
    array[3, 7, 2] = 1000
    return array


def addLinearTransform(matrix: NDArray[np.float64] | None = None) -> Any:
    """Turned by 40° about an odd axis, and shifted, unless a matrix is given."""
    if matrix is None:
        matrix = np.eye(4)
        matrix[:3, :3] = rotation((2.0, 1.0, -1.0), 40.0)
        matrix[:3, 3] = (5.0, -8.0, 3.0)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def addBend(volumeNode: Any, along: tuple[int, ...] = (0, 1, 2), amount_mm: float = 3.0) -> Any:
    """A thin-plate spline through the volume that displaces along the given axes (I, J, K) of it."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    toRas = slicer.util.arrayFromVTKMatrix(matrix)
    size = np.array(volumeNode.GetImageData().GetDimensions())
    corners = np.array([*itertools.product((0.0, 1.0), repeat=3), (0.5, 0.5, 0.5), (0.3, 0.6, 0.4)]) * size
    positions = corners @ toRas[:3, :3].T + toRas[:3, 3]
    shifts = np.random.default_rng(1).normal(size=(len(corners), 3)) * amount_mm
    shifts[:, [axis for axis in range(3) if axis not in along]] = 0
    directions = toRas[:3, :3] / np.linalg.norm(toRas[:3, :3], axis=0)
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(_points(positions))
    spline.SetTargetLandmarks(_points(positions + shifts @ directions.T))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(spline)
    return node


def world(node: Any, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions in a node's own frame (RAS), through the transforms that it is under."""
    found = np.zeros_like(positions)
    for source, target in zip(positions, found, strict=True):
        node.TransformPointToWorld(source, target)
    return found


def sliceNode(view: str) -> Any:
    return slicer.mrmlScene.GetSingletonNode(view, "vtkMRMLSliceNode")


def sliceToRas(view: str) -> NDArray[np.float64]:
    return slicer.util.arrayFromVTKMatrix(sliceNode(view).GetSliceToRAS())


def setSliceToRas(view: str, matrix: NDArray[np.float64]) -> None:
    sliceNode(view).GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))
    sliceNode(view).UpdateMatrices()


def _points(positions: NDArray[np.float64]) -> Any:
    points = vtk.vtkPoints()
    points.SetDataTypeToDouble()
    for position in positions:
        points.InsertNextPoint(position)
    return points
