from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unetseg.errors import ImageError
from unetseg.image_io import read_volume

UID = "1.2.826.0.1.3680043.2.1125.1"


def write_series(
    folder: Path, positions: list[tuple[float, float, float]], *, series: int = 1, text: str = "T1"
) -> None:
    """Axial slices of 3 × 4 pixels, 0.5 mm; slice k has the value 10k, and files are named against their order."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, position in enumerate(positions):
        image = sitk.Image([4, 3], sitk.sitkInt16) + 10 * number
        fields = {
            "0008|0060": "MR",
            "0008|0018": f"{UID}.{series}.{number + 1}",
            "0008|103e": text,
            "0020|000d": UID,
            "0020|000e": f"{UID}.{series}",
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(f"{value:g}" for value in position),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|0030": "0.5\\0.5",
        }
        for key, value in fields.items():
            image.SetMetaData(key, value)
        image.SetSpacing((0.5, 0.5))
        writer.SetFileName(str(folder / f"{series}_{99 - number}.dcm"))
        writer.Execute(image)


def stack(distance_mm: float, count: int) -> list[tuple[float, float, float]]:
    return [(-7.0, 8.0, 100.0 + distance_mm * number) for number in range(count)]


def test_a_series_is_ordered_by_position(tmp_path: Path) -> None:
    write_series(tmp_path, stack(2.5, 4))
    (tmp_path / "README.txt").write_text("not DICOM")
    volume = read_volume(tmp_path)
    assert volume.array[0, :, 0, 0].tolist() == [0, 10, 20, 30]
    assert volume.geometry.shape == (4, 3, 4)
    assert volume.geometry.spacing_mm == pytest.approx((2.5, 0.5, 0.5))
    assert volume.geometry.origin_mm == pytest.approx((-7, 8, 100))


def test_one_slice_is_a_volume(tmp_path: Path) -> None:
    write_series(tmp_path, stack(2.5, 1))
    assert read_volume(tmp_path).array.shape == (1, 1, 3, 4)
    assert read_volume(next(tmp_path.iterdir())).array.shape == (1, 1, 3, 4)


def test_several_series_are_listed(tmp_path: Path) -> None:
    write_series(tmp_path, stack(2.5, 3))
    write_series(tmp_path, stack(2.5, 2), series=2, text="FLAIR")
    with pytest.raises(ImageError, match=r"FLAIR \(2 files, .*T1 \(3 files, .*Move each series"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (
            stack(2.5, 3) + stack(2.5, 3),
            r"one image at each position.*(1_99.dcm and 1_96|1_98.dcm and 1_95|1_97.dcm and 1_94).dcm at one",
        ),
        ([*stack(2.5, 3), (-7.0, 8.0, 110.0)], r"evenly spaced.*5\.000 mm between .*elsewhere 2\.500 mm"),
        ([(-7.0, 8.0 + 0.5 * z, 100.0 + z) for z in range(4)], r"gantry tilt of 26\.6 degrees"),
    ],
    ids=["duplicates", "gap", "tilt"],
)
def test_what_is_no_even_upright_stack_is_refused(
    tmp_path: Path, positions: list[tuple[float, float, float]], message: str
) -> None:
    write_series(tmp_path, positions)
    with pytest.raises(ImageError, match=message):
        read_volume(tmp_path)


def test_rounded_positions_are_accepted(tmp_path: Path) -> None:
    write_series(tmp_path, [(x + 1e-3 * (number % 2), y, z + 0.05) for number, (x, y, z) in enumerate(stack(2.5, 5))])
    assert read_volume(tmp_path).geometry.spacing_mm == pytest.approx((2.5, 0.5, 0.5), rel=1e-3)


def test_real_series_equal_simpleitk(data_dir: Path) -> None:
    for folder in sorted((data_dir / "dicom").iterdir()):
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
        volume = read_volume(folder)
        assert np.array_equal(volume.array[0], sitk.GetArrayFromImage(image))
        assert volume.geometry.spacing_mm == pytest.approx(image.GetSpacing()[::-1])
