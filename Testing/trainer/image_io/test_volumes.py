from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unetseg.array_file import save_array
from unetseg.errors import ImageError
from unetseg.image_io import geometry_of, read_volume, write_image
from unetseg.volume import Geometry

OBLIQUE = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (1.0, 0.0, 0.0))
GEOMETRY = Geometry((4, 5, 6), (3.0, 0.5, 0.25), (-10.0, 20.0, 30.0), OBLIQUE)
ARRAY = np.arange(120, dtype=np.int16).reshape(4, 5, 6)


def write_nifti(path: Path, *, qform: int = 1, shear: float = 0.0) -> Path:
    """A NIfTI whose first axis leans by ``shear``, with or without a second, rigid definition."""
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<hh", content, 252, qform, 1)
    struct.pack_into("<4f", content, 280, -1.0, shear, 0.0, 0.0)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".npz"])
@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64, np.bool_]
)
def test_every_type_arrives_as_float32_on_its_grid(tmp_path: Path, ending: str, dtype: type) -> None:
    array = (ARRAY % 2 if dtype == np.bool_ else ARRAY).astype(dtype)
    write_image(tmp_path / f"image{ending}", array, GEOMETRY)
    volume = read_volume(tmp_path / f"image{ending}")
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, array[None].astype(np.float32))
    assert volume.geometry.matches(GEOMETRY, tolerance_voxel=1e-5)


def test_metaimage_with_its_data_in_a_second_file(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "image.mhd"))
    assert np.array_equal(read_volume(tmp_path / "image.mhd").array[0], ARRAY)
    next(tmp_path.glob("*raw")).unlink()
    with pytest.raises(ImageError, match="whole, undamaged"):
        read_volume(tmp_path / "image.mhd")


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_single_picture_is_one_slice(tmp_path: Path, ending: str) -> None:
    picture = np.arange(30, dtype=np.uint8).reshape(5, 6)
    sitk.WriteImage(sitk.GetImageFromArray(picture), str(tmp_path / f"p{ending}"))
    volume = read_volume(tmp_path / f"p{ending}")
    assert np.array_equal(volume.array, picture[None, None])
    assert volume.geometry.spacing_mm == pytest.approx((1, 1, 1))


def test_a_tiff_of_several_pages_is_a_stack(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY.astype(np.uint16)), str(tmp_path / "stack.tif"))
    assert np.array_equal(read_volume(tmp_path / "stack.tif").array[0], ARRAY)


def test_a_folder_of_pictures_is_a_stack_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        picture = np.full((3, 4), number, dtype=np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(picture), str(tmp_path / f"slice_{number}.png"))
    (tmp_path / "notes.txt").write_text("not a slice")
    volume = read_volume(tmp_path)
    assert volume.array.shape == (1, 3, 3, 4)
    assert volume.geometry.shape == (3, 3, 4)
    assert volume.array[0, :, 0, 0].tolist() == [1, 2, 10]


def test_a_folder_of_different_pictures_is_refused(tmp_path: Path) -> None:
    for size in (3, 4):
        sitk.WriteImage(sitk.Image([size, 5], sitk.sitkUInt8), str(tmp_path / f"slice_{size}.png"))
    with pytest.raises(ImageError, match=r"slice_4\.png with shape \(1, 1, 5, 4\)"):
        read_volume(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="must hold one DICOM series, or slices"):
        read_volume(tmp_path)


def test_colours_become_channels(tmp_path: Path, data_dir: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (5, 6, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgb.png"))
    assert np.array_equal(read_volume(tmp_path / "rgb.png").array[:, 0], np.moveaxis(colours, -1, 0))
    path = data_dir / "geometry" / "edge_rgb_vector_volume.nii.gz"
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert np.array_equal(read_volume(path).array, np.moveaxis(array, -1, 0))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_of_4d_images_only_those_with_one_frame_are_read(tmp_path: Path, ending: str) -> None:
    for frames in (1, 2):
        image = sitk.GetImageFromArray(np.stack([ARRAY] * frames), isVector=False)
        image.SetSpacing((0.25, 0.5, 3.0, 1.0))
        image.SetOrigin((-10.0, 20.0, 30.0, 0.0))
        sitk.WriteImage(image, str(tmp_path / f"{frames}{ending}"))
    volume = read_volume(tmp_path / f"1{ending}")
    assert np.array_equal(volume.array[0], ARRAY)
    assert volume.geometry.spacing_mm == (3.0, 0.5, 0.25)
    assert volume.geometry.origin_mm == (-10, 20, 30)
    with pytest.raises(ImageError, match=r"choose a frame.*Received: 2 frames"):
        read_volume(tmp_path / f"2{ending}")


def test_a_sequence_of_many_components_is_4d_too(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image([3, 4, 5], sitk.sitkVectorUInt8, 9), str(tmp_path / "sequence.nrrd"))
    with pytest.raises(ImageError, match=r"choose a frame.*9 frames"):
        read_volume(tmp_path / "sequence.nrrd")


def test_a_slightly_rough_direction_is_read_and_a_sheared_one_refused(tmp_path: Path) -> None:
    rough = read_volume(write_nifti(tmp_path / "rough.nii", qform=0, shear=1e-4))
    assert np.array_equal(rough.array[0], ARRAY)
    with pytest.raises(ImageError, match=r"perpendicular.*sheared.*Resample the image to a rectangular grid"):
        read_volume(write_nifti(tmp_path / "sheared.nii", qform=0, shear=0.2))


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_sheared_images_are_refused_in_every_format(tmp_path: Path, ending: str) -> None:
    image = sitk.GetImageFromArray(ARRAY)
    image.SetDirection((1.0, 0.2, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(image, str(tmp_path / f"sheared{ending}"))
    with pytest.raises(ImageError, match=r"orthogonal.*Resample a sheared"):
        read_volume(tmp_path / f"sheared{ending}")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_non_finite_values_are_refused_with_the_file(tmp_path: Path, value: float) -> None:
    array = ARRAY.astype(np.float64)
    array[0, 0, 0] = value
    write_image(tmp_path / "holes.nrrd", array, GEOMETRY)
    with pytest.raises(ImageError, match=r"NaN.*1 such voxels in .*holes\.nrrd"), np.errstate(over="ignore"):
        read_volume(tmp_path / "holes.nrrd")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".png", ".tif", ".npz", ".dcm"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_missing_empty_and_cut_off_files_are_refused(tmp_path: Path, ending: str, kept: float) -> None:
    path = tmp_path / f"image{ending}"
    with pytest.raises(ImageError, match=r"must exist\. Received: .*image"):
        read_volume(path)
    whole = tmp_path / ("whole.npz" if ending == ".npz" else "whole.nii" if ending == ".dcm" else f"whole{ending}")
    noise = np.random.default_rng(0).integers(0, 255, (1, 60, 70)).astype(np.uint8)
    write_image(whole, noise, Geometry(noise.shape))
    path.write_bytes(whole.read_bytes()[: int(kept * whole.stat().st_size)])
    with pytest.raises(ImageError, match=r"must be .*Received: .*image"):
        read_volume(path)


def test_an_image_without_voxels_is_refused(tmp_path: Path) -> None:
    header = b"NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 0 5\nencoding: raw\n\n"
    (tmp_path / "none.nrrd").write_bytes(header)
    with pytest.raises(ImageError):
        read_volume(tmp_path / "none.nrrd")
    with pytest.raises(ImageError, match="at least one file"):
        read_volume([])


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read_volume(write_nifti(tmp_path / "sheared_with_qform.nii", qform=1, shear=0.2))
    for path in (tmp_path, tmp_path / "missing.nii", write_nifti(tmp_path / "sheared.nii", qform=0, shear=0.2)):
        with pytest.raises(ImageError):
            read_volume(path)
    assert capfd.readouterr() == ("", "")
    assert sitk.ProcessObject.GetGlobalWarningDisplay()  # of others' images


def test_channels_are_brought_to_the_first_grid(tmp_path: Path) -> None:
    fine = Geometry((6, 10, 12), (1.0, 0.5, 0.5), (0.0, 0.0, 0.0), OBLIQUE)
    coarse = fine.with_spacing((2.0, 1.0, 1.0))
    indices = np.moveaxis(np.indices(fine.shape), 0, -1)
    where = indices @ fine.index_to_world[:3, :3].T + fine.index_to_world[:3, 3]
    at_coarse = np.moveaxis(np.indices(coarse.shape), 0, -1) @ coarse.index_to_world[:3, :3].T
    at_coarse = at_coarse + coarse.index_to_world[:3, 3]
    slope = np.array([1.0, -2.0, 3.0])
    write_image(tmp_path / "fine.nrrd", np.ones(fine.shape, dtype=np.float32), fine)
    write_image(tmp_path / "coarse.nrrd", (at_coarse @ slope).astype(np.float32), coarse)
    volume = read_volume([tmp_path / "fine.nrrd", tmp_path / "coarse.nrrd"])
    assert volume.geometry.matches(fine, tolerance_voxel=1e-6)
    assert (volume.array[0] == 1).all()
    inner = (slice(1, -1),) * 3
    assert np.abs(volume.array[1] - where @ slope)[inner].max() < 1e-4


def test_beyond_its_reach_a_channel_has_its_minimum_and_without_overlap_it_is_refused(tmp_path: Path) -> None:
    grid = Geometry((2, 2, 8))
    shifted = Geometry((2, 2, 8), origin_mm=(4.0, 0.0, 0.0))
    away = Geometry((2, 2, 8), origin_mm=(100.0, 0.0, 0.0))
    array = np.arange(32, dtype=np.int16).reshape(2, 2, 8) - 1000
    for name, geometry in (("first", grid), ("shifted", shifted), ("away", away)):
        write_image(tmp_path / f"{name}.nii", array, geometry)
    volume = read_volume([tmp_path / "first.nii", tmp_path / "shifted.nii"])
    assert volume.array[1, 1, 1].tolist() == [-1000] * 4 + [-976, -975, -974, -973]
    with pytest.raises(ImageError, match=r"must overlap\. Received: .*away\.nii"):
        read_volume([tmp_path / "first.nii", tmp_path / "away.nii"])


def test_one_image_with_several_channels_and_one_more(tmp_path: Path) -> None:
    write_image(tmp_path / "two.nrrd", np.stack([ARRAY, -ARRAY]), GEOMETRY)
    write_image(tmp_path / "one.nrrd", 2 * ARRAY, GEOMETRY)
    volume = read_volume([tmp_path / "two.nrrd", tmp_path / "one.nrrd"])
    assert np.array_equal(volume.array, np.stack([ARRAY, -ARRAY, 2 * ARRAY]))


def test_npz_from_the_other_process(tmp_path: Path) -> None:
    save_array(tmp_path / "image.npz", np.stack([ARRAY, -ARRAY]), GEOMETRY)
    volume = read_volume(tmp_path / "image.npz")
    assert volume.geometry == GEOMETRY
    assert np.array_equal(volume.array, np.stack([ARRAY, -ARRAY]))


REAL = [
    "geometry/ct_pitch_oblique.nii.gz",
    "geometry/edge_rgb_vector_volume.nii.gz",
    "geometry/flair_oblique.nrrd",
    "geometry/sct_t1.nii.gz",
    "geometry/sct_t1_label.nii.gz",
    "geometry/sct_t2.nii.gz",
    "geometry/sct_t2_label.nii.gz",
    "geometry/sct_t2s.nii.gz",
    "geometry/sct_t2s_label.nii.gz",
    "dicom/mr_pgbm003_flair_reg",
    "dicom/mr_pgbm003_t1post",
    "multigrid_ms_patient12/patient12_study1_flair.nii.gz",
    "multigrid_ms_patient12/patient12_study1_t2w.nii.gz",
]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_real_geometry_survives_reading_and_writing(data_dir: Path, tmp_path: Path, name: str, ending: str) -> None:
    source = data_dir / name
    volume = read_volume(source)
    output = tmp_path / f"result{ending}"
    write_image(output, (volume.array[0] > 0).astype(np.uint8), volume.geometry)
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(source)) if source.is_dir() else str(source)
    original, written = sitk.ReadImage(files), sitk.ReadImage(str(output))
    assert written.GetSize() == original.GetSize()
    # NIfTI keeps geometry in float32 and directions as a quaternion.
    tolerance = 2e-6 if ending == ".nii.gz" else 1e-9
    assert written.GetSpacing() == pytest.approx(original.GetSpacing(), rel=tolerance)
    assert written.GetOrigin() == pytest.approx(original.GetOrigin(), rel=tolerance, abs=1e-5)
    assert written.GetDirection() == pytest.approx(original.GetDirection(), abs=max(tolerance, 1e-8))
    assert geometry_of(written).matches(volume.geometry, tolerance_voxel=1e-3)


def test_real_channels_on_different_grids_show_the_same_head(data_dir: Path) -> None:
    paths = [data_dir / "multigrid_ms_patient12" / f"patient12_study1_{name}.nii.gz" for name in ("flair", "t2w")]
    volume = read_volume(paths)
    assert volume.geometry == read_volume(paths[0]).geometry
    assert np.corrcoef(volume.array[0].ravel(), volume.array[1].ravel())[0, 1] > 0.8
