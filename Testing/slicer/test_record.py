"""Corrections survive the scene's files, and what fits survives a bare segmentation file."""

import json

import numpy as np
import pytest
import slicer

from unetseg.array_file import exhaust
from unetseg.errors import ImageError
from UNetSegmentLib.corrections import Corrections
from UNetSegmentLib.record import (
    CONFIRMED_TAG,
    loadRecord,
    recordBaseline,
    recordNode,
    removeRecord,
    restoreFromTags,
    saveRecord,
    tagSegments,
)

SHAPE = (6, 7, 8)
SPACING = (3.0, 1.0, 1.5)


class Reader:
    def __init__(self, array):
        self.array = array

    def slice(self, axis, index):
        return np.take(self.array, index, axis)


@pytest.fixture
def volume(scene):
    node = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16))
    node.SetSpacing(SPACING[::-1])
    return node


@pytest.fixture
def segmentation(volume):
    return makeSegmentation(volume, "Liver and kidneys")


def makeSegmentation(volume, name):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for structure in ("liver", "kidneys"):
        node.GetSegmentation().AddEmptySegment(structure, structure)
        slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones(SHAPE, np.uint8), node, structure, volume)
    return node


def makeCorrections(seed=0, shape=SHAPE):
    """Corrections whose texts hold every character that XML, MRML and JSON treat in their own way."""
    generator = np.random.default_rng(seed)
    corrections = Corrections(shape, SPACING)
    corrections.setBaseline(generator.integers(0, 3, shape, dtype=np.uint8), "v1 ü|;%20\"'<&>\n\t\\")
    corrections.confirm(0, 2, generator.integers(0, 3, shape[1:], dtype=np.uint8), 3.5)
    corrections.confirm(2, 0, generator.integers(0, 3, shape[:2], dtype=np.uint8), 0.1)
    corrections.skipped = ((1, 3),)
    return corrections


def save(segmentation, volume, corrections):
    saveRecord(segmentation, volume, corrections)
    for _ in recordBaseline(segmentation, corrections):
        pass
    exhaust(tagSegments(segmentation, corrections))


def assertSame(found, expected):
    assert found.toJson() == expected.toJson()
    assert np.array_equal(found.baseline, expected.baseline)


def segmentations():
    return {node.GetName(): node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}


def records():
    return slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")


def test_a_segmentation_without_record_has_none(segmentation):
    assert recordNode(segmentation) is None
    assert loadRecord(segmentation) is None
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    other.SetNodeReferenceID("segmentation", segmentation.GetID())
    assert recordNode(segmentation) is None


def test_a_record_is_one_hidden_node_that_knows_its_segmentation_and_volume(segmentation, volume):
    corrections = makeCorrections()
    save(segmentation, volume, corrections)
    save(segmentation, volume, corrections)
    (node,) = records()
    assert recordNode(segmentation) == node
    assert node.GetHideFromEditors()
    assert node.GetSaveWithScene()
    assert node.GetNodeReference("volume") == volume
    assertSame(loadRecord(segmentation), corrections)


def test_every_segmentation_has_its_own_record(segmentation, volume):
    other = makeSegmentation(volume, "other")
    save(segmentation, volume, makeCorrections(1))
    assert loadRecord(other) is None
    second = makeCorrections(2)
    save(other, volume, second)
    assert len(records()) == 2
    assertSame(loadRecord(other), second)


@pytest.mark.parametrize("kind", ["mrml", "mrb"])
def test_a_record_comes_back_with_the_scene_also_beside_another_one(kind, segmentation, volume, tmp_path, scene):
    corrections = makeCorrections()
    save(segmentation, volume, corrections)
    path = str(tmp_path / f"scene ü.{kind}")
    assert saveScene(path)
    scene.Clear()
    assert records() == []
    assert loadScene(path, clear=True)
    (found,) = segmentations().values()
    assertSame(loadRecord(found), corrections)

    changed = makeCorrections(5)
    save(found, volume, changed)
    assert loadScene(path, clear=False)
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert len(nodes) == len({node.GetID() for node in nodes}) == len(records()) == 2
    assertSame(loadRecord(nodes[0]), changed)
    assertSame(loadRecord(nodes[1]), corrections)
    assert recordNode(nodes[1]).GetNodeReference("volume") not in (
        None,
        recordNode(nodes[0]).GetNodeReference("volume"),
    )


def saveScene(path):
    scene = slicer.mrmlScene
    if path.endswith(".mrb"):
        return scene.WriteToMRB(path)
    for node in [*segmentations().values(), *slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]:
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(f"{path}.{node.GetStorageNode().GetDefaultWriteFileExtension()}")
        assert node.GetStorageNode().WriteData(node)
    scene.SetURL(path)
    return scene.Commit()


def loadScene(path, clear):
    scene = slicer.mrmlScene
    if path.endswith(".mrb"):
        return scene.ReadFromMRB(path, clear)
    scene.SetURL(path)
    return scene.Connect() if clear else scene.Import()


def test_megabytes_of_text_survive_the_scene(segmentation, volume, tmp_path, scene):
    shape = (64, 256, 256)
    corrections = makeCorrections(shape=shape)
    save(segmentation, volume, corrections)
    assert len(recordNode(segmentation).GetParameter("baseline")) > 1_000_000
    assert saveScene(str(tmp_path / "scene.mrb"))
    assert loadScene(str(tmp_path / "scene.mrb"), clear=True)
    (found,) = segmentations().values()
    assertSame(loadRecord(found), corrections)


def test_the_record_of_a_removed_segmentation_is_ignored_and_can_be_cleaned_up(segmentation, volume, scene):
    other = makeSegmentation(volume, "other")
    save(segmentation, volume, makeCorrections(1))
    save(other, volume, makeCorrections(2))
    scene.RemoveNode(segmentation)
    assert len(records()) == 2
    assert loadRecord(segmentation) is None
    new = makeSegmentation(volume, "new")
    assert loadRecord(new) is None
    removeRecord(segmentation)
    assert records() == [recordNode(other)]
    removeRecord(new)
    assert records() == [recordNode(other)]
    removeRecord(other)
    assert records() == []


def test_recording_a_baseline_ends_quietly_when_the_record_is_removed_meanwhile(segmentation, volume):
    corrections = makeCorrections()
    saveRecord(segmentation, volume, corrections)
    steps = recordBaseline(segmentation, corrections)
    next(steps)
    removeRecord(segmentation)
    assert list(steps) == []
    assert records() == []


def test_slices_saved_before_their_baseline_come_back_without_it(segmentation, volume):
    corrections = makeCorrections()
    save(segmentation, volume, corrections)
    corrections.setBaseline(corrections.baseline, "v2")
    saveRecord(segmentation, volume, corrections)
    found = loadRecord(segmentation)
    assert found.baseline is None
    assert found.version == "v2"
    assert found.toJson() == corrections.toJson()


def test_a_baseline_that_is_not_known_any_more_leaves_the_record(segmentation, volume):
    corrections = makeCorrections()
    save(segmentation, volume, corrections)
    corrections.setBaseline(None, "")
    save(segmentation, volume, corrections)
    assert recordNode(segmentation).GetParameter("baseline") == ""
    assert loadRecord(segmentation).baseline is None


def damagedTexts(text):
    data = json.loads(text)
    yield text[: len(text) // 2]
    yield "{}"
    yield "[]"
    yield "x"
    yield text.replace('"format_version": 1', '"format_version": 2')
    yield text.replace('"shape": [6, 7, 8]', '"shape": [6, 8, 7]')
    data["slices"]["slices"][0]["labels"] = "***"
    yield json.dumps(data)


def test_damaged_slices_are_refused_in_words_and_kept_aside(segmentation, volume):
    corrections = makeCorrections()
    save(segmentation, volume, corrections)
    node = recordNode(segmentation)
    intact, baseline = node.GetParameter("corrections"), node.GetParameter("baseline")
    for number, text in enumerate(damagedTexts(intact), 1):
        assert text != intact
        node.SetParameter("corrections", text)
        node.SetParameter("baseline", baseline)
        with pytest.raises(ImageError, match=r"“Liver and kidneys” must be readable.*Nothing was deleted"):
            loadRecord(segmentation)
        assert node.GetParameter(f"corrections kept {number}") == text
        assert node.GetParameter(f"baseline kept {number}") == baseline
        assert loadRecord(segmentation) is None
    save(segmentation, volume, corrections)
    assertSame(loadRecord(segmentation), corrections)
    assert node.GetParameter("corrections kept 3") == "[]"


def test_a_damaged_baseline_is_kept_aside_and_the_slices_remain(segmentation, volume):
    corrections = makeCorrections()
    save(segmentation, volume, corrections)
    node = recordNode(segmentation)
    intact = node.GetParameter("baseline")
    for number, text in enumerate((intact[:-9], "{}", intact.replace('"slabs": ["', '"slabs": ["*')), 1):
        node.SetParameter("baseline", text)
        with pytest.raises(ImageError, match="before your changes"):
            loadRecord(segmentation)
        assert node.GetParameter(f"baseline kept {number}") == text
        found = loadRecord(segmentation)
        assert found.baseline is None
        assert found.toJson() == corrections.toJson()


def test_the_record_of_a_volume_of_another_size_is_kept_aside(segmentation, volume):
    corrections = makeCorrections()
    save(segmentation, volume, corrections)
    node = recordNode(segmentation)
    old = node.GetParameter("corrections"), node.GetParameter("baseline")
    other = Corrections((6, 7, 9), SPACING)
    save(segmentation, volume, other)
    assertSame(loadRecord(segmentation), other)
    assert (node.GetParameter("corrections kept 1"), node.GetParameter("baseline kept 1")) == old


def reloaded(segmentation, path):
    segmentation.AddDefaultStorageNode()
    segmentation.GetStorageNode().SetFileName(str(path))
    assert segmentation.GetStorageNode().WriteData(segmentation)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "reloaded")
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    assert node.GetStorageNode().ReadData(node)
    return node


def test_a_bare_segmentation_file_keeps_which_slices_are_confirmed(segmentation, volume, tmp_path):
    corrections = makeCorrections()
    exhaust(tagSegments(segmentation, corrections))
    now = corrections.merge(corrections.baseline, None, False)
    node = reloaded(segmentation, tmp_path / "labels.seg.nrrd")
    assert b"|" not in (tmp_path / "labels.seg.nrrd").read_bytes().split(CONFIRMED_TAG.encode())[1].split(b"|")[0]
    found = Corrections(SHAPE, SPACING)
    restoreFromTags(node, found, Reader(now))
    assert [(taken.axis, taken.index) for taken in found.slices] == [(0, 2), (2, 0)]
    assert found.baseline is None
    assert found.version == corrections.version
    for taken in found.slices:
        assert taken.before is None
        assert taken.version == corrections.version
        assert np.array_equal(taken.labels, now[taken.plane])
    assert np.array_equal(found.merge(corrections.baseline, None, False), now)


def test_a_slice_changed_since_its_confirmation_is_not_restored(segmentation):
    corrections = makeCorrections()
    exhaust(tagSegments(segmentation, corrections))
    now = corrections.merge(corrections.baseline, None, False)
    now[2, 3, 4] += 1
    found = Corrections(SHAPE, SPACING)
    restoreFromTags(segmentation, found, Reader(now))
    assert [(taken.axis, taken.index) for taken in found.slices] == [(2, 0)]


def test_tags_follow_the_confirmed_slices_and_segments_without_news_are_left_alone(segmentation):
    corrections = makeCorrections()
    exhaust(tagSegments(segmentation, corrections))
    events = []
    segmentation.GetSegmentation().AddObserver(slicer.vtkSegmentation.SegmentModified, lambda *_: events.append(1))
    exhaust(tagSegments(segmentation, corrections))
    assert events == []
    for taken in corrections.slices:
        corrections.remove(taken.axis, taken.index)
    exhaust(tagSegments(segmentation, corrections))
    assert len(events) == 2
    exhaust(tagSegments(segmentation, corrections))
    assert len(events) == 2
    found = Corrections(SHAPE, SPACING)
    restoreFromTags(segmentation, found, Reader(found.baseline))
    assert found.slices == ()
    assert found.baseline is not None


def test_tags_of_another_volume_or_damaged_ones_are_refused(segmentation):
    exhaust(tagSegments(segmentation, makeCorrections()))
    other = Corrections((6, 7, 9), SPACING)
    with pytest.raises(ImageError, match=r"belong to its volume.*Choose the volume"):
        restoreFromTags(segmentation, other, Reader(other.baseline))
    segment = segmentation.GetSegmentation().GetNthSegment(0)
    found = Corrections(SHAPE, SPACING)
    for text in ("x", "6 7 8;v", "6 7 8;v;0-1", "6 7 8;v;0--1-0", "6 7 8;v;a-1-0", "a;v;0-1-0"):
        segment.SetTag(CONFIRMED_TAG, text)
        with pytest.raises(ImageError, match="list of the confirmed slices"):
            restoreFromTags(segmentation, found, Reader(found.baseline))
    for text in ("6 7 8;v;3-1-0", "6 7 8;v;0-6-0", "6 7;v;0-1-0"):
        segment.SetTag(CONFIRMED_TAG, text)
        with pytest.raises(ImageError, match="belong to its volume"):
            restoreFromTags(segmentation, found, Reader(found.baseline))
    assert found.slices == ()
