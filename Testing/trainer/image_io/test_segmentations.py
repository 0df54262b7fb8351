from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unetseg.array_file import save_array
from unetseg.config import Label
from unetseg.errors import ImageError
from unetseg.image_io import read_label_map, read_labels, write_image, write_label_map
from unetseg.volume import Geometry, LabelMap

GEOMETRY = Geometry((2, 3, 4), (3.0, 0.5, 0.25), (-10.0, 20.0, 30.0))
ARRAY = np.array([0, 1, 2, 255] * 6, dtype=np.uint8).reshape(2, 3, 4)
LIVER = "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~^^~^^"
LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "liver", (221, 130, 101), LIVER),
    Label(2, "größter Tumor", (144, 238, 144)),
)


def write_layers(path: Path, layers: list[list[int]], segments: list[tuple[str, int, int]]) -> None:
    """A ``.seg.nrrd`` of layers of four voxels and segments (name, layer, label value), as Slicer writes it."""
    array = np.array(layers, dtype=np.uint8).T.reshape(1, 1, 4, len(layers))
    image = sitk.GetImageFromArray(array, isVector=len(layers) > 1)
    if len(layers) == 1:
        image = sitk.GetImageFromArray(array[..., 0])
    for number, (name, layer, value) in enumerate(segments):
        fields = {"ID": f"Segment_{number + 1}", "Name": name, "Layer": str(layer), "LabelValue": str(value)}
        for key, text in {**fields, "Color": "1 0.5 0", "Extent": "0 3 0 0 0 0", "Tags": "|"}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    sitk.WriteImage(image, str(path))
    content = path.read_bytes().replace(b"kinds: vector domain", b"kinds: list domain")
    path.write_bytes(content)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha", ".npz"])
def test_label_maps_come_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"labels{ending}"
    write_label_map(path, LabelMap(ARRAY, GEOMETRY), LABELS)
    label_map = read_label_map(path)
    assert np.array_equal(label_map.array, ARRAY)
    assert label_map.geometry.matches(GEOMETRY, tolerance_voxel=1e-5)
    assert read_labels(path) == (LABELS[1:] if ending == ".seg.nrrd" else ())


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint64, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_labels(tmp_path: Path, dtype: type) -> None:
    write_image(tmp_path / "labels.nrrd", ARRAY.astype(dtype), GEOMETRY)
    label_map = read_label_map(tmp_path / "labels.nrrd")
    assert label_map.array.dtype == np.uint8
    assert np.array_equal(label_map.array, ARRAY)


@pytest.mark.parametrize("value", [-1, 256, 0.5, np.nan, np.inf])
def test_other_values_are_refused(tmp_path: Path, value: float) -> None:
    array = np.zeros(GEOMETRY.shape)
    array[1, 1, 1] = value
    write_image(tmp_path / "labels.nrrd", array, GEOMETRY)
    with pytest.raises(ImageError, match=r"whole numbers in 0 … 255\. Received: values from .*labels\.nrrd"):
        read_label_map(tmp_path / "labels.nrrd")


def test_masks_of_bool_and_pictures_in_colour(tmp_path: Path) -> None:
    save_array(tmp_path / "mask.npz", ARRAY > 1, GEOMETRY)
    assert np.array_equal(read_label_map(tmp_path / "mask.npz").array, ARRAY > 1)
    sitk.WriteImage(sitk.Image([4, 3], sitk.sitkVectorUInt8, 3), str(tmp_path / "colours.png"))
    with pytest.raises(ImageError, match=r"one value per voxel\. Received: 3 .*not in colours"):
        read_label_map(tmp_path / "colours.png")


def test_real_label_maps_of_other_types(data_dir: Path) -> None:
    values = {
        "geometry/sct_t2s_label.nii.gz": {0, 1},  # int16
        "nrrd_pyradiomics/brain1_label.nrrd": {0, 1},  # int32
    }
    for name, expected in values.items():
        assert set(np.unique(read_label_map(data_dir / name).array)) == expected


def test_an_image_is_not_taken_for_labels(data_dir: Path) -> None:
    with pytest.raises(ImageError, match="Check that this is the label map and not the image"):
        read_label_map(data_dir / "geometry" / "sct_t1.nii.gz")


def test_slicer_finds_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "labels.seg.nrrd"
    write_label_map(path, LabelMap(ARRAY, GEOMETRY), LABELS)
    header = path.read_bytes().split(b"\n\n")[0].decode()
    for line in (
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segment0_Name:=liver",
        "Segment0_Color:=0.866667 0.509804 0.396078",
        "Segment0_LabelValue:=1",
        "Segment0_Layer:=0",
        "Segment0_Extent:=0 3 0 2 0 1",
        f"Segment0_Tags:=TerminologyEntry:{LIVER}|",
        "Segment1_ID:=Segment_2",
    ):
        assert line in header


def test_segments_keep_their_values_where_these_are_unique(tmp_path: Path) -> None:
    path = tmp_path / "two.seg.nrrd"
    write_layers(path, [[3, 7, 0, 3]], [("a", 0, 7), ("b", 0, 3)])
    assert read_label_map(path).array.ravel().tolist() == [3, 7, 0, 3]
    assert read_labels(path) == (Label(7, "a", (255, 128, 0)), Label(3, "b", (255, 128, 0)))


def test_segments_of_several_layers_are_numbered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "layers.seg.nrrd"
    write_layers(path, [[1, 0, 0, 2], [0, 1, 0, 0]], [("a", 0, 2), ("b", 1, 1), ("c", 0, 1)])
    assert read_label_map(path).array.ravel().tolist() == [3, 2, 0, 1]
    assert [(label.name, label.value) for label in read_labels(path)] == [("a", 1), ("b", 2), ("c", 3)]


def test_what_belongs_to_no_segment_is_background_or_stays_unlabelled(tmp_path: Path) -> None:
    path = tmp_path / "deleted.seg.nrrd"
    write_layers(path, [[1, 2, 0, 255]], [("a", 0, 1)])
    assert read_label_map(path).array.ravel().tolist() == [1, 0, 0, 255]


def test_overlapping_segments_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "overlap.seg.nrrd"
    write_layers(path, [[1, 1, 0, 0], [0, 1, 1, 0]], [("liver", 0, 1), ("tumour", 1, 1)])
    with pytest.raises(ImageError, match=r"must not overlap.*tumour and liver.*Segment Editor"):
        read_label_map(path)


@pytest.mark.parametrize(("value", "layer"), [("x", "0"), ("0", "0"), ("255", "0"), ("1", "5")])
def test_damaged_segments_are_refused(tmp_path: Path, value: str, layer: str) -> None:
    image = sitk.Image([4, 1, 1], sitk.sitkUInt8)
    image.SetMetaData("Segment0_LabelValue", value)
    image.SetMetaData("Segment0_Layer", layer)
    sitk.WriteImage(image, str(tmp_path / "damaged.seg.nrrd"))
    with pytest.raises(ImageError, match=r"damaged\.seg\.nrrd"):
        read_label_map(tmp_path / "damaged.seg.nrrd")
