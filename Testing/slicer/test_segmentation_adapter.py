from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from nodes import addLinearTransform
from segments import LABELS, LIVER_TERMINOLOGY, SHAPE, addForeign, random, volume

from unetseg.config import Label
from unetseg.errors import ImageError
from UNetSegmentLib.segmentation_adapter import (
    LabelReader,
    createSegmentation,
    labelsOf,
    prepareSegmentation,
    segmentID,
    setShow3D,
    writeLabels,
)

pytestmark = pytest.mark.usefixtures("scene")


def tag(segment, name):
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else None


def foreign(segmentation, volumeNode, identifier="Segment_9") -> np.ndarray:
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volumeNode).astype(np.uint8)


# ---- nodes ----


def test_created_segments_carry_id_name_colour_terminology_and_value():
    segmentation = createSegmentation(volume(), LABELS, "Result").GetSegmentation()
    assert segmentation.GetSegmentIDs() == ("UNetSegment_1", "UNetSegment_3")
    assert [segmentID(label) for label in LABELS[1:]] == ["UNetSegment_1", "UNetSegment_3"]
    liver, tumour = (segmentation.GetSegment(name) for name in segmentation.GetSegmentIDs())
    assert (liver.GetName(), tumour.GetName()) == ("Liver", "Tumour")
    assert liver.GetColor() == pytest.approx((1.0, 0.2, 0.0))
    assert tumour.GetColor() == pytest.approx((0.0, 0.4, 1.0))
    assert tag(liver, slicer.vtkSegment.GetTerminologyEntryTagName()) == LIVER_TERMINOLOGY
    assert tag(tumour, slicer.vtkSegment.GetTerminologyEntryTagName()) is None
    assert (tag(liver, "UNetSegment.value"), tag(tumour, "UNetSegment.value")) == ("1", "3")


def test_created_node_lies_with_its_volume():
    node = volume()
    node.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.CreateItem(study, node)
    segmentation = createSegmentation(node, LABELS, "Result")
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), segmentation)
    prepareSegmentation(segmentation, node, LABELS)
    assert segmentation.GetDisplayNode() is not None
    assert segmentation.GetTransformNodeID() == node.GetTransformNodeID()
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReferenceID(role) == node.GetID()
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(segmentation)) == study


def test_place_that_the_user_gave_stays():
    node = volume()
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study, folder = (hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name) for name in ("Study", "Mine"))
    hierarchy.CreateItem(study, node)
    segmentation = createSegmentation(node, LABELS, "Result")
    hierarchy.CreateItem(folder, segmentation)
    writeLabels(segmentation, node, LABELS, random())
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(segmentation)) == folder


def test_segmentation_follows_its_volume_under_another_transform():
    node, array = volume(), random()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    node.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    writeLabels(segmentation, node, LABELS, array)
    assert segmentation.GetTransformNodeID() == node.GetTransformNodeID()
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), array)


def test_foreign_segments_are_not_moved_with_the_volume():
    node = volume()
    segmentation = createSegmentation(node, LABELS, "Result")
    addForeign(segmentation, node, random((0, 1)))
    node.SetAndObserveTransformNodeID(addLinearTransform().GetID())
    with pytest.raises(ImageError, match=r"“Result” holds other segments.*create a new segmentation"):
        writeLabels(segmentation, node, LABELS, random())
    assert segmentation.GetTransformNodeID() is None
    assert not LabelReader(segmentation, node, LABELS).all().any()


def test_surfaces_are_refused_with_a_way_out():
    node = volume()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Loaded")
    segmentation.SetSourceRepresentationToClosedSurface()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    segmentation.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Liver", [1, 0, 0], "Segment_1")
    with pytest.raises(ImageError, match=r"“Loaded” is made of surfaces.*Make source"):
        prepareSegmentation(segmentation, node, LABELS)
    with pytest.raises(ImageError, match=r"“Loaded” is made of surfaces.*Make source"):
        LabelReader(segmentation, node, LABELS).all()


# ---- whose segment is it ----


def test_names_and_colours_of_the_user_stay():
    node = volume()
    segmentation = createSegmentation(node, LABELS, "Result")
    segment = segmentation.GetSegmentation().GetSegment("UNetSegment_1")
    segment.SetName("Leber")
    segment.SetColor(0.1, 0.2, 0.3)
    array = random()
    writeLabels(segmentation, node, LABELS, array)
    assert (segment.GetName(), segment.GetColor()) == ("Leber", (0.1, 0.2, 0.3))
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), array)


def test_deleted_segment_is_made_anew():
    node, array = volume(), random()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    segmentation.GetSegmentation().RemoveSegment("UNetSegment_1")
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), np.where(array == 1, 0, array))
    writeLabels(segmentation, node, LABELS, array)
    segment = segmentation.GetSegmentation().GetSegment("UNetSegment_1")
    assert (segment.GetName(), segment.GetColor()) == ("Liver", pytest.approx((1.0, 0.2, 0.0)))
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), array)


def test_saved_segmentation_is_bound_again_by_its_tags(tmp_path):
    node, array = volume(), random()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    segmentation.GetSegmentation().GetSegment("UNetSegment_3").SetName("Metastase")
    path = tmp_path / "result.seg.nrrd"
    assert slicer.util.saveNode(segmentation, str(path))
    slicer.mrmlScene.RemoveNode(segmentation)
    loaded = slicer.util.loadSegmentation(str(path))
    assert np.array_equal(LabelReader(loaded, node, LABELS).all(), array)
    other = random(seed=5)
    writeLabels(loaded, node, LABELS, other)
    assert loaded.GetSegmentation().GetNumberOfSegments() == 2
    assert np.array_equal(LabelReader(loaded, node, LABELS).all(), other)


def test_value_tag_alone_binds():
    node, array = volume(), random((0, 1))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    addForeign(segmentation, node, array, "Lebergewebe", "Segment_1")
    segmentation.GetSegmentation().GetSegment("Segment_1").SetTag("UNetSegment.value", "3")
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), 3 * array)


def test_segment_without_tags_is_bound_by_its_name():
    node, array = volume(), random((0, 1))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    addForeign(segmentation, node, array, "Tumour", "Segment_1")
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), 3 * array)
    prepareSegmentation(segmentation, node, LABELS)
    assert segmentation.GetSegmentation().GetSegmentIDs() == ("Segment_1", "UNetSegment_1")


def test_another_models_structure_of_the_same_value_is_foreign():
    node, kidneys = volume(), random((0, 1))
    segmentation = createSegmentation(node, (Label(1, "Kidney", (0, 0, 255)),), "Result")
    writeLabels(segmentation, node, (Label(1, "Kidney", (0, 0, 255)),), kidneys)
    array = random()
    writeLabels(segmentation, node, LABELS, array)
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), array)
    names = [segmentation.GetSegmentation().GetNthSegment(n).GetName() for n in range(3)]
    assert names == ["Kidney", "Liver", "Tumour"]
    assert np.array_equal(foreign(segmentation, node, "UNetSegment_1"), kidneys)


def test_another_models_structure_of_the_same_name_is_the_same():
    node, array = volume(), random()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    swapped = (Label(1, "Tumour", (9, 9, 9)), Label(3, "Liver", (9, 9, 9)))
    assert np.array_equal(LabelReader(segmentation, node, swapped).all(), np.array([0, 3, 0, 1], np.uint8)[array])
    writeLabels(segmentation, node, swapped, array)
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert np.array_equal(LabelReader(segmentation, node, swapped).all(), array)


def test_labels_of_a_segmentation():
    node = volume()
    segmentation = createSegmentation(node, (Label(2, "Liver", (255, 51, 0), LIVER_TERMINOLOGY),), "Result")
    for number, name in enumerate(("Spleen", "Kidney", "Kidney"), start=1):
        array = np.zeros(SHAPE, np.uint8)
        array[number] = 1
        addForeign(segmentation, node, array, name, f"Segment_{number}")
    labels = labelsOf(segmentation)
    assert [(label.value, label.name) for label in labels] == [
        (0, "Background"),
        (1, "Spleen"),
        (2, "Liver"),
        (3, "Kidney"),
        (4, "Kidney"),
    ]
    assert labels[2].color == (255, 51, 0)
    assert labels[2].terminology == LIVER_TERMINOLOGY
    read = LabelReader(segmentation, node, labels).all()
    assert [set(np.unique(plane)) for plane in read[:5]] == [{0}, {1}, {3}, {4}, {0}]


def test_labels_of_a_copied_segment_differ():
    segmentation = createSegmentation(volume(), LABELS, "Result")
    copy = slicer.vtkSegment()
    copy.DeepCopy(segmentation.GetSegmentation().GetSegment("UNetSegment_1"))
    copy.SetName("Liver copy")
    segmentation.GetSegmentation().AddSegment(copy)
    assert [(label.value, label.name) for label in labelsOf(segmentation)[1:]] == [
        (1, "Liver"),
        (2, "Liver copy"),
        (3, "Tumour"),
    ]


def test_labels_of_an_empty_segmentation_are_background_alone():
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert [label.value for label in labelsOf(segmentation)] == [0]


def test_too_many_segments_are_refused():
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    for number in range(255):
        segmentation.GetSegmentation().AddEmptySegment(f"S{number}")
    with pytest.raises(ImageError, match="at most 254 structures"):
        labelsOf(segmentation)


# ---- writing ----


def test_written_labels_share_one_layer_and_leave_no_node_behind():
    node = volume()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, random())
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    writeLabels(segmentation, node, LABELS, random(seed=3))
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert segmentation.GetSegmentation().GetNumberOfLayers() == 1


def test_foreign_segments_are_not_written():
    node, spleen = volume(), random((0, 1), seed=2)
    segmentation = createSegmentation(node, LABELS, "Result")
    addForeign(segmentation, node, spleen)
    for collapse in (False, True):
        if collapse:
            segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
        for seed in (0, 1):
            writeLabels(segmentation, node, LABELS, random(seed=seed))
            assert np.array_equal(foreign(segmentation, node), spleen)
            assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), random(seed=seed))


def test_foreign_segment_in_the_same_layer_is_not_written():
    node, both = volume(), random((0, 1, 3))
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, both)
    only = LABELS[:2]
    assert np.array_equal(LabelReader(segmentation, node, only).all(), both == 1)
    cleared = np.zeros(SHAPE, np.uint8)
    writeLabels(segmentation, node, only, cleared)
    assert np.array_equal(foreign(segmentation, node, "UNetSegment_3"), both == 3)
    assert not LabelReader(segmentation, node, only).all().any()


def test_writing_keeps_the_callers_array_apart():
    node, array = volume(), random()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    written = array.copy()
    array[:] = 0
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), written)


def test_writing_is_one_undo_step():
    node, first = volume(), random()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, first)
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(segmentation.GetSegmentation())
    history.SaveState()
    writeLabels(segmentation, node, LABELS, random(seed=8))
    history.RestorePreviousState()
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), first)


def test_array_of_another_size_is_refused_and_nothing_written():
    node = volume()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, random())
    with pytest.raises(ImageError, match=r"size of the volume.*segment this one again"):
        writeLabels(segmentation, node, LABELS, np.zeros((6, 8, 9), np.uint8))
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), random())


def test_empty_result_empties_the_segments():
    node = volume()
    segmentation = createSegmentation(node, LABELS, "Result")
    for array in (random(), np.zeros(SHAPE, np.uint8)):
        writeLabels(segmentation, node, LABELS, array)
    assert LabelReader(segmentation, node, LABELS).all().max() == 0


def test_surface_is_dropped_on_writing_and_made_on_request():
    node, array = volume(), np.zeros(SHAPE, np.uint8)
    array[2:4, 3:6, 3:7] = 1
    segmentation = createSegmentation(node, LABELS, "Result")
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()

    def hasSurface() -> bool:
        return segmentation.GetSegmentation().GetSegment("UNetSegment_1").GetRepresentation(name) is not None

    writeLabels(segmentation, node, LABELS, array)
    assert not hasSurface()
    setShow3D(segmentation, True)
    assert hasSurface()
    writeLabels(segmentation, node, LABELS, array)
    assert not hasSurface()
    setShow3D(segmentation, True)
    setShow3D(segmentation, False)
    assert not hasSurface()
