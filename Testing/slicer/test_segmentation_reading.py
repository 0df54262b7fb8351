"""Segments as labels on the volume's grid, wherever they are stored and whatever lies over them."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from nodes import OBLIQUE, addBend, addLinearTransform, addVolume, affine, world
from segments import LABELS, SHAPE, addForeign, random, volume

from UNetSegmentLib.segmentation_adapter import LabelReader, createSegmentation, writeLabels

pytestmark = pytest.mark.usefixtures("scene")


def test_slabs_and_slices_are_parts_of_the_whole():
    node, array = volume(), random()
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    reader = LabelReader(segmentation, node, LABELS)
    assert reader.shape == SHAPE
    assert reader.all().dtype == np.uint8
    assert np.array_equal(reader.slab(2, 5), array[2:5])
    for axis in range(3):
        for index in range(SHAPE[axis]):
            assert np.array_equal(reader.slice(axis, index), array.take(index, axis))


def test_cropped_layers_are_read_in_place():
    node, array = volume(), np.zeros(SHAPE, np.uint8)
    array[2:4, 3:6, 4:9] = random()[2:4, 3:6, 4:9]
    array[2, 3, 4] = array[3, 5, 8] = 3
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    # As after any stroke of the Segment Editor.
    segmentation.GetSegmentation().CollapseBinaryLabelmaps(True)
    image = segmentation.GetSegmentation().GetSegment("UNetSegment_3").GetRepresentation("Binary labelmap")
    cropped = vtk.vtkImageConstantPad()
    cropped.SetInputData(image)
    cropped.SetOutputWholeExtent(4, 8, 3, 5, 2, 3)
    cropped.Update()
    image.ShallowCopy(cropped.GetOutput())
    assert image.GetDimensions() == (5, 3, 2)
    reader = LabelReader(segmentation, node, LABELS)
    assert np.array_equal(reader.all(), array)
    assert np.array_equal(reader.slice(2, 8), array[:, :, 8])
    assert not reader.slab(4, 6).any()
    assert reader._layers._resampled is None


def test_layer_that_reaches_out_of_the_volume_is_cut_off():
    large, array = volume(), random()
    segmentation = createSegmentation(large, LABELS, "Result")
    writeLabels(segmentation, large, LABELS, array)
    matrix = affine(OBLIQUE)
    matrix[:3, 3] = (matrix @ [2, 1, 3, 1])[:3]
    part = addVolume(np.zeros((5, 8, 9), np.int16), matrix)
    expected = np.zeros((5, 8, 9), np.uint8)
    expected[:3, :7, :8] = array[3:, 1:, 2:]
    assert np.array_equal(LabelReader(segmentation, part, LABELS).all(), expected)


def test_the_later_of_overlapping_segments_counts():
    node = volume()
    first, second = random((0, 1), seed=1), random((0, 1), seed=2)
    segmentation = createSegmentation(node, LABELS, "Result")
    for identifier, array in (("UNetSegment_1", first), ("UNetSegment_3", second)):
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, identifier, node)
    assert segmentation.GetSegmentation().GetNumberOfLayers() == 2
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), np.where(second, 3, first))
    segmentation.GetSegmentation().ReorderSegments(["UNetSegment_3", "UNetSegment_1"])
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), np.where(first, 1, 3 * second))


def test_resampled_reading_lets_the_later_segment_count_too():
    node = volume()
    first, second = random((0, 1), seed=1), random((0, 1), seed=2)
    segmentation = createSegmentation(node, LABELS, "Result")
    for identifier, array in (("UNetSegment_1", first), ("UNetSegment_3", second)):
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, identifier, node)
    identity = addLinearTransform(np.eye(4))
    node.SetAndObserveTransformNodeID(identity.GetID())
    assert np.array_equal(LabelReader(segmentation, node, LABELS).all(), np.where(second, 3, first))


def test_a_reader_follows_every_change():
    node = volume()
    segmentation = createSegmentation(node, LABELS, "Result")
    reader = LabelReader(segmentation, node, LABELS)
    assert not reader.all().any()
    for seed in (1, 2):
        writeLabels(segmentation, node, LABELS, random(seed=seed))
        assert np.array_equal(reader.all(), random(seed=seed))
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones(SHAPE, np.uint8), segmentation, "UNetSegment_3", node)
    assert (reader.all() == 3).all()


def test_segments_of_another_resolution_are_resampled_once_a_change():
    node = volume(np.eye(3))
    fine = affine(np.eye(3))
    fine[:3, 3] -= fine[:3, :3].sum(axis=1) / 4
    fine[:3, :3] /= 2
    fineVolume = addVolume(np.zeros([2 * length for length in SHAPE], np.int16), fine)
    array = random()
    segmentation = createSegmentation(fineVolume, LABELS, "Fine")
    writeLabels(segmentation, fineVolume, LABELS, np.kron(array, np.ones((2, 2, 2), np.uint8)))
    reader = LabelReader(segmentation, node, LABELS)
    assert np.array_equal(reader.all(), array)
    calls = []
    merge = reader._layers._merge
    reader._layers._merge = lambda names: calls.append(names) or merge(names)
    assert np.array_equal(reader.slab(1, 3), array[1:3])
    assert calls == []
    writeLabels(segmentation, fineVolume, LABELS, np.kron(array[::-1], np.ones((2, 2, 2), np.uint8)))
    assert np.array_equal(reader.slab(1, 3), array[::-1][1:3])
    assert len(calls) == 1


def test_segmentation_under_another_transform_is_read_where_it_lies():
    node = addVolume(np.zeros(SHAPE, np.int16), np.eye(4))
    segmentation = createSegmentation(node, LABELS, "Result")
    array = random()
    writeLabels(segmentation, node, LABELS, array)
    shift = np.eye(4)
    shift[:3, 3] = (2, 0, 1)
    node.SetAndObserveTransformNodeID(addLinearTransform(shift).GetID())
    expected = np.zeros(SHAPE, np.uint8)
    expected[:-1, :, :-2] = array[1:, :, 2:]
    reader = LabelReader(segmentation, node, LABELS)
    assert np.array_equal(reader.all(), expected)
    shift[:3, 3] = 0
    node.GetParentTransformNode().SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    assert np.array_equal(reader.all(), array)


def test_foreign_segments_are_not_read():
    node = volume()
    segmentation = createSegmentation(node, LABELS, "Result")
    addForeign(segmentation, node, np.ones(SHAPE, np.uint8))
    assert not LabelReader(segmentation, node, LABELS).all().any()


def test_label_without_segment_reads_as_background():
    node = volume()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert not LabelReader(segmentation, node, LABELS).all().any()


@pytest.mark.parametrize("transform", [addLinearTransform, addBend])
def test_segments_lie_in_the_world_where_their_voxels_do(transform):
    node, array = volume(), np.zeros(SHAPE, np.uint8)
    array[4, 6, 7] = 1
    parent = transform(node) if transform is addBend else transform()
    node.SetAndObserveTransformNodeID(parent.GetID())
    segmentation = createSegmentation(node, LABELS, "Result")
    writeLabels(segmentation, node, LABELS, array)
    voxel = (affine(OBLIQUE) @ [7, 6, 4, 1])[None, :3]
    assert np.allclose(segmentation.GetSegmentCenterRAS("UNetSegment_1"), world(node, voxel)[0], atol=1e-6)
