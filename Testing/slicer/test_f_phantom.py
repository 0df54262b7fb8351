"""An F, which looks different from every side, on its way from the volume through the files to the segmentation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import slicer
import vtk
from nodes import (
    OBLIQUE,
    SIGNED_PERMUTATIONS,
    addBend,
    addLinearTransform,
    addVolume,
    affine,
    letterF,
    setSliceToRas,
    sliceNode,
    sliceToRas,
    world,
)
from vtk.util.numpy_support import vtk_to_numpy

from unetseg.array_file import load_array, save_array
from unetseg.config import Label
from unetseg.errors import ImageError
from UNetSegmentLib.mrml_adapter import volumeArray, volumeGeometry
from UNetSegmentLib.segmentation_adapter import LabelReader, createSegmentation, writeLabels
from UNetSegmentLib.slice_views import VIEWS, alignViews, jumpToSlice, shownSlice

pytestmark = pytest.mark.usefixtures("scene")

LABELS = (Label(0, "Background", (0, 0, 0)), Label(1, "F", (255, 0, 0)))
SHAPE = letterF().shape
GRIDS = [
    pytest.param(tilt @ directions, id=f"{name} {number}")
    for name, tilt in (("straight", np.eye(3)), ("oblique", OBLIQUE))
    for number, directions in enumerate(SIGNED_PERMUTATIONS)
]
TRANSFORMS = [
    pytest.param(lambda node: None, id="untransformed"),
    pytest.param(lambda node: addLinearTransform(), id="linear"),
    pytest.param(lambda node: addBend(node, amount_mm=1.0), id="bent"),
]


def transformed(array, directions, makeTransform):
    node = addVolume(array, affine(directions))
    transform = makeTransform(node)
    node.SetAndObserveTransformNodeID(None if transform is None else transform.GetID())
    return node


def test_the_letter_looks_different_from_every_side():
    letter = letterF()
    looks = set()
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = letter.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
            looks.add((turned.shape, turned.tobytes()))
    assert len(looks) == 48


@pytest.mark.parametrize("makeTransform", TRANSFORMS)
@pytest.mark.parametrize("directions", GRIDS)
def test_it_comes_back_voxel_by_voxel_and_lies_where_it_lay(tmp_path, directions, makeTransform):
    node = transformed(letterF(), directions, makeTransform)
    save_array(tmp_path / "image.npz", volumeArray(node), volumeGeometry(node))
    image, geometry = load_array(tmp_path / "image.npz")
    labels = (image > 500).astype(np.uint8)
    save_array(tmp_path / "labels.npz", labels, geometry)
    returned, returnedGeometry = load_array(tmp_path / "labels.npz")
    assert returnedGeometry == volumeGeometry(node)

    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, returned)
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), letterF() == 1000)
    assert np.allclose(worldOfSegment(segmentation), worldOfLetter(node), atol=1e-6)


def worldOfLetter(node) -> np.ndarray:
    """Where the volume shows the F, in the order of its voxels."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    toRas = slicer.util.arrayFromVTKMatrix(matrix)
    ijk = np.argwhere(letterF() == 1000)[:, ::-1]
    return world(node, ijk @ toRas[:3, :3].T + toRas[:3, 3])


def worldOfSegment(segmentation) -> np.ndarray:
    """Where the segment's stored voxels lie, in their order."""
    image = segmentation.GetSegmentation().GetSegment("UNetSegment_1").GetRepresentation("Binary labelmap")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    toRas = slicer.util.arrayFromVTKMatrix(matrix)
    stored = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    ijk = np.argwhere(stored)[:, ::-1] + image.GetExtent()[::2]
    return world(segmentation, ijk @ toRas[:3, :3].T + toRas[:3, 3])


# ---- what a view shows: asked of Slicer's own pipeline, which draws the view ----


@pytest.mark.parametrize("makeTransform", TRANSFORMS[:2])
@pytest.mark.parametrize("directions", GRIDS)
def test_the_slice_of_a_view_is_what_slicer_draws(directions, makeTransform):
    node = transformed(numbered(), directions, makeTransform)
    draw(node)
    for view in VIEWS:
        resetView(view, node)
        shown = shownOrRefused(view, node)
        if isinstance(shown, ImageError):
            assert "tilted" in shown.rule
            # Finely enough to see a corner of another slice.
            drawn = drawnVoxels(view, node, pixels=160)
            assert not any(drawn == voxelsOf(axis, index) for axis in range(3) for index in range(SHAPE[axis]))
        else:
            assert drawnVoxels(view, node) == voxelsOf(*shown)
    alignViews(node)
    for axis, index in ((0, 0), (1, 8), (2, 3)):
        view = jumpToSlice(node, axis, index)
        assert shownSlice(view, node) == (axis, index)
        assert drawnVoxels(view, node) == voxelsOf(axis, index)
        sliceNode(view).SetSliceOffset(sliceNode(view).GetSliceOffset() + 0.3)
        axis, index = shownSlice(view, node)
        assert drawnVoxels(view, node) == voxelsOf(axis, index)


@pytest.mark.parametrize("directions", GRIDS[::4])
def test_bent_within_its_slices_the_slice_is_still_what_slicer_draws(directions):
    node = transformed(numbered(), directions, lambda node: addBend(node, along=(0, 1), amount_mm=0.4))
    draw(node)
    alignViews(node)
    view = jumpToSlice(node, 0, 3)
    assert shownSlice(view, node) == (0, 3)
    assert drawnVoxels(view, node) == voxelsOf(0, 3)
    for axis in (1, 2):
        with pytest.raises(ImageError, match="non-linear"):
            shownSlice(jumpToSlice(node, axis, 3), node)


def numbered() -> np.ndarray:
    """A number of its own for each voxel, from 1 on; 0 is drawn beside the volume."""
    return np.arange(1, np.prod(SHAPE) + 1, dtype=np.int16).reshape(SHAPE)


def voxelsOf(axis, index) -> set[int]:
    return set(numbered().take(index, axis).ravel().tolist())


def draw(node) -> None:
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetInterpolate(False)
    slicer.util.setSliceViewerLayers(background=node)


def resetView(view, node) -> None:
    """Straight through the middle of the volume."""
    sliceNode(view).SetOrientation(dict(zip(VIEWS, ("Axial", "Coronal", "Sagittal"), strict=True))[view])
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    sliceNode(view).JumpSliceByCentering(*(bounds[::2] + bounds[1::2]) / 2)


def shownOrRefused(view, node) -> tuple[int, int] | ImageError:
    try:
        return shownSlice(view, node)
    except ImageError as error:
        return error


def drawnVoxels(view, node, pixels=40) -> set[int]:
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    centre, size = (bounds[::2] + bounds[1::2]) / 2, np.linalg.norm(bounds[1::2] - bounds[::2])
    matrix = sliceToRas(view)
    matrix[:3, 3] = centre + matrix[:3, 2] * ((matrix[:3, 3] - centre) @ matrix[:3, 2])
    setSliceToRas(view, matrix)
    sliceNode(view).SetDimensions(pixels, pixels, 1)
    sliceNode(view).SetFieldOfView(size, size, 1)
    reslice = slicer.app.layoutManager().sliceWidget(view).sliceLogic().GetBackgroundLayer().GetReslice()
    reslice.Update()
    values = set(vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars()).tolist())
    return values - {0}
