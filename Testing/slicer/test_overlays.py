from __future__ import annotations

import numpy as np
import pytest
import slicer
from nodes import OBLIQUE, addLinearTransform, addVolume, affine

from unetseg.errors import ImageError
from UNetSegmentLib.overlays import ADDED, CHANGED, KIND, REMOVED, removeOverlay, showDifference, showUncertainty

pytestmark = pytest.mark.usefixtures("scene")

SHAPE = (3, 4, 5)


def volume(name="CT"):
    node = addVolume(np.zeros(SHAPE, np.int16), affine(OBLIQUE), name)
    node.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    return node


def views():
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def layers():
    return [
        (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID(), view.GetLabelVolumeID()) for view in views()
    ] + [(view.GetForegroundOpacity(), view.GetLabelOpacity()) for view in views()]


@pytest.fixture(autouse=True)
def clearLayers():
    yield
    for view in views():
        view.SetForegroundOpacity(0)
        view.SetLabelOpacity(1)


def ramp() -> np.ndarray:
    return np.arange(60, dtype=np.uint8).reshape(SHAPE) * 4


def test_uncertainty_lies_half_transparent_over_the_volume():
    node = volume()
    overlay = showUncertainty(node, ramp())
    assert np.array_equal(slicer.util.arrayFromVolume(overlay), ramp())
    matrices = []
    for each in (node, overlay):
        matrix = slicer.util.vtkMatrixFromArray(np.eye(4))
        each.GetIJKToRASMatrix(matrix)
        matrices.append(slicer.util.arrayFromVTKMatrix(matrix))
    assert np.allclose(*matrices)
    assert overlay.GetTransformNodeID() == node.GetTransformNodeID()
    assert len(views()) == 3
    for view in views():
        assert (view.GetForegroundVolumeID(), view.GetForegroundOpacity()) == (overlay.GetID(), 0.5)
    display = overlay.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 255)
    assert display.GetApplyThreshold()
    assert 0 < display.GetLowerThreshold() < 64
    assert display.GetColorNode().GetName() == "Iron"


def test_difference_tells_added_removed_and_other():
    before, after = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    before[0, 0] = [0, 1, 1, 2, 2]
    after[0, 0] = [2, 0, 1, 2, 1]
    overlay = showDifference(volume(), before, after)
    shown = slicer.util.arrayFromVolume(overlay)
    assert shown[0, 0].tolist() == [ADDED, REMOVED, 0, 0, CHANGED]
    assert np.count_nonzero(shown) == 3
    for view in views():
        assert (view.GetLabelVolumeID(), view.GetLabelOpacity()) == (overlay.GetID(), 0.5)
    colors = overlay.GetDisplayNode().GetColorNode()
    assert [colors.GetColorName(value) for value in (ADDED, REMOVED, CHANGED)] == [
        "Added",
        "Removed",
        "Other structure",
    ]
    rgba = [0.0] * 4
    colors.GetColor(0, rgba)
    assert rgba[3] == 0
    colors.GetColor(ADDED, rgba)
    assert rgba[1] > 2 * max(rgba[0], rgba[2])
    colors.GetColor(REMOVED, rgba)
    assert rgba[0] > 2 * max(rgba[1], rgba[2])


def test_overlays_are_hidden_not_saved_and_marked():
    node = volume()
    for kind, overlay in (
        ("uncertainty", showUncertainty(node, ramp())),
        ("difference", showDifference(node, ramp(), ramp() + 1)),
    ):
        assert overlay.GetAttribute(KIND) == kind
        assert overlay.GetHideFromEditors()
        assert not overlay.GetSaveWithScene()
        assert not overlay.GetDisplayNode().GetSaveWithScene()


def test_removing_gives_the_layers_back_and_leaves_no_node():
    node, other = volume(), volume("PET")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.util.setSliceViewerLayers(
        background=node, foreground=other, label=labels, foregroundOpacity=0.3, labelOpacity=0.8
    )
    views()[1].SetForegroundVolumeID(None)
    nodes, before = slicer.mrmlScene.GetNumberOfNodes(), layers()
    for _ in range(3):
        showUncertainty(node, ramp())
        showDifference(node, ramp(), ramp() + 1)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes + 5
    removeOverlay("difference")
    assert [view.GetLabelVolumeID() for view in views()] == [labels.GetID()] * 3
    assert [view.GetForegroundOpacity() for view in views()] == [0.5] * 3
    removeOverlay("uncertainty")
    assert layers() == before
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_no_uncertainty_removes_the_overlay():
    node = volume()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    showUncertainty(node, ramp())
    assert showUncertainty(node, None) is None
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_removing_what_is_not_shown_does_nothing():
    nodes, before = slicer.mrmlScene.GetNumberOfNodes(), layers()
    removeOverlay("uncertainty")
    removeOverlay("difference")
    assert (slicer.mrmlScene.GetNumberOfNodes(), layers()) == (nodes, before)


def test_what_the_user_has_put_into_the_layer_meanwhile_stays():
    node, other = volume(), volume("PET")
    showUncertainty(node, ramp())
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.9)
    removeOverlay("uncertainty")
    assert {(view.GetForegroundVolumeID(), view.GetForegroundOpacity()) for view in views()} == {(other.GetID(), 0.9)}


def test_layer_whose_volume_was_removed_meanwhile_is_empty():
    node, other = volume(), volume("PET")
    slicer.util.setSliceViewerLayers(foreground=other)
    showUncertainty(node, ramp())
    slicer.mrmlScene.RemoveNode(other)
    removeOverlay("uncertainty")
    assert {view.GetForegroundVolumeID() for view in views()} == {None}


@pytest.mark.parametrize("show", [showUncertainty, lambda node, array: showDifference(node, array, array)])
def test_array_of_another_size_is_refused_and_leaves_no_node(show):
    node = volume()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(ImageError, match="size of the volume"):
        show(node, np.zeros((3, 4, 6), np.uint8))
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
