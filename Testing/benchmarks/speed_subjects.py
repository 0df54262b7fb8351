"""The volumes and networks that the benchmarks of speed compute on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from experiment import DATA
from unetseg.config import MAX_INT8_DICE_LOSS, Int8, TrainingSettings
from unetseg.data import Case
from unetseg.errors import SettingsError
from unetseg.image_io import read_volume
from unetseg.inference import calibrate, int8_dice_loss
from unetseg.inference.quantised import is_available
from unetseg.model_file import Model, load_model, save_model
from unetseg.phantom import PHANTOM_LABELS, make_phantom
from unetseg.preprocessing import Reorientation, prepare_annotation, preprocess
from unetseg.training import Control, TrainingRequest, train
from unetseg.volume import LabelMap, Shape, Volume

REAL = {
    "large_mr": "large_mr/studyforrest_t1w.nii.gz",
    "large_ct": "large_ct/lidc_idri_0314_ct_z130-229.nii.gz",
    "ct_liver_chaos": "ct_liver_chaos/images/chaos_ct_set_3.nii.gz",
}
"""Images of UNETSEG_DATA. The network does not know what they show: only its speed and exactness are measured."""
PHANTOM = re.compile(r"(\d+)x(\d+)x(\d+)")
TEST_SEED, HELD_OUT_SEED, TRAINING_SEED = 0, 1, 2


@dataclass(frozen=True)
class Subject:
    """One volume as one network gets it.

    Attributes:
        image: float32 (C, d, h, w), as ``preprocess`` prepares it but for the spacing, which stays.
        truth: uint8 (d, h, w); None where nobody knows what the network should find.
    """

    image: Path
    truth: Path | None


def phantom_shape(name: str) -> Shape | None:
    """(96, 96, 80) for ``96x96x80``, None for other names."""
    match = PHANTOM.fullmatch(name)
    if match is None:
        return None
    d, h, w = (int(size) for size in match.groups())
    return d, h, w


def missing(name: str) -> str | None:
    """Why there is no such volume here, in a sentence; None where there is."""
    if phantom_shape(name):
        return None
    if name not in REAL:
        raise SettingsError(
            f"A volume is a phantom's shape or one of {', '.join(REAL)}", received=name, remedy="Write 96x96x80"
        )
    path = DATA / REAL[name]
    return None if path.is_file() else f"{name} was left out: there is no file {path} (set UNETSEG_DATA)."


def load_volume(name: str) -> tuple[Volume, LabelMap | None]:
    """The volume and, of a phantom, its labels."""
    shape = phantom_shape(name)
    return phantom(TEST_SEED, shape) if shape else (read_volume([DATA / REAL[name]]), None)


def files(name: str, model: Model, label: str, folder: Path) -> Subject:
    """Those of the volume for the model, which is called ``label``; made where they are not in the folder yet."""
    image, truth = (folder / f"{label}_{name}_{kind}.npy" for kind in ("image", "truth"))
    known = phantom_shape(name) is not None and model.document.labels == PHANTOM_LABELS
    if not image.is_file():
        volume, labels = load_volume(name)
        grid = Reorientation.towards(volume.geometry, model.document.plan.orientation).apply_geometry(volume.geometry)
        prepared = preprocess(volume, replace(model.document.plan, spacing_mm=grid.spacing_mm))
        if known:
            np.save(truth, prepare_annotation(labels, prepared))
        np.save(image, prepared.image)
    return Subject(image, truth if known else None)


def trained_model(
    network: str, preset: str, path: Path, *, shapes: Sequence[Shape], seconds: float, device: str
) -> Model:
    """The model of the file; where there is none, one is trained on phantoms of these shapes and written there.

    For the CPU it is also calibrated for int8, if that costs as little Dice as a model must state.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        cases = [Case(f"phantom {index}", *phantom(TRAINING_SEED + index, shape)) for index, shape in enumerate(shapes)]
        request = TrainingRequest(
            cases=cases,
            output=path,
            settings=TrainingSettings(seconds=seconds),
            labels=PHANTOM_LABELS,
            network=network,
            preset=preset,
            modality="MR",
            device=device,
        )
        model = train(request, control=Control(), report=lambda progress: None).model
        if device == "cpu" and is_available():
            held_out = Case("held out", *phantom(HELD_OUT_SEED, shapes[0]))
            _calibrate(path, model, cases, held_out)
    return load_model(path)


def _calibrate(path: Path, model: Model, cases: Sequence[Case], held_out: Case) -> None:
    plan = model.document.plan
    ranges = calibrate(model.network, (torch.from_numpy(preprocess(case.volume, plan).image) for case in cases))
    prepared = preprocess(held_out.volume, plan)
    judged = [(torch.from_numpy(prepared.image), prepare_annotation(held_out.annotation, prepared))]
    loss = int8_dice_loss(model.network, judged, ranges, patch_size=plan.patch_size)
    if loss < MAX_INT8_DICE_LOSS:
        save_model(path, replace(model, document=replace(model.document, int8=Int8(ranges, loss, len(judged)))))


def phantom(seed: int, shape: Shape) -> tuple[Volume, LabelMap]:
    return make_phantom(np.random.default_rng(seed), shape=shape, spacing_mm=(1.0, 1.0, 1.0))
