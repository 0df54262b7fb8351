from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unetseg.config import Label
from unetseg.data import CaseFiles, default_labels, find_cases, load_case
from unetseg.errors import TrainingDataError
from unetseg.image_io import write_label_map
from unetseg.volume import Geometry, LabelMap


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, array: np.ndarray, *, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def write_json(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_a_folder_pairs_images_and_labels_by_name_in_natural_order(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    touch(images / "case_10.nii.gz", images / "case_2.nrrd", images / "case_3.mha", images / "notes.txt")
    touch(labels / "case_10.seg.nrrd.bak", labels / "case_10.nii", labels / "case_2.nii.gz", images / ".hidden.nii")
    found = find_cases(tmp_path)
    assert found.cases == (
        CaseFiles("case_2", (images / "case_2.nrrd",), labels / "case_2.nii.gz"),
        CaseFiles("case_3", (images / "case_3.mha",), None),
        CaseFiles("case_10", (images / "case_10.nii.gz",), labels / "case_10.nii"),
    )
    assert (found.labels, found.modality) == ((), None)


def test_channels_and_series_folders(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    touch(images / "a_0001.nii.gz", images / "a_0000.nii.gz", labels / "a.nii.gz")
    touch(images / "series_0000" / "1.dcm", images / "series_0001" / "1.dcm")
    first, second = find_cases(tmp_path).cases
    assert first == CaseFiles("a", (images / "a_0000.nii.gz", images / "a_0001.nii.gz"), labels / "a.nii.gz")
    assert second == CaseFiles("series", (images / "series_0000", images / "series_0001"), None)


@pytest.mark.parametrize("folders", [("images",), ("images", "labels")])
@pytest.mark.parametrize("numbers", [("2019", "2020"), ("0000", "0001")])
def test_four_digits_at_the_end_of_a_name_need_not_be_a_channel(
    tmp_path: Path, numbers: tuple[str, str], folders: tuple[str, ...]
) -> None:
    touch(*(tmp_path / folder / f"scan_{number}.nii" for folder in folders for number in numbers))
    channels = numbers[0] == "0000" and "labels" not in folders
    expected = [("scan", 2)] if channels else [(f"scan_{number}", 1) for number in numbers]
    assert [(case.name, len(case.images)) for case in find_cases(tmp_path).cases] == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["images/a.nii", "labels/b.nii"], r"needs an image of the same name.*no image for b"),
        (["images/a.nii", "images/a.nrrd"], "a name of its own.*a twice"),
        (["images/a.nii", "images/a_0000.nii"], "a name of its own.*a twice"),
        (["images/a.nii", "labels/a.nii", "labels/a.nrrd"], "a name of its own.*a twice"),
        (["images/a_0000.nii", "images/a_0002.nii"], "without a gap.*a without _0001"),
        (["images/a_0000.nii", "images/a_0001.nii", "images/b_0000.nii"], "same number of channels.*b has 1, a has 2"),
        (["images/notes.txt"], "at least one image"),
        (["other/a.nii"], "folder with images/ and labels/"),
    ],
)
def test_a_broken_folder_gives_one_clear_error(tmp_path: Path, files: list[str], message: str) -> None:
    touch(*(tmp_path / file for file in files))
    with pytest.raises(TrainingDataError, match=message):
        find_cases(tmp_path)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="nowhere, which does not exist"):
        find_cases(tmp_path / "nowhere")


def test_decathlon_dataset(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr" / "h_1.nii.gz", tmp_path / "labelsTr" / "h_1.nii.gz")
    data = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": [{"image": "./imagesTr/h_1.nii.gz", "label": "./labelsTr/h_1.nii.gz"}],
        "test": ["./imagesTs/h_2.nii.gz"],
    }
    found = find_cases(write_json(tmp_path / "dataset.json", data))
    assert found == find_cases(tmp_path)
    assert found.cases == (
        CaseFiles("h_1", (tmp_path / "imagesTr" / "h_1.nii.gz",), tmp_path / "labelsTr" / "h_1.nii.gz"),
    )
    assert [label.name for label in found.labels] == ["background", "Anterior", "Posterior"]
    assert found.modality == "MR"


def test_nnunet_dataset_with_ignore_label(tmp_path: Path) -> None:
    touch(*(tmp_path / "imagesTr" / f"x_{channel:04d}.nrrd" for channel in range(2)), tmp_path / "labelsTr" / "x.nrrd")
    data = {
        "channel_names": {"0": "CT", "1": "CT"},
        "labels": {"background": 0, "liver": 2, "ignore": 3},
        "file_ending": ".nrrd",
        "numTraining": 1,
    }
    found = find_cases(write_json(tmp_path / "dataset.json", data).parent)
    assert [(case.name, len(case.images), case.ignore_value) for case in found.cases] == [("x", 2, 3)]
    assert [label.name for label in found.labels] == ["background", "class 1", "liver"]
    assert found.modality == "CT"
    write_json(tmp_path / "dataset.json", data | {"channel_names": {"0": "CT"}})
    with pytest.raises(TrainingDataError, match=r"the 1 channels of channel_names.*x with 2"):
        find_cases(tmp_path)


def test_json_list_is_relative_to_its_file(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a_0000.nii", tmp_path / "in" / "a_0001.nii", tmp_path / "b.nrrd", tmp_path / "c.nrrd")
    entries = [
        {"images": ["in/a_0000.nii", "in/a_0001.nii"], "label": "b.nrrd"},
        {"images": ["b.nrrd", str(tmp_path / "c.nrrd")], "name": "second"},
    ]
    found = find_cases(write_json(tmp_path / "cases.json", entries))
    assert found.cases == (
        CaseFiles("a", (tmp_path / "in" / "a_0000.nii", tmp_path / "in" / "a_0001.nii"), tmp_path / "b.nrrd"),
        CaseFiles("second", (tmp_path / "b.nrrd", tmp_path / "c.nrrd"), None),
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"anything": 1}, "must be a list of cases, or a dataset.json"),
        ([], "at least one image"),
        ([{"label": "a.nii"}], "case 0 needs the field 'images'"),
        ([{"images": []}], "case 0 needs at least one image"),
        ([{"images": ["a.nii"], "mask": "b.nii"}], "case 0 has no field 'mask'"),
        ([{"images": ["missing.nii"]}], "must exist.*missing.nii of case missing"),
        ([{"images": ["cases.json"], "name": "a"}] * 2, "a twice"),
        ({"training": 3}, "training must be an array"),
        ({"training": [], "labels": {"x": "liver"}}, "the label liver must have a whole number"),
        ({"channel_names": {"0": "CT"}, "labels": {"all": [1, 2]}}, "region of several values"),
        ({"channel_names": {"0": "CT"}, "labels": {"liver": 300}}, "0 … 254"),
        ({"channel_names": {"0": "CT"}, "labels": {"liver": 1}}, "the folder imagesTr"),
    ],
)
def test_broken_json_gives_one_clear_error(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(TrainingDataError, match=message):
        find_cases(write_json(tmp_path / "cases.json", data))


def test_text_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text("[", encoding="utf-8")
    with pytest.raises(TrainingDataError, match=r"does not describe cases.*not valid JSON"):
        find_cases(tmp_path / "cases.json")


def test_default_labels_have_distinct_colours_and_given_names() -> None:
    labels = default_labels(4, {2: "vessel"})
    assert [(label.value, label.name) for label in labels] == [
        (0, "background"),
        (1, "class 1"),
        (2, "vessel"),
        (3, "class 3"),
    ]
    assert labels[0].color == (0, 0, 0)
    assert len({label.color for label in default_labels(11)}) == 11
    assert len(default_labels(40)) == 40


def test_load_case_reads_values_and_turns_the_ignore_value_into_unlabelled(tmp_path: Path) -> None:
    image = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    labels = np.array([0, 1, 2, 3] * 6, dtype=np.uint8).reshape(2, 3, 4)
    spacing = (0.5, 0.7, 3.0)
    paths = (
        write(tmp_path / "a_0000.nii.gz", image, spacing=spacing),
        write(tmp_path / "a_0001.nii.gz", -image, spacing=spacing),
    )
    label = write(tmp_path / "a.nii.gz", labels, spacing=spacing)
    case = load_case(CaseFiles("a", paths, label, ignore_value=3))
    assert (case.volume.array == np.stack([image, -image])).all()
    assert case.volume.geometry.spacing_mm == pytest.approx((3.0, 0.7, 0.5))
    assert case.annotation is not None
    assert (case.annotation.array == np.where(labels == 3, 255, labels)).all()
    assert case.edited is None
    assert load_case(CaseFiles("a", paths, None)).annotation is None


def test_a_label_map_on_another_grid_is_refused_with_both_files(tmp_path: Path) -> None:
    image = write(tmp_path / "image.nrrd", np.zeros((2, 3, 4), dtype=np.int16))
    label = write(tmp_path / "label.nrrd", np.zeros((2, 3, 4), dtype=np.uint8), spacing=(1.0, 1.0, 1.5))
    with pytest.raises(TrainingDataError, match=r"label\.nrrd with .* spacing \(1\.5, .*image\.nrrd with"):
        load_case(CaseFiles("a", (image,), label))


def test_names_and_colours_come_from_segmentations_that_must_agree(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.nrrd", tmp_path / "images" / "b.nrrd")
    (tmp_path / "labels").mkdir()
    label_map = LabelMap(np.full((2, 2, 2), 2, dtype=np.uint8), Geometry((2, 2, 2)))
    for name, structure in (("a", "liver"), ("b", "liver")):
        label = Label(value=2, name=structure, color=(10, 20, 30))
        write_label_map(tmp_path / "labels" / f"{name}.seg.nrrd", label_map, [label])
    found = find_cases(tmp_path)
    assert [label.name for label in found.labels] == ["background", "class 1", "liver"]
    assert found.labels[2].color == (10, 20, 30)
    write_label_map(tmp_path / "labels" / "b.seg.nrrd", label_map, [Label(value=2, name="spleen", color=(1, 2, 3))])
    with pytest.raises(TrainingDataError, match="2 is liver, but spleen in"):
        find_cases(tmp_path)


def test_real_cases(data_dir: Path) -> None:
    found = find_cases(data_dir / "hippocampus")
    assert len(found.cases) == 176
    assert all(case.label is not None for case in found.cases)
    case = load_case(found.cases[0])
    assert case.annotation is not None
    assert case.annotation.geometry.matches(case.volume.geometry)
    assert set(np.unique(case.annotation.array)) == {0, 1, 2}
