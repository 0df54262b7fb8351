"""What the choices of the user mean for what is followed: which segmentation, which structures."""

import numpy as np
import pytest
import slicer

from unetseg.config import Label
from UNetSegmentLib.logic import SegmentationLogic
from UNetSegmentLib.parameters import Parameters
from UNetSegmentLib.segmentation_adapter import createSegmentation, writeLabels
from UNetSegmentLib.versions import Version, utcNow

LIVER = (Label(0, "Background", (0, 0, 0)), Label(1, "Liver", (221, 130, 101)))
BONE = (Label(0, "Background", (0, 0, 0)), Label(1, "Bone", (240, 220, 160)))
SHAPE = (4, 6, 5)


@pytest.fixture
def logic(scene, tmp_path):
    logic = SegmentationLogic()
    logic.setProjectFolder(str(tmp_path / "project"))
    logic.setParameterNode(Parameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")))
    yield logic
    logic.close()


def addVolume(name):
    return slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), name=name)


def addVersion(logic, tmp_path, name, labels):
    model = tmp_path / f"{name}.safetensors"
    header = b'{"__metadata__":{"name":"%s"}}' % name.encode()
    model.write_bytes(len(header).to_bytes(8, "little") + header)
    return logic.project.add(model, Version("", name, "kept", utcNow(), labels=labels))


def segmentationWith(logic, volume, version):
    """A segmentation that the version has predicted: one voxel of its first structure."""
    segmentation = createSegmentation(volume, version.labels, f"of {volume.GetName()}")
    array = np.zeros(SHAPE, np.uint8)
    array[1, 2, 3] = 1
    writeLabels(segmentation, volume, version.labels, array)
    logic.parameters.model = version.id
    logic.parameters.volume = volume
    logic.parameters.segmentation = segmentation
    logic.wait()
    logic._correcting.setPrediction(array, np.zeros(SHAPE, np.uint8), array, version.id)
    logic.wait()
    return segmentation


def test_turning_to_another_volume_leaves_the_segmentation_of_the_first_one(logic, tmp_path):
    version = addVersion(logic, tmp_path, "liver", LIVER)
    first, second = addVolume("first"), addVolume("second")
    segmentation = segmentationWith(logic, first, version)
    logic.parameters.volume = second
    assert logic.parameters.segmentation is None
    assert logic.corrections is None
    logic.parameters.volume = first
    logic.parameters.segmentation = segmentation
    logic.wait()
    assert logic.corrections.version == version.id


def test_turning_back_to_a_volume_finds_its_segmentation_again(logic, tmp_path):
    version = addVersion(logic, tmp_path, "liver", LIVER)
    first, second = addVolume("first"), addVolume("second")
    ofFirst = segmentationWith(logic, first, version)
    logic.parameters.segmentation = None
    ofSecond = segmentationWith(logic, second, version)
    logic.parameters.volume = first
    assert logic.parameters.segmentation == ofFirst
    logic.parameters.volume = second
    assert logic.parameters.segmentation == ofSecond


def test_a_model_of_other_structures_does_not_touch_the_corrections_of_these(logic, tmp_path):
    liver, bone = addVersion(logic, tmp_path, "liver", LIVER), addVersion(logic, tmp_path, "bone", BONE)
    segmentationWith(logic, addVolume("first"), liver)
    assert logic.whyNotSegment() == ""
    logic.parameters.model = bone.id
    logic.wait()
    assert "Liver" in logic.whyNotSegment()
    assert "Create new segmentation" in logic.whyNotSegment()
    assert logic.labels()[1, 2, 3] == 1
    assert logic._correcting.editedNow() == 0
    logic.parameters.segmentation = None
    assert logic.whyNotSegment() == ""


def test_turning_back_from_a_volume_without_segmentation_finds_the_corrections_again(logic, tmp_path):
    version = addVersion(logic, tmp_path, "liver", LIVER)
    first, second = addVolume("first"), addVolume("second")
    ofFirst = segmentationWith(logic, first, version)
    logic.parameters.volume = second
    assert logic.parameters.segmentation is None
    logic.parameters.volume = first
    assert logic.parameters.segmentation == ofFirst
    assert logic.corrections.version == version.id
    logic.parameters.segmentation = None
    assert logic.parameters.segmentation is None


def test_choosing_a_segmentation_brings_the_volume_that_it_was_made_for(logic, tmp_path):
    version = addVersion(logic, tmp_path, "liver", LIVER)
    first, second = addVolume("first"), addVolume("second")
    ofFirst = segmentationWith(logic, first, version)
    logic.parameters.volume = second
    logic.parameters.segmentation = ofFirst
    assert logic.parameters.volume == first
    assert logic.corrections.version == version.id
