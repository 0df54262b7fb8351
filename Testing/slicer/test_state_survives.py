"""What is saved with the scene and with the project comes back, whole and in its place."""

from pathlib import Path

import numpy as np
import pytest
import slicer
from loop import LABELS, PATIENT, SHAPE, image, predicted

from unetseg.array_file import load_array
from unetseg.labelled_slices import load_slices
from unetseg.messages import Train
from UNetSegmentLib.corrections import SliceState
from UNetSegmentLib.parameters import Budget

CONFIRMED, EDITED, CHANGED_SINCE, UNCHANGED = (
    SliceState.CONFIRMED,
    SliceState.EDITED,
    SliceState.CHANGED_SINCE,
    SliceState.UNCHANGED,
)
CHOICES = {
    "structures": "Pancreas, “Duct”; ü",
    "device": "cuda:0",
    "show3D": True,
    "showUncertainty": True,
    "showDifference": True,
    "budget": Budget.minutes,
    "minutes": 7.5,
}


def correct(loop):
    """One slice in every state."""
    loop.begin()
    loop.paintSlice(0, 5, value=1)
    loop.confirm(1, 3)
    loop.confirm(2, 1)
    loop.paint(1, at(2, 5, 4))
    loop.logic.skipSuggestion()
    loop.settle()
    assert loop.states() == {
        (0, 2): CHANGED_SINCE,
        (0, 4): EDITED,
        (0, 5): EDITED,
        (1, 3): CONFIRMED,
        (2, 1): CONFIRMED,
    }


def at(*voxel):
    mask = np.zeros(SHAPE, bool)
    mask[voxel] = True
    return mask


def state(loop):
    corrections, parameters = loop.logic.corrections, loop.parameters
    segmentation = parameters.segmentation.GetSegmentation()
    segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    return {
        "labels": loop.labels().tobytes(),
        "rows": loop.logic.rows,
        "corrections": corrections.toJson(),
        "baseline": corrections.baseline.tobytes(),
        "model": parameters.model,
        "choices": {name: getattr(parameters, name) for name in CHOICES},
        "volume": parameters.volume.GetName(),
        "segments": [
            (segment.GetName(), np.round(np.multiply(segment.GetColor(), 255)).tolist()) for segment in segments
        ],
        "region": parameters.region and parameters.region.GetSize(),
    }


def saveScene(path):
    """As Slicer's Save: of a .mrml file the data lie beside it."""
    if path.suffix == ".mrb":
        assert slicer.mrmlScene.WriteToMRB(str(path))
        return
    for className in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsROINode"):
        for node in slicer.util.getNodesByClass(className):
            if node.GetSaveWithScene():
                node.AddDefaultStorageNode()
                storage = node.GetStorageNode()
                storage.SetFileName(f"{path}.{node.GetID()}.{storage.GetDefaultWriteFileExtension()}")
                assert storage.WriteData(node)
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit()


def load(loop, path, clear=True):
    slicer.util.loadScene(str(path), {"clear": clear})
    loop.settle()


@pytest.mark.parametrize("program", ["same", "next"])
@pytest.mark.parametrize("kind", ["mrml", "mrb"])
def test_everything_comes_back_with_the_scene(loop, tmp_path, kind, program):
    correct(loop)
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    loop.parameters.region = region
    loop.logic.fitRegion(region)
    for name, value in CHOICES.items():
        setattr(loop.parameters, name, value)
    loop.settle()
    expected = state(loop)
    path = tmp_path / f"scene ü.{kind}"
    saveScene(path)
    if program == "next":
        loop.close()
    slicer.mrmlScene.Clear()
    if program == "next":
        loop.open()
    load(loop, path)
    assert loop.notices == []
    assert state(loop) == expected
    assert loop.ui("segment").modelChooser.currentText == "Organs"
    assert loop.ui("correct").sliceTable.rowCount == len(expected["rows"])
    assert loop.ui("retrain").minutesSpinBox.value == 7.5
    assert not loop.ui("correct").uncertaintyCheckBox.enabled


def test_work_goes_on_where_it_was_saved(loop, tmp_path):
    correct(loop)
    before = loop.labels()
    caseId = [case.id for case in loop.logic.project.cases()]
    saveScene(tmp_path / "scene.mrb")
    slicer.mrmlScene.Clear()
    load(loop, tmp_path / "scene.mrb")
    loop.segment()
    edited = np.zeros(SHAPE, bool)
    edited[4:6] = True
    expected = np.where(edited, before, predicted())
    expected[2] = 2
    expected[:, 3] = before[:, 3]
    expected[:, :, 1] = before[:, :, 1]
    expected[2, :, 1] = expected[2, 3] = 2
    assert np.array_equal(loop.labels(), expected)
    loop.confirm(0, 4)
    assert [case.id for case in loop.logic.project.cases()] == caseId
    assert set(loop.storedSlices()) == {(0, 2), (0, 4), (1, 3), (2, 1)}


def test_a_script_that_waits_can_save_at_once(loop, tmp_path):
    loop.addVersion()
    loop.addVolume()
    loop.logic.segment()
    loop.logic.wait()
    loop.logic.jumpTo(1, 3)
    loop.logic.confirmSlice("Green")
    loop.logic.wait()
    saveScene(tmp_path / "scene.mrb")
    slicer.mrmlScene.Clear()
    load(loop, tmp_path / "scene.mrb")
    assert np.array_equal(loop.logic.corrections.baseline, predicted())
    loop.paintSlice(0, 3)
    loop.settle()
    assert loop.states() == {(0, 3): EDITED, (1, 3): CHANGED_SINCE}


def test_a_segmentation_file_alone_keeps_which_slices_are_confirmed(loop, tmp_path):
    loop.begin()
    loop.confirm(1, 3)
    version, labels = loop.parameters.model, loop.labels()
    path = tmp_path / "labels.seg.nrrd"
    slicer.util.saveNode(loop.parameters.segmentation, str(path))
    slicer.mrmlScene.Clear()
    loop.addVolume()
    loop.parameters.segmentation = slicer.util.loadSegmentation(str(path))
    loop.settle()
    assert loop.notices == []
    assert np.array_equal(loop.labels(), labels)
    assert loop.logic.corrections.version == version
    assert set(loop.states()) == {(0, 2), (1, 3)}
    assert [taken.before for taken in loop.logic.corrections.slices] == [None, None]
    assert np.array_equal(loop.logic.corrections.slices[0].labels, labels[2])
    loop.parameters.model = version
    loop.segment()
    assert np.array_equal(loop.labels(), labels)
    loop.logic.ask = lambda text, choices, default: "replace"
    loop.segment()
    assert np.array_equal(loop.labels()[2], labels[2])
    assert np.array_equal(loop.labels()[:, 3], labels[:, 3])
    assert np.array_equal(np.delete(loop.labels(), 3, 1)[4], np.delete(predicted(), 3, 1)[4])


def test_a_scene_that_is_added_mixes_nothing_up(loop, tmp_path):
    loop.begin()
    saveScene(tmp_path / "first.mrb")
    first = loop.labels()
    slicer.mrmlScene.Clear()
    loop.parameters.model = loop.logic.project.versions()[0].id
    loop.addVolume(seed=1, name="Second")
    loop.segment()
    loop.paintSlice(1, 7, value=1)
    loop.confirm(1, 7)
    second, chosen = loop.labels(), (loop.parameters.volume, loop.parameters.segmentation)
    load(loop, tmp_path / "first.mrb", clear=False)
    assert loop.notices == []
    assert loop.parameters.volume.GetName() == PATIENT
    assertOpen(loop, first, {(0, 2): CONFIRMED, (0, 4): EDITED})
    loop.parameters.volume, loop.parameters.segmentation = chosen
    loop.settle()
    assertOpen(loop, second, {(1, 7): CONFIRMED})
    loop.confirm(1, 7)
    cases = {case.name: case for case in loop.logic.project.cases()}
    assert {name: stored(case.annotation) for name, case in cases.items()} == {PATIENT: [(0, 2)], "Second": [(1, 7)]}


def test_a_scene_added_to_itself_makes_two_cases(loop, tmp_path):
    loop.begin()
    saveScene(tmp_path / "scene.mrb")
    load(loop, tmp_path / "scene.mrb", clear=False)
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert len(segmentations) == 2
    assert loop.parameters.segmentation == segmentations[1]
    loop.confirm(0, 3)
    assert loop.states() == {(0, 2): CONFIRMED, (0, 3): UNCHANGED, (0, 4): EDITED}
    loop.parameters.volume = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
    loop.settle()
    assert loop.parameters.segmentation == segmentations[0]
    loop.confirm(0, 1)
    cases = loop.logic.project.cases()
    assert sorted(stored(case.annotation) for case in cases) == [[(0, 2), (0, 1)], [(0, 2), (0, 3)]]


def assertOpen(loop, labels, states):
    assert np.array_equal(loop.labels(), labels)
    assert loop.states() == states


def stored(path):
    return [(taken.axis, taken.index) for taken in load_slices(path)[1]]


def test_volumes_of_two_scenes_train_together(loop):
    loop.begin()
    version = loop.parameters.model
    slicer.mrmlScene.Clear()
    loop.parameters.model = version
    loop.addVolume(seed=1, name="Second")
    loop.segment()
    loop.paintSlice(2, 6, value=1)
    loop.confirm(2, 6)
    loop.mode("slow")
    loop.start("train")
    (request,) = loop.requests(Train)
    assert request.start_from == str(loop.logic.project.find(version).path)
    found = {}
    for case in request.cases:
        shape, slices = load_slices(Path(request.folder, case.annotation))
        assert shape == SHAPE
        found[slices[0].axis, slices[0].index] = (case, slices)
    assert set(found) == {(0, 2), (2, 6)}
    for plane, seed, value in (((0, 2), 0, 2), ((2, 6), 1, 1)):
        case, slices = found[plane]
        assert len(slices) == 1
        assert (slices[0].labels == value).all()
        (path,) = case.images
        assert np.array_equal(load_array(Path(path))[0], image(seed))
        assert PATIENT not in path
    loop.mode("healthy")
    loop.settle()
    assert loop.logic.comparison.name == "Organs, round 1"
    record = loop.logic.project.find(loop.logic.comparison.versionId)
    assert (record.volumes, record.slices, record.labels) == (2, 2, LABELS)
