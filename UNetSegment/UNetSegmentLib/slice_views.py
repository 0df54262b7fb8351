"""Which slice of a volume a slice view shows, and how to show another.

A view shows slice ``index`` of ``axis`` where every point of its plane that lies in the volume is nearest to a
voxel of that slice, through whatever transforms the volume is under.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from unetseg.errors import ImageError

from .mrml_adapter import (
    Matrix,
    Points,
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
_SAMPLES = 48
"""Along each side of a plane, where a transform may bend it."""


def shownSlice(viewName: str, volumeNode: Any) -> tuple[int, int]:
    """Axis and index of the slice that a view shows.

    Raises:
        ImageError: the view is tilted against the volume or lies beside it, or a transform bends the slices.
    """
    shape = np.array(volumeShape(volumeNode))
    sliceToRas = _sliceToRas(_sliceNode(viewName))
    linear = isLinear(volumeNode)
    low, high = (_section if linear else _bentSection)(sliceToRas, volumeNode, shape)
    first = np.floor(low + 0.5 + _TIE_VOXEL).astype(int)
    last = np.ceil(high - 0.5 - _TIE_VOXEL).astype(int)
    axis = min(range(3), key=lambda axis: high[axis] - low[axis])
    if (low > high).any() or not 0 <= first[axis] < shape[axis]:
        raise ImageError(
            _("The {view} view shows no slice of the volume").format(view=viewName),
            remedy=_("Move its slider until you see the volume, or press “Align views”"),
        )
    if last[axis] > first[axis]:
        raise _tilted(viewName) if linear else _bent(viewName)
    return axis, int(first[axis])


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
    # The centre of the volume, which it now shows, may lie between two slices.
    alignViews(volumeNode)


def viewForAxis(volumeNode: Any, axis: int) -> str:
    """The view that shows slices of an axis. Raises ``ImageError`` where there is no view."""
    views = {shown: viewName for viewName, shown in _axes(volumeNode).items()}
    if axis not in views:
        raise _noView()
    return views[axis]


def sliceTitle(volumeNode: Any, axis: int, index: int) -> str:
    """As “Axial 35”: the closest anatomical plane, and the number counted from 1."""
    names = (_("Sagittal"), _("Coronal"), _("Axial"))
    plane = _match(_normals(volumeNode).T)[axis]
    return _("{plane} {number}").format(plane=names[plane], number=index + 1)


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


def _section(sliceToRas: Matrix, volumeNode: Any, shape: NDArray[np.int64]) -> tuple[Points, Points]:
    """Lowest and highest index along each axis on the part of a plane that lies in the volume; inf, -inf if none."""
    corners = np.stack(np.meshgrid(*((-0.5, length - 0.5) for length in shape), indexing="ij"), axis=-1)
    world = indexToWorld(volumeNode, corners.reshape(-1, 3))
    heights = applyMatrix(np.linalg.inv(sliceToRas), world)[:, 2].reshape(2, 2, 2)
    cuts = []
    for axis in range(3):
        (below, above), (start, stop) = (np.moveaxis(values, axis, 0) for values in (heights, corners))
        crossed = (below * above <= 0) & (below != above)
        way = (below[crossed] / (below - above)[crossed])[:, None]
        cuts.append(start[crossed] + way * (stop - start)[crossed])
    points = np.concatenate(cuts)
    return points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)


def _bentSection(sliceToRas: Matrix, volumeNode: Any, shape: NDArray[np.int64]) -> tuple[Points, Points]:
    """As ``_section`` through a non-linear transform: from samples, and how far the plane may stray between them."""
    points = _sampledPlane(sliceToRas, volumeNode, shape)
    inside = ((points >= -0.5) & (points <= shape - 0.5)).all(axis=-1)
    stray = np.zeros(3)
    for along in range(2):
        steps = np.abs(np.diff(points, axis=along))
        neighbours = inside.take(range(_SAMPLES - 1), along) & inside.take(range(1, _SAMPLES), along)
        stray = np.maximum(stray, steps[neighbours].max(axis=0, initial=0))
    low = points[inside].min(axis=0, initial=np.inf) - stray
    high = points[inside].max(axis=0, initial=-np.inf) + stray
    return np.maximum(low, -0.5), np.minimum(high, shape - 0.5)


def _sampledPlane(sliceToRas: Matrix, volumeNode: Any, shape: NDArray[np.int64]) -> NDArray[np.float64]:
    """Indices (d, h, w) of a grid of samples of a plane, across all of the volume; (n, n, 3)."""
    steps = np.linspace(-0.5, 0.5, 9)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    world = indexToWorld(volumeNode, grid * shape + (shape - 1) / 2)
    x, y, _height = applyMatrix(np.linalg.inv(sliceToRas), world).T
    plane = np.zeros((_SAMPLES, _SAMPLES, 3))
    plane[..., 0] = np.linspace(x.min(), x.max(), _SAMPLES)[:, None]
    plane[..., 1] = np.linspace(y.min(), y.max(), _SAMPLES)
    return worldToIndex(volumeNode, applyMatrix(sliceToRas, plane.reshape(-1, 3))).reshape(plane.shape)


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
