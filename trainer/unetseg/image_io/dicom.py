"""The slices of a DICOM folder, checked to be one evenly spaced, upright stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import ImageError

LARGEST_TILT = 1e-3
"""Sideways shift per distance between slices that is still rounding: the tolerance of ``Geometry``."""

LARGEST_GAP_DEVIATION = 0.05
"""Share of the slice distance by which single distances may differ."""

SERIES_DESCRIPTION = "0008|103e"


def series_files(folder: Path) -> list[str]:
    """The files of the folder's only DICOM series in order of position; empty where it holds no DICOM.

    Raises ``ImageError`` for several series (lists them), several images at one place, missing slices, and
    slices that are shifted sideways (gantry tilt): ITK would read all of these as an even, upright stack.
    """
    series = {
        series_id: list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series_id))
        for series_id in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }
    if not series:
        return []
    if len(series) > 1:
        raise ImageError(
            "A folder must hold a single DICOM series",
            received="; ".join(sorted(_described(files) for files in series.values())),
            remedy="Move each series to a folder of its own",
        )
    (files,) = series.values()
    return _checked_stack(folder, files) if len(files) > 1 else files


def _described(files: list[str]) -> str:
    reader = _header(files[0])
    text = reader.GetMetaData(SERIES_DESCRIPTION).strip() if reader.HasMetaDataKey(SERIES_DESCRIPTION) else "unnamed"
    return f"{text} ({len(files)} files, first {Path(files[0]).name})"


def _header(file: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ImageError("Every file of a DICOM series must be readable", received=file) from error
    return reader


def _checked_stack(folder: Path, files: list[str]) -> list[str]:
    headers = [_header(file) for file in files]
    normal = np.reshape(headers[0].GetDirection(), (3, 3))[:, 2]
    origins = np.array([header.GetOrigin() for header in headers])
    order = np.argsort(origins @ normal, kind="stable")
    files = [files[index] for index in order]
    steps = np.diff(origins[order], axis=0)
    _check_gaps(folder, files, steps @ normal)
    tilt = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1) / (steps @ normal)
    if tilt.max() > LARGEST_TILT:
        degrees = float(np.degrees(np.arctan(np.median(tilt))))
        raise ImageError(
            "The slices of a series must lie straight above each other",
            received=f"a gantry tilt of {degrees:.1f} degrees in {folder}",
            remedy="Resample the series to a rectangular grid first, for example by loading it in Slicer",
        )
    return files


def _check_gaps(folder: Path, files: list[str], gaps_mm: NDArray[np.float64]) -> None:
    usual = float(np.median(gaps_mm))
    same = int(np.argmin(gaps_mm))
    if gaps_mm[same] <= LARGEST_GAP_DEVIATION * usual:
        raise ImageError(
            "A series must have one image at each position; choose a frame of a time series",
            received=f"{Path(files[same]).name} and {Path(files[same + 1]).name} at one position in {folder}",
            remedy="Move each frame to a folder of its own, and duplicates elsewhere",
        )
    odd = int(np.argmax(np.abs(gaps_mm - usual)))
    if abs(gaps_mm[odd] - usual) > LARGEST_GAP_DEVIATION * usual:
        raise ImageError(
            "The slices of a series must be evenly spaced",
            received=f"{gaps_mm[odd]:.3f} mm between {Path(files[odd]).name} and {Path(files[odd + 1]).name}, "
            f"elsewhere {usual:.3f} mm, in {folder}",
            remedy="Add the missing slices, or resample the series first",
        )
