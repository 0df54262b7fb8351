"""What the Sample Data module offers: the phantom lies where its geometry says, the archive is checked and unpacked."""

import hashlib
import io
import re
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from unetseg.errors import FileAccessError
from unetseg.phantom import make_phantom
from unetseg.volume import Geometry
from UNetSegmentLib import sample_data

FOLDER = "Task04_Hippocampus/imagesTr/"


@pytest.fixture
def images(tmp_path):
    """The bytes of one small image a case; voxel (0, 0, 0) holds the case's number."""
    found = {}
    for number, case in enumerate(sample_data.HIPPOCAMPUS_CASES):
        path = tmp_path / f"made_{case}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 3, 4), number, np.int16)), str(path))
        found[case] = path.read_bytes()
    return found


@pytest.fixture
def archive(tmp_path, images):
    """An archive as the published one: images, resource forks of macOS, and more that nobody asked for."""
    path = tmp_path / "cache" / "Task04_Hippocampus.tar"
    path.parent.mkdir()
    members = {f"{FOLDER}{case}.nii.gz": content for case, content in images.items()}
    members |= {f"{FOLDER}._{case}.nii.gz": b"fork" for case in images}
    members |= {"../outside.txt": b"evil", "Task04_Hippocampus/dataset.json": b"{}"}
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


class FakeSampleDataLogic:
    """The part of Slicer's class that the module uses, with its archive in place of the network."""

    archive = None
    sources = None
    categories = None

    @classmethod
    def registerCustomSampleDataSource(cls, **source):
        cls.sources.append(source)

    @classmethod
    def registerCustomSampleDataCategory(cls, category, title):
        cls.categories[category] = title

    def downloadFileIntoCache(self, uri, name, checksum):
        assert name == self.archive.name
        if f"SHA256:{hashlib.sha256(self.archive.read_bytes()).hexdigest()}" != checksum:
            self.archive.unlink()
        return str(self.archive)

    def loadNode(self, path, name, fileType, properties):
        assert (fileType, properties) == ("VolumeFile", {"singleFile": True})
        return slicer.util.loadVolume(path, {"name": name})


@pytest.fixture
def sampleData(monkeypatch, archive):
    """Slicer's module ``SampleData``, as far as needed."""
    logic = type("SampleDataLogic", (FakeSampleDataLogic,), {"archive": archive, "sources": [], "categories": {}})
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    return logic


def source(archive, checksum=None):
    checksum = checksum or f"SHA256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    return types.SimpleNamespace(uris=["https://example.org/x"], fileNames=[archive.name], checksums=[checksum])


def test_both_samples_are_registered_with_what_slicer_needs(slicerApp, sampleData):
    sample_data.registerSampleData()
    assert sampleData.categories == {"UNetSegment": "UNetSegment"}
    phantom, hippocampus = sampleData.sources
    assert phantom["customDownloader"] == sample_data.loadPhantom
    assert hippocampus["customDownloader"] == sample_data.loadHippocampus
    assert re.fullmatch("SHA256:[0-9a-f]{64}", hippocampus["checksums"])
    assert "CC BY-SA 4.0" in hippocampus["sampleName"]
    for registered in sampleData.sources:
        assert registered["category"] == "UNetSegment"
        assert Path(registered["thumbnailFileName"]).stat().st_size > 0


def test_a_slicer_without_category_titles_gets_the_samples_too(slicerApp, sampleData, monkeypatch):
    monkeypatch.delattr(FakeSampleDataLogic, "registerCustomSampleDataCategory")
    sample_data.registerSampleData()
    assert len(sampleData.sources) == 2


def test_the_phantom_is_the_trainers_in_values_and_place(scene):
    node = sample_data.loadPhantom()
    expected, _labels = make_phantom(np.random.default_rng(1), domain="shifted")
    assert np.array_equal(slicer.util.arrayFromVolume(node), expected.array[0])
    assert node.GetSpacing() == pytest.approx((1.25, 1.25, 2.5))
    assert node.GetName() == "Phantom 1"


def test_every_further_phantom_is_another_body(scene):
    first, second = sample_data.loadPhantom(), sample_data.loadPhantom()
    assert second.GetName() == "Phantom 2"
    assert not np.array_equal(slicer.util.arrayFromVolume(first), slicer.util.arrayFromVolume(second))


def test_the_matrix_takes_slicers_indices_to_the_same_place():
    """Worked out by hand: index i grows in the third direction, and RAS is LPS with two signs turned."""
    direction = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0))
    geometry = Geometry((4, 5, 6), (2.0, 3.0, 5.0), (10.0, 20.0, 30.0), direction)
    matrix = sample_data.ijkToRas(geometry)
    assert matrix @ [0, 0, 0, 1] == pytest.approx([-10, -20, 30, 1])
    assert matrix @ [1, 0, 0, 1] == pytest.approx([-14, -17, 30, 1])
    assert matrix @ [0, 1, 0, 1] == pytest.approx([-11.8, -22.4, 30, 1])
    assert matrix @ [0, 0, 1, 1] == pytest.approx([-10, -20, 28, 1])


def test_the_archives_images_and_nothing_else_are_unpacked(archive, images):
    paths = sample_data.extractImages(archive)
    assert {path.name.removesuffix(".nii.gz"): path.read_bytes() for path in paths} == images
    assert sorted(path.name for path in archive.parent.iterdir()) == sorted([archive.name, *(p.name for p in paths)])
    assert not (archive.parent.parent / "outside.txt").exists()


def test_the_hippocampus_images_are_in_the_scene(scene, sampleData, archive):
    nodes = sample_data.loadHippocampus(source(archive))
    assert [node.GetName() for node in nodes] == list(sample_data.HIPPOCAMPUS_CASES)
    assert [int(slicer.util.arrayFromVolume(node)[0, 0, 0]) for node in nodes] == [0, 1, 2]


def test_an_archive_of_another_checksum_is_refused(scene, sampleData, archive):
    with pytest.raises(FileAccessError, match="published"):
        sample_data.loadHippocampus(source(archive, checksum=sample_data.HIPPOCAMPUS_CHECKSUM))
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []


@pytest.mark.parametrize("damage", ["cut short", "no archive", "empty", "another archive"])
def test_a_damaged_archive_is_named_with_a_way_out(archive, images, tmp_path, damage):
    content = archive.read_bytes()
    if damage == "another archive":
        (tmp_path / "x").touch()
        with tarfile.open(archive, "w") as tar:
            tar.add(tmp_path / "x")
    else:
        archive.write_bytes({"cut short": content[:1500], "no archive": b"<html>" * 500, "empty": b""}[damage])
    with pytest.raises(FileAccessError, match="Delete this file"):
        sample_data.extractImages(archive)
    whole = [images[path.name.removesuffix(".nii.gz")] for path in archive.parent.glob("*.nii.gz")]
    assert [path.read_bytes() for path in archive.parent.glob("*.nii.gz")] == whole
