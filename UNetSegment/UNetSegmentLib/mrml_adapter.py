"""Volume and region nodes as arrays, grids and boxes.

Slicer counts I, J, K and measures in RAS; everything else here counts D, H, W (K, J, I) and measures in LPS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from unetseg.errors import ImageError
from unetseg.messages import Box
from unetseg.volume import Geometry, Shape

Points = NDArray[np.float64]
"""(n, 3)."""
Matrix = NDArray[np.float64]
"""4 × 4, for homogeneous columns."""

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSED = np.eye(4)[[2, 1, 0, 3]]
_ROI_SAMPLES = 9


def volumeArray(volumeNode: Any) -> NDArray[Any]:
    """The voxels, (D, H, W): a view, which follows the node.

    Raises:
        ImageError: the node holds no voxels, or several numbers in each (colours, vectors, a series in time).
    """
    volumeShape(volumeNode)
    return slicer.util.arrayFromVolume(volumeNode)


def volumeShape(volumeNode: Any) -> Shape:
    """Voxels along D, H, W. Raises ``ImageError`` as ``volumeArray``."""
    if not volumeNode.IsA("vtkMRMLScalarVolumeNode"):
        raise _notOneImage(volumeNode)
    image = volumeNode.GetImageData()
    if image is None or min(image.GetDimensions()) < 1 or image.GetPointData().GetScalars() is None:
        raise ImageError(
            _("The volume must have voxels"),
            received=_("“{name}” is empty").format(name=volumeNode.GetName()),
            remedy=_("Load the images again, or choose another volume"),
        )
    if image.GetNumberOfScalarComponents() != 1:
        raise _notOneImage(volumeNode)
    i, j, k = image.GetDimensions()
    return k, j, i


def volumeGeometry(volumeNode: Any) -> Geometry:
    """The volume's own grid; transforms that the volume lies under do not count.

    Raises:
        ImageError: as ``volumeArray``, or the grid is sheared.
    """
    shape = volumeShape(volumeNode)
    return _geometry(shape, indexToRas(volumeNode), volumeNode)


def channelGeometry(volumeNode: Any, firstVolumeNode: Any) -> Geometry:
    """The volume's grid as seen from the first volume, through the transforms of both.

    Raises:
        ImageError: as ``volumeGeometry``, or what lies between the two is not a linear transform, or shears.
    """
    shape = volumeShape(volumeNode)
    source, target = volumeNode.GetParentTransformNode(), firstVolumeNode.GetParentTransformNode()
    between = vtk.vtkMatrix4x4()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, between):
        raise ImageError(
            _("The volumes of a case may be shifted and turned against each other, but not bent"),
            received=_("a non-linear transform between “{first}” and “{name}”").format(
                first=firstVolumeNode.GetName(), name=volumeNode.GetName()
            ),
            remedy=_("Harden the transform under Transforms, or put both volumes under the same transform"),
        )
    return _geometry(shape, slicer.util.arrayFromVTKMatrix(between) @ indexToRas(volumeNode), volumeNode)


def regionBox(roiNode: Any, volumeNode: Any) -> Box:
    """The voxels whose centres lie in the region of interest: (start, stop) along D, H, W, within the volume.

    A region that is turned against the volume gives the smallest box around it.

    Raises:
        ImageError: as ``volumeArray``, or no voxel lies in the region.
    """
    shape = volumeShape(volumeNode)
    # The faces bend with a non-linear transform, so that the corners alone would not do.
    steps = np.linspace(-0.5, 0.5, _ROI_SAMPLES)
    unit = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    objectToWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())
    indices = worldToIndex(volumeNode, applyMatrix(objectToWorld, unit * np.array(roiNode.GetSize())))
    start = np.maximum(np.ceil(indices.min(axis=0) - 1e-6), 0).astype(int)
    stop = np.minimum(np.floor(indices.max(axis=0) + 1e-6) + 1, shape).astype(int)
    if (stop <= start).any():
        raise ImageError(
            _("The region of interest must contain a part of the volume"),
            received=_("“{region}” lies beside “{name}”").format(region=roiNode.GetName(), name=volumeNode.GetName()),
            remedy=_("Drag the region onto the volume, or choose none to segment all of it"),
        )
    (d0, h0, w0), (d1, h1, w1) = start.tolist(), stop.tolist()
    return (d0, h0, w0), (d1, h1, w1)


def isLinear(volumeNode: Any) -> bool:
    """True where no transform that the volume is under can bend it."""
    transformNode = volumeNode.GetParentTransformNode()
    return transformNode is None or bool(transformNode.IsTransformToWorldLinear())


def indexToRas(volumeNode: Any) -> Matrix:
    """From (d, h, w, 1) to RAS millimetres before any transform."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix) @ _REVERSED


def worldToIndex(volumeNode: Any, points: Points) -> Points:
    """Where world positions (RAS) lie in the volume, through its transforms: (d, h, w), not rounded."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, volumeNode.GetParentTransformNode(), transform)
    return applyMatrix(np.linalg.inv(indexToRas(volumeNode)), _transformed(transform, points))


def indexToWorld(volumeNode: Any, indices: Points) -> Points:
    """Where places (d, h, w) of the volume lie in the world (RAS), through its transforms."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volumeNode.GetParentTransformNode(), None, transform)
    return _transformed(transform, applyMatrix(indexToRas(volumeNode), indices))


def applyMatrix(matrix: Matrix, points: Points) -> Points:
    """Each row of ``points`` through a matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _transformed(transform: Any, points: Points) -> Points:
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    target.SetDataTypeToDouble()
    source.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=np.float64), deep=True))
    transform.TransformPoints(source, target)
    return vtk_to_numpy(target.GetData()).copy()


def _geometry(shape: Shape, toRas: Matrix, volumeNode: Any) -> Geometry:
    toLps = _RAS_TO_LPS @ toRas
    spacing = np.linalg.norm(toLps[:3, :3], axis=0)
    direction = toLps[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ImageError(
            _("The slices of a volume must be stacked at right angles"),
            received=_("“{name}” is sheared, as by a tilted gantry or an affine registration").format(
                name=volumeNode.GetName()
            ),
            remedy=_("Resample it, for example with the module Crop Volume and “Interpolated cropping”"),
        )
    first, second, third = (tuple(row) for row in direction.tolist())
    return Geometry(shape, tuple(spacing.tolist()), tuple(toLps[:3, 3].tolist()), (first, second, third))


def _notOneImage(volumeNode: Any) -> ImageError:
    return ImageError(
        _("The volume must have one grey value in each voxel"),
        received=_("“{name}” holds colours, vectors or a series in time").format(name=volumeNode.GetName()),
        remedy=_("Choose a frame of the series, or convert the volume with the module Vector to Scalar Volume"),
    )
