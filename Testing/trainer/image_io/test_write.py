from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unetseg.errors import FileAccessError, ImageError
from unetseg.image_io import geometry_of, read_label_map, read_volume, write_image, write_label_map
from unetseg.volume import Geometry, LabelMap

GEOMETRY = Geometry(
    (4, 5, 6), (3.0, 0.5, 0.25), (-10.0, 20.0, 30.0), ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (1.0, 0.0, 0.0))
)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1)])
def test_volumes_of_one_slice_keep_their_place(tmp_path: Path, ending: str, shape: tuple[int, int, int]) -> None:
    geometry = GEOMETRY.cropped((1, 2, 3), shape)
    array = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    write_label_map(tmp_path / f"thin{ending}", LabelMap(array, geometry))
    label_map = read_label_map(tmp_path / f"thin{ending}")
    assert np.array_equal(label_map.array, array)
    assert label_map.geometry.matches(geometry, tolerance_voxel=1e-5)


@pytest.mark.parametrize(
    "direction",
    [
        ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)),
        ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),  # left-handed
        ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
        ((0.0, 1e-4, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),  # rough
    ],
)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("spacing_mm", [(5.0, 0.3, 0.3), (1e-3, 2e-3, 1e-3)])
def test_unusual_grids_keep_their_place(
    tmp_path: Path,
    direction: tuple[tuple[float, float, float], ...],
    ending: str,
    spacing_mm: tuple[float, float, float],
) -> None:
    geometry = Geometry((3, 4, 5), spacing_mm, (64.0, -32.0, 16.0), direction)  # type: ignore[arg-type]
    write_image(tmp_path / f"image{ending}", np.zeros((3, 4, 5), np.float32), geometry)
    assert read_volume(tmp_path / f"image{ending}").geometry.matches(geometry)


def test_probabilities_are_written_as_vectors(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).random((3, *GEOMETRY.shape), dtype=np.float32)
    write_image(tmp_path / "p.nii.gz", probabilities, GEOMETRY)
    image = sitk.ReadImage(str(tmp_path / "p.nii.gz"))
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert np.array_equal(np.moveaxis(sitk.GetArrayFromImage(image), -1, 0), probabilities)
    assert geometry_of(image).matches(GEOMETRY)


def test_pictures(tmp_path: Path) -> None:
    slice_ = np.arange(30, dtype=np.uint8).reshape(1, 5, 6)
    write_image(tmp_path / "p.png", slice_, Geometry((1, 5, 6)))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "p.png"))), slice_[0])
    stack = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    write_image(tmp_path / "s.tif", stack, Geometry((4, 5, 6)))
    assert np.array_equal(read_volume(tmp_path / "s.tif").array[0], stack)
    with pytest.raises(ImageError, match=r"single slice\. Received: 4 slices for s\.png"):
        write_image(tmp_path / "s.png", stack, Geometry((4, 5, 6)))


@pytest.mark.parametrize("name", ["image.mhd", "image.jpg", "image", "image.gz"])
def test_other_formats_are_refused_with_the_list(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=rf"one of \.nii\.gz, .*Received: {name}"):
        write_image(tmp_path / name, np.zeros((4, 5, 6)), GEOMETRY)
    assert not list(tmp_path.iterdir())


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\(4, 5, 6\)\. Received: shape \(6, 5, 4\)"):
        write_image(tmp_path / "image.nrrd", np.zeros((6, 5, 4)), GEOMETRY)


@pytest.mark.parametrize("name", ["no_such_folder/image.nii.gz", "image.png", "folder.nrrd"])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "image.png").write_text("old")
    (tmp_path / "folder.nrrd").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileAccessError, match="must be writable"):
        write_image(tmp_path / name, np.zeros((1, 5, 6), dtype=np.float64), Geometry((1, 5, 6)))
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "image.png").read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".npz"])
def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    import resource
    import signal

    path = tmp_path / f"image{ending}"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(0).random((20, 60, 70), dtype=np.float32)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(FileAccessError):
            write_image(path, noise, Geometry(noise.shape))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_array_is_not_changed(tmp_path: Path) -> None:
    array = np.ones(GEOMETRY.shape, dtype=bool)
    write_image(tmp_path / "mask.nrrd", array, GEOMETRY)
    assert array.dtype == np.bool_
    assert array.all()
