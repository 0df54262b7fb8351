"""What others have put into the scene stays as it is when the user only looks at it with this module."""

import pytest
import slicer
import vtk

from UNetSegmentLib.label_layers import CLOSED_SURFACE


@pytest.fixture
def loop(loop):
    loop.addVersion()
    loop.addVolume()
    return loop


def hasSurface(segmentation):
    return segmentation.GetSegmentation().GetNthSegment(0).GetRepresentation(CLOSED_SURFACE) is not None


def test_choosing_a_segmentation_made_of_surfaces_keeps_them(loop):
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Liver", [1, 0, 0])
    segmentation.GetSegmentation().SetSourceRepresentationName(CLOSED_SURFACE)
    loop.parameters.segmentation = segmentation
    loop.settle()
    assert hasSurface(segmentation)
    assert "made of surfaces" in loop.logic.notice.text
    loop.parameters.show3D = True
    loop.parameters.show3D = False
    assert hasSurface(segmentation)


def test_surfaces_that_others_have_shown_stay_until_the_user_hides_them_here(loop):
    loop.segment()
    segmentation = loop.parameters.segmentation
    segmentation.CreateClosedSurfaceRepresentation()
    loop.parameters.device = "cpu"
    assert hasSurface(segmentation)
    loop.parameters.show3D = True
    loop.parameters.show3D = False
    assert not hasSurface(segmentation)
