"""Which slice of a volume a slice view shows, and how to show another.

A view shows slice ``index`` of ``axis`` where its plane passes between the two faces of that slice everywhere in
the volume, through whatever transforms the volume is under: then it draws each voxel of the slice and no other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from unetseg.errors import ImageError

from .mrml_adapter import (
    Matrix,
    applyMatrix,
    indexToRas,
    indexToWorld,
    isLinear,
    volumeGeometry,
    volumeShape,
    worldToIndex,
)

VIEWS = ("Red", "Green", "Yellow")

_TIE_VOXEL = 1e-4
"""Halfway between two slices the higher one counts, whatever the rounding errors."""
_ACROSS = np.linspace(-0.5, 0.5, 65)
"""Where across its length and its width a slice is looked at; the corners alone where nothing bends it."""


def shownSlice(viewName: str, volumeNode: Any) -> tuple[int, int]:
    """Axis and index of the slice that a view shows.

    Raises:
        ImageError: the view is tilted against the volume or lies beside it, or a transform bends the slices.
    """
    sliceToRas = _sliceToRas(_sliceNode(viewName))
    axis = int(np.argmax(np.abs(sliceToRas[:3, 2] @ _normals(volumeNode))))
    count = volumeShape(volumeNode)[axis]
    column = _heights(sliceToRas, volumeNode, axis, np.arange(count + 1) - 0.5, np.zeros(1)).ravel()
    upwards = 1 if column[-1] > column[0] else -1
    tie = _TIE_VOXEL * abs(column[-1] - column[0]) / count
    index = int(np.count_nonzero(upwards * column[:-1] <= tie)) - 1

    levels = np.array([0, index, index + 1, count]).clip(0) - 0.5
    linear = isLinear(volumeNode)
    across = _ACROSS[[0, -1]] if linear else _ACROSS
    first, below, above, last = upwards * _heights(sliceToRas, volumeNode, axis, levels, across)
    if first.min() > tie or last.max() <= tie:
        raise _beside(viewName)
    if below.max() > tie or above.min() < -tie:
        raise _tilted(viewName) if linear else _bent(viewName)
    return axis, index


def jumpToSlice(volumeNode: Any, axis: int, index: int) -> str:
    """Show a slice in the view whose plane that is, turned along the volume if it is tilted; returns its name.

    What the view is centred on stays, apart from the slice.

    Raises:
        ImageError: the volume has no such slice, or there is no view.
    """
    if not 0 <= index < volumeShape(volumeNode)[axis]:
        raise ImageError(
            _("The volume must have the slice to show"),
            received=_("slice {number} of {count}").format(number=index + 1, count=volumeShape(volumeNode)[axis]),
            remedy=_("Choose the volume that the slice was confirmed on"),
        )
    viewName = viewForAxis(volumeNode, axis)
    sliceNode = _sliceNode(viewName)
    _move(sliceNode, volumeNode, axis, index)
    if not _shows(viewName, volumeNode, axis, index):
        _turn(sliceNode, volumeNode, axis)
        _move(sliceNode, volumeNode, axis, index)
    return viewName


def alignViews(volumeNode: Any) -> None:
    """Turn every view along the axis of the volume that it is closest to, each to another, onto a slice."""
    for viewName, axis in _axes(volumeNode).items():
        sliceNode = _sliceNode(viewName)
        _turn(sliceNode, volumeNode, axis)
        centre = worldToIndex(volumeNode, _sliceToRas(sliceNode)[None, :3, 3])[0]
        index = int(np.clip(np.round(centre[axis]), 0, volumeShape(volumeNode)[axis] - 1))
        _move(sliceNode, volumeNode, axis, index)


def showVolume(volumeNode: Any) -> None:
    """Show a volume in all views, whole and along its slices."""
    slicer.util.setSliceViewerLayers(background=volumeNode)
    alignViews(volumeNode)
    slicer.util.setSliceViewerLayers(fit=True)


def viewForAxis(volumeNode: Any, axis: int) -> str:
    """The view that shows slices of an axis. Raises ``ImageError`` where there is no view."""
    views = {shown: viewName for viewName, shown in _axes(volumeNode).items()}
    if axis not in views:
        raise _noView()
    return views[axis]


def sliceTitles(volumeNode: Any, planes: Sequence[tuple[int, int]]) -> list[str]:
    """Of each slice (axis, index), as “Axial 35”: the closest anatomical plane, and the number counted from 1."""
    names = (_("Sagittal"), _("Coronal"), _("Axial"))
    closest = _match(_normals(volumeNode).T)
    return [_("{plane} {number}").format(plane=names[closest[axis]], number=index + 1) for axis, index in planes]


def fitRegion(roiNode: Any, volumeNode: Any) -> None:
    """Make a region of interest cover the volume, under the same transform."""
    geometry = volumeGeometry(volumeNode)
    size = np.array(geometry.shape) * geometry.spacing_mm
    toRas = indexToRas(volumeNode)
    matrix = np.eye(4)
    matrix[:3, :3] = toRas[:3, :3] / np.array(geometry.spacing_mm)
    # A region is never mirrored, and needs not be: its two sides are alike.
    matrix[:3, 0] *= np.sign(np.linalg.det(matrix[:3, :3]))
    matrix[:3, 3] = applyMatrix(toRas, (np.array(geometry.shape) - 1) / 2)
    roiNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    roiNode.GetObjectToNodeMatrix().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))
    roiNode.SetSize(*size)


def _heights(
    sliceToRas: Matrix, volumeNode: Any, axis: int, levels: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far in millimetres places of the volume lie before a view's plane, through all transforms.

    Args:
        sliceToRas: of the view.
        volumeNode: the volume.
        axis: of the volume.
        levels: (n,) indices along this axis, halves between slices.
        across: (m,) places along both other axes, from -0.5, one outer face of the volume, to 0.5, the other.

    Returns:
        (n, m, m).
    """
    places = [across * length + (length - 1) / 2 for length in volumeShape(volumeNode)]
    places[axis] = levels
    indices = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)
    world = indexToWorld(volumeNode, indices.reshape(-1, 3))
    heights = applyMatrix(np.linalg.inv(sliceToRas), world)[:, 2].reshape(indices.shape[:3])
    return np.moveaxis(heights, axis, 0)


def _shows(viewName: str, volumeNode: Any, axis: int, index: int) -> bool:
    try:
        return shownSlice(viewName, volumeNode) == (axis, index)
    except ImageError:
        return False


def _move(sliceNode: Any, volumeNode: Any, axis: int, index: int) -> None:
    """Move a view along its normal onto a slice."""
    centre = worldToIndex(volumeNode, _sliceToRas(sliceNode)[None, :3, 3])
    # Beside the volume a transform may lead anywhere.
    centre = np.clip(centre, 0, np.array(volumeShape(volumeNode)) - 1)
    centre[0, axis] = index
    sliceNode.JumpSliceByOffsetting(*indexToWorld(volumeNode, centre)[0])


def _turn(sliceNode: Any, volumeNode: Any, axis: int) -> None:
    """Turn a view into the plane of an axis' slices, the way that is closest to how it lies now."""
    directions, matrix = _directions(volumeNode), _sliceToRas(sliceNode)
    right, up, normal = matrix[:3, :3].T
    turnedNormal = _alike(_normals(volumeNode)[:, axis], normal)
    inPlane = [directions[:, other] for other in range(3) if other != axis]
    turnedRight = _alike(max(inPlane, key=lambda direction: abs(direction @ right)), right)
    turnedUp = _alike(np.cross(turnedNormal, turnedRight), up)
    matrix[:3, :3] = np.stack([turnedRight, turnedUp, turnedNormal], axis=1)
    sliceNode.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))
    sliceNode.UpdateMatrices()


def _alike(direction: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return -direction if direction @ other < 0 else direction


def _axes(volumeNode: Any) -> dict[str, int]:
    """For each view the axis of the volume that its normal is closest to, each axis once."""
    views = [viewName for viewName in VIEWS if _findSliceNode(viewName) is not None]
    normals = np.array([_sliceToRas(_sliceNode(viewName))[:3, 2] for viewName in views]).reshape(-1, 3)
    return dict(zip(views, _match(normals @ _normals(volumeNode)), strict=True))


def _match(cosines: NDArray[np.float64]) -> tuple[int, ...]:
    """For each row another column, so that the directions are as parallel as they can be."""
    rows = range(len(cosines))
    return max(itertools.permutations(range(3), len(rows)), key=lambda columns: np.abs(cosines[rows, columns]).sum())


def _directions(volumeNode: Any) -> NDArray[np.float64]:
    """Unit vectors in RAS, one a column, in which D, H and W grow at the volume's centre."""
    centre = (np.array(volumeShape(volumeNode)) - 1) / 2
    ends = indexToWorld(volumeNode, centre + np.concatenate([np.eye(3), -np.eye(3)]) / 2)
    directions = (ends[:3] - ends[3:]).T
    return directions / np.linalg.norm(directions, axis=0)


def _normals(volumeNode: Any) -> NDArray[np.float64]:
    """Unit vectors in RAS, one a column, at right angles to the slices of D, H and W."""
    d, h, w = _directions(volumeNode).T
    normals = np.stack([np.cross(h, w), np.cross(w, d), np.cross(d, h)], axis=1)
    return normals / np.linalg.norm(normals, axis=0)


def _findSliceNode(viewName: str) -> Any:
    return slicer.mrmlScene.GetSingletonNode(viewName, "vtkMRMLSliceNode")


def _sliceNode(viewName: str) -> Any:
    sliceNode = _findSliceNode(viewName)
    if sliceNode is None:
        raise _noView()
    return sliceNode


def _sliceToRas(sliceNode: Any) -> Matrix:
    return slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())


def _noView() -> ImageError:
    return ImageError(
        _("The layout must have a red, a green and a yellow slice view"),
        remedy=_("Choose the layout “Four-Up” in the toolbar"),
    )


def _beside(viewName: str) -> ImageError:
    return ImageError(
        _("The {view} view shows no slice of the volume").format(view=viewName),
        remedy=_("Move its slider until you see the volume, or press “Align views”"),
    )


def _tilted(viewName: str) -> ImageError:
    return ImageError(
        _("The {view} view is tilted against the volume and cuts through several slices").format(view=viewName),
        remedy=_("Press “Align views”"),
    )


def _bent(viewName: str) -> ImageError:
    return ImageError(
        _("A non-linear transform bends the slices of this volume, and the {view} view cuts through several").format(
            view=viewName
        ),
        remedy=_("Press “Align views”; if that does not help, take the volume out of the transform to correct it"),
    )
