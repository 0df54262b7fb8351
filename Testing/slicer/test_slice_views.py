from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from nodes import (
    OBLIQUE,
    addBend,
    addLinearTransform,
    addVolume,
    affine,
    rotation,
    setSliceToRas,
    sliceNode,
    sliceToRas,
)
from vtk.util.numpy_support import numpy_to_vtk

from unetseg.errors import ImageError
from UNetSegmentLib.mrml_adapter import indexToWorld, worldToIndex
from UNetSegmentLib.slice_views import (
    VIEWS,
    alignViews,
    jumpToSlice,
    shownSlice,
    showVolume,
    sliceTitles,
    viewForAxis,
)

pytestmark = pytest.mark.usefixtures("scene")

SHAPE = (4, 6, 9)
ORIENTATIONS = dict(zip(VIEWS, ("Axial", "Coronal", "Sagittal"), strict=True))


@pytest.fixture(autouse=True)
def resetViews(scene):
    for view, orientation in ORIENTATIONS.items():
        setSliceToRas(view, np.eye(4))
        sliceNode(view).SetOrientation(orientation)


def volume(directions=None, shape=SHAPE):
    return addVolume(np.zeros(shape, np.int16), affine(np.eye(3) if directions is None else directions))


def tilt(view, degrees: float, axis=(1.0, 2.0, 0.5)) -> None:
    matrix = sliceToRas(view)
    matrix[:3, :3] = rotation(axis, degrees) @ matrix[:3, :3]
    setSliceToRas(view, matrix)


def test_offsets_of_a_straight_volume_by_hand():
    # Voxels: R 31 + 0.7 i, A -22.5 + 1.1 j, S 17.25 + 3 k.
    node = volume()
    for view, offset, expected in (
        ("Red", 17.25, (0, 0)),
        ("Red", 15.8, (0, 0)),
        ("Red", 18.7, (0, 0)),
        ("Red", 18.8, (0, 1)),
        ("Red", 27.7, (0, 3)),
        ("Green", -22.5 + 1.1 * 4.49, (1, 4)),
        ("Green", -22.5 + 1.1 * 4.51, (1, 5)),
        # A sagittal view is seen from the left: its offset counts towards L.
        ("Yellow", -(31 + 0.7 * 8), (2, 8)),
    ):
        sliceNode(view).SetSliceOffset(offset)
        assert shownSlice(view, node) == expected, (view, offset)


def test_halfway_between_slices_the_higher_counts():
    node = volume()
    for noise in (-1e-9, 0, 1e-9):
        sliceNode("Red").SetSliceOffset(17.25 + 1.5 + noise)
        assert shownSlice("Red", node) == (0, 1)


@pytest.mark.parametrize("offset", [17.25 - 1.6, 17.25 + 9 + 1.6])
def test_view_beside_the_volume_is_refused_in_words(offset):
    sliceNode("Red").SetSliceOffset(offset)
    with pytest.raises(ImageError, match=r"Red view shows no slice of the volume.*slider"):
        shownSlice("Red", volume())


def test_tilted_view_is_refused_until_views_are_aligned():
    node = volume(shape=(12, 16, 20))
    showVolume(node)
    for view in VIEWS:
        tilt(view, 20)
        with pytest.raises(ImageError, match=f"{view} view is tilted.*Press “Align views”"):
            shownSlice(view, node)
    alignViews(node)
    assert {shownSlice(view, node)[0] for view in VIEWS} == {0, 1, 2}


def test_tilt_counts_where_it_reaches_another_slice_within_the_volume():
    # Turned about A through the centre of slice 1: 9 voxels of 0.7 mm reach 3.15 mm to each side, to 2.8 mm at the
    # outer voxels' centres; a slice is left at 1.5 mm.
    node = volume()
    showVolume(node)
    jumpToSlice(node, 0, 1)
    limit = np.degrees(np.arctan(1.5 / 3.15))
    tilt("Red", limit - 0.5, (0, 1, 0))
    assert shownSlice("Red", node) == (0, 1)
    tilt("Red", 1.0, (0, 1, 0))
    with pytest.raises(ImageError, match="tilted"):
        shownSlice("Red", node)


@pytest.mark.parametrize("higher", [-1.2, 1.2])
def test_tilt_into_one_neighbour_alone_counts(higher):
    node = volume()
    showVolume(node)
    jumpToSlice(node, 0, 1)
    middle = indexToWorld(node, np.array([[1.0, 2.5, 4.0]]))[0]
    matrix = sliceToRas("Red")
    # 3.15 mm to each side it rises by 0.55 mm: to 1.75 on one side, to 0.65 on the other.
    matrix[:3, :3] = rotation((0, 1, 0), np.degrees(np.arctan(0.55 / 3.15))) @ matrix[:3, :3]
    matrix[:3, 3] = middle + np.array((0, 0, higher))
    setSliceToRas("Red", matrix)
    with pytest.raises(ImageError, match="tilted"):
        shownSlice("Red", node)


def test_view_turned_within_its_plane_shows_its_slice_and_stays_turned():
    node = volume()
    jumpToSlice(node, 0, 2)
    tilt("Red", 33, (0, 0, 1))
    turned = sliceToRas("Red")[:3, :3].copy()
    assert shownSlice("Red", node) == (0, 2)
    jumpToSlice(node, 0, 3)
    assert shownSlice("Red", node) == (0, 3)
    assert np.array_equal(sliceToRas("Red")[:3, :3], turned)


def test_view_through_a_corner_of_the_volume_shows_no_slice_of_it():
    node = volume(shape=(12, 16, 20))
    showVolume(node)
    jumpToSlice(node, 0, 0)
    tilt("Red", 15)
    sliceNode("Red").SetSliceOffset(sliceNode("Red").GetSliceOffset() - 3)
    with pytest.raises(ImageError, match="tilted"):
        shownSlice("Red", node)


def test_single_slice_shows_along_the_thin_axis():
    node = volume(shape=(1, 6, 9))
    showVolume(node)
    assert shownSlice("Red", node) == (0, 0)
    assert jumpToSlice(node, 2, 4) == "Yellow"
    assert shownSlice("Yellow", node) == (2, 4)


@pytest.mark.parametrize("transform", [None, addLinearTransform])
def test_jump_shows_every_slice_of_an_oblique_volume(transform):
    node = volume(OBLIQUE)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform().GetID())
    alignViews(node)
    for axis in range(3):
        for index in range(SHAPE[axis]):
            view = jumpToSlice(node, axis, index)
            assert view == viewForAxis(node, axis)
            assert shownSlice(view, node) == (axis, index)


def test_jump_keeps_the_place_within_the_plane():
    node = volume()
    matrix = sliceToRas("Red")
    matrix[:3, 3] = (33.0, -20.0, 0.0)
    setSliceToRas("Red", matrix)
    others = [sliceToRas(view).copy() for view in VIEWS[1:]]
    assert jumpToSlice(node, 0, 2) == "Red"
    matrix[2, 3] = 17.25 + 2 * 3
    assert np.allclose(sliceToRas("Red"), matrix)
    assert all(np.array_equal(sliceToRas(view), before) for view, before in zip(VIEWS[1:], others, strict=True))


def test_jump_turns_a_tilted_view():
    node = volume()
    tilt("Red", 20)
    assert jumpToSlice(node, 0, 3) == "Red"
    assert shownSlice("Red", node) == (0, 3)


def test_jump_to_a_slice_that_is_not_there_is_refused():
    for index in (-1, 4):
        with pytest.raises(ImageError, match=r"slice -?\d of 4"):
            jumpToSlice(volume(), 0, index)


def test_aligned_views_lie_as_before_where_they_were_straight():
    node = volume()
    before = {view: sliceToRas(view)[:3, :3].copy() for view in VIEWS}
    alignViews(node)
    for view in VIEWS:
        assert np.allclose(sliceToRas(view)[:3, :3], before[view])


def test_aligned_views_keep_handedness_and_stay_close():
    node = volume(OBLIQUE)
    before = {view: sliceToRas(view)[:3, :3].copy() for view in VIEWS}
    alignViews(node)
    for view in VIEWS:
        turned = sliceToRas(view)[:3, :3]
        assert np.allclose(turned.T @ turned, np.eye(3))
        assert np.linalg.det(turned) == pytest.approx(np.linalg.det(before[view]))
        # OBLIQUE turns by 25 degrees.
        assert np.trace(turned.T @ before[view]) == pytest.approx(1 + 2 * np.cos(np.radians(25)))


def test_views_of_one_orientation_are_aligned_to_three_axes():
    node = volume()
    for view in VIEWS:
        sliceNode(view).SetOrientation("Axial")
    alignViews(node)
    assert {shownSlice(view, node)[0] for view in VIEWS} == {0, 1, 2}


def test_sheared_by_a_transform_the_planes_of_slices_are_found():
    node = volume()
    shear = np.eye(4)
    shear[0, 2], shear[1, 2] = 0.4, -0.2
    node.SetAndObserveTransformNodeID(addLinearTransform(shear).GetID())
    alignViews(node)
    for axis in range(3):
        assert shownSlice(jumpToSlice(node, axis, 2), node) == (axis, 2)


def test_bent_slices_are_refused_in_their_own_words():
    node = volume(shape=(12, 16, 20))
    node.SetAndObserveTransformNodeID(addBend(node, amount_mm=4).GetID())
    showVolume(node)
    for view in VIEWS:
        with pytest.raises(ImageError, match=f"non-linear transform bends.*{view} view.*out of the transform"):
            shownSlice(view, node)


@pytest.mark.parametrize("directions", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_bend_within_the_slices_works_for_these(directions):
    node = volume(directions, shape=(12, 16, 20))
    node.SetAndObserveTransformNodeID(addBend(node, along=(0, 1), amount_mm=1.5).GetID())
    alignViews(node)
    for index in (0, 5, 11):
        view = jumpToSlice(node, 0, index)
        assert shownSlice(view, node) == (0, index)
    with pytest.raises(ImageError, match="non-linear"):
        shownSlice(viewForAxis(node, 2), node)


def test_slight_bend_counts_only_where_it_reaches_another_slice():
    node = volume(shape=(12, 16, 20))
    node.SetAndObserveTransformNodeID(addBend(node, amount_mm=0.1).GetID())
    showVolume(node)
    jumpToSlice(node, 0, 6)
    assert shownSlice("Red", node) == (0, 6)
    offset = sliceNode("Red").GetSliceOffset()
    # The upper face of the slice lies 1.50 to 1.55 mm higher.
    for higher, expected in ((1.49, (0, 6)), (1.56, (0, 7))):
        sliceNode("Red").SetSliceOffset(offset + higher)
        assert shownSlice("Red", node) == expected
    sliceNode("Red").SetSliceOffset(offset + 1.525)
    with pytest.raises(ImageError, match="non-linear"):
        shownSlice("Red", node)


def test_a_bump_away_from_corners_and_centre_counts():
    node = volume(shape=(12, 16, 20))
    displacements = vtk.vtkImageData()
    displacements.SetDimensions(9, 9, 9)
    displacements.SetOrigin(26.0, -28.0, 12.0)
    displacements.SetSpacing(3.0, 3.0, 6.0)
    field = np.zeros((9, 9, 9, 3))
    # Towards S by 2 mm, at a quarter of the length and of the width.
    field[:, 3, 3, 2] = 2
    displacements.GetPointData().SetScalars(numpy_to_vtk(field.reshape(-1, 3), deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(displacements)
    grid.SetInterpolationModeToCubic()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    transform.SetAndObserveTransformToParent(grid)
    node.SetAndObserveTransformNodeID(transform.GetID())
    showVolume(node)
    with pytest.raises(ImageError, match="non-linear"):
        shownSlice("Red", node)
    field[:] = 0
    displacements.GetPointData().SetScalars(numpy_to_vtk(field.reshape(-1, 3), deep=True))
    grid.Modified()
    assert shownSlice("Red", node)[0] == 0


def test_bent_volume_beside_the_view_is_refused_in_words():
    node = volume()
    node.SetAndObserveTransformNodeID(addBend(node, amount_mm=0.1).GetID())
    sliceNode("Red").SetSliceOffset(500)
    with pytest.raises(ImageError, match="shows no slice"):
        shownSlice("Red", node)


def test_show_volume_puts_it_into_every_view_on_a_slice():
    node = volume(OBLIQUE)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    showVolume(node)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert view.GetBackgroundVolumeID() == node.GetID()
    shown = dict(shownSlice(view, node) for view in VIEWS)
    # In the middle of the slices, not halfway between two.
    for view in VIEWS:
        axis, index = shownSlice(view, node)
        assert worldToIndex(node, sliceToRas(view)[None, :3, 3])[0, axis] == pytest.approx(index)
    assert {axis: abs(index - (SHAPE[axis] - 1) / 2) <= 1 for axis, index in shown.items()} == dict.fromkeys(
        range(3), True
    )


def test_titles_name_the_closest_plane_and_count_from_one():
    assert sliceTitles(volume(), [(0, 34), (1, 0)]) == ["Axial 35", "Coronal 1"]
    assert sliceTitles(volume(OBLIQUE), [(2, 7)]) == ["Sagittal 8"]
    # I along S, J along R, K along A.
    turned = volume(np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    assert sliceTitles(turned, [(0, 4), (1, 5), (2, 6), (1, 0)]) == ["Coronal 5", "Sagittal 6", "Axial 7", "Sagittal 1"]


def test_titles_follow_the_transform():
    node = volume()
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((1, 0, 0), 90)
    node.SetAndObserveTransformNodeID(addLinearTransform(matrix).GetID())
    assert sliceTitles(node, [(axis, 0) for axis in range(3)]) == ["Coronal 1", "Axial 1", "Sagittal 1"]
