"""Whom the simulated radiologist works on, and the first models, which know them badly enough to be corrected."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unetseg.config import Label, TrainingSettings
from unetseg.data import Case, find_cases, load_case
from unetseg.phantom import make_phantom
from unetseg.training import Control, TrainingRequest, train
from unetseg.volume import LabelMap, Volume
from UNetSegmentLib.sample_data import ijkToRas

REPOSITORY = Path(__file__).resolve().parents[2]
SHAPE, SPACING_MM = (24, 32, 32), (5.0, 2.5, 2.5)
"""Of the phantoms: every other voxel of those that ``make_phantom`` makes by itself."""
SMALL = {"unet_2d": {}, "unet_3d": {"base_channels": 8, "depth": 3}}
HIPPOCAMPUS_LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "anterior hippocampus", (230, 159, 0)),
    Label(2, "posterior hippocampus", (86, 180, 233)),
)


def trainFirst(output: Path, cases: list[Case], labels: tuple[Label, ...], network: str) -> Path:
    """A model that has learned from ``cases`` for a few seconds."""
    settings = TrainingSettings(iterations=30, validations=0, learning_rate=5e-3)
    request = TrainingRequest(
        cases, output, settings, labels, network, network_arguments=SMALL[network], modality="MR", device="cpu"
    )
    return train(request, control=Control(), report=lambda progress: None).path


def phantom(number: int, **others: Any) -> Case:
    """A body of the first scanner, upright unless ``others`` say otherwise; each number is another one."""
    generator = np.random.default_rng(number)
    return Case(f"Phantom {number}", *make_phantom(generator, shape=SHAPE, spacing_mm=SPACING_MM, **others))


def unknownPhantom(number: int = 12) -> Case:
    """A body as no model has seen any: from the other scanner, and aslant."""
    return phantom(number, domain="shifted", oblique=True)


def twoContrasts(number: int, **others: Any) -> tuple[Case, Volume]:
    """A body in two contrasts, and the second one alone as it was before it was brought to the grid of the first."""
    fine, labels = make_phantom(np.random.default_rng(number), **others)
    second = Volume(fine.array.max() - fine.array, fine.geometry)
    grid = replace(fine.geometry, shape=SHAPE, spacing_mm=SPACING_MM)
    channels = np.concatenate([fine.array, second.array])[:, ::2, ::2, ::2]
    return Case(f"Phantom {number}", Volume(channels, grid), LabelMap(labels.array[::2, ::2, ::2], grid)), second


def otherwiseStored(volume: Volume) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The first channel with its axes in another order, one of them backwards; and the IJK to RAS that goes with it."""
    array = volume.array[0][::-1].transpose(1, 0, 2)
    axes = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, len(volume.array[0]) - 1], [0, 0, 0, 1]])
    return array, ijkToRas(volume.geometry) @ axes


def hippocampusFolder() -> Path:
    """Where the images of the data set Task04 of the Medical Segmentation Decathlon lie; skips a test without them."""
    folder = (REPOSITORY / os.environ.get("UNETSEG_DATA", "../shared/data")).resolve() / "hippocampus"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set UNETSEG_DATA to the folder above")
    return folder


def hippocampusCases(remainder: int, count: int) -> list[Case]:
    """The first ``count`` cases whose number leaves ``remainder`` when divided by three."""
    found = find_cases(hippocampusFolder()).cases
    chosen = [files for files in found if int(files.name.rpartition("_")[2]) % 3 == remainder]
    return [load_case(files) for files in chosen[:count]]
