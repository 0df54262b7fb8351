"""nnU-Net v2 as it is, with its ignore label, in the budget of the others instead of 1000 epochs.

Its own planner, preprocessing, network, loss (cross-entropy + Dice over the labelled voxels), augmentation, sampling,
SGD and inference with mirroring (package nnunetv2, ``documentation/ignore_label.md``). From scratch the learning rate
falls from 1e-2 by its polynomial; fine-tuning starts at 1e-3 and warms up for a twentieth of the budget, as its
fine-tuning recipe does.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from unetseg import records
from unetseg.config import Label, Modality
from unetseg.data import Case
from unetseg.errors import SettingsError
from unetseg.inference import choose_device
from unetseg.model_file import read_tensors, write_tensors
from unetseg.volume import UNLABELLED, LabelArray, Volume

from .paste import pasted
from .task import Task

DATASET = "Dataset001_Benchmark"
PLANS = "nnUNetPlans"
SCRATCH_RATE, FINE_TUNING_RATE = 1e-2, 1e-3
WARM_UP = 0.05
POWER = 0.9


@dataclass(frozen=True)
class Base:
    """A network that was trained on other cases: nnU-Net's plans, and the weights."""

    plans: dict[str, Any]
    weights: dict[str, torch.Tensor]


def run(task: Task) -> LabelArray:
    """Fine-tune the network beside the start model (see ``base_path``), or a new one where there is none."""
    base = None if task.start_file is None else load_base(base_path(task.start_file))
    case = Case(task.case, task.volume, task.annotation)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its plans, and whom to cite
        trainer = make_trainer(
            task.folder,
            [case],
            task.labels,
            configuration="2d" if task.network == "unet_2d" else "3d_fullres",
            modality=task.modality,
            device=choose_device(task.device).device,
            seed=task.seed,
            base=base,
        )
        train(trainer, seconds=task.seconds, fine_tuning=base is not None)
        return pasted(segment_volume(trainer, task.volume), task.annotation)


def base_path(start_file: Path) -> Path:
    """Where nnU-Net's counterpart of a start model lies: ``train_nnunet_base.py`` writes it."""
    return start_file.with_suffix(".nnunet.safetensors")


def save_base(path: Path, trainer: nnUNetTrainer) -> None:
    """Weights and plans in one file."""
    # Its state_dict names most tensors several times.
    parameters = {name: parameter.detach().cpu() for name, parameter in trainer.network.named_parameters()}
    write_tensors(path, parameters, records.dumps(trainer.plans_manager.plans))


def load_base(path: Path) -> Base:
    """Raises ``SettingsError`` where there is none."""
    if not path.is_file():
        raise SettingsError(
            "nnU-Net is fine-tuned from one that was trained on the same cases as the start model",
            received=f"no file {path}",
            remedy="Train it: python Testing/benchmarks/train_nnunet_base.py --model with the start model",
        )
    tensors, text = read_tensors(path)
    return Base(records.loads(text), tensors)


def make_trainer(
    folder: Path,
    cases: Sequence[Case],
    labels: Sequence[Label],
    *,
    configuration: str,
    modality: Modality | None,
    device: torch.device,
    seed: int,
    base: Base | None = None,
) -> nnUNetTrainer:
    """Plan (unless there is a ``base``), preprocess and build; everything nnU-Net writes goes into ``folder``."""
    places = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    os.environ.update(places, nnUNet_n_proc_DA="1", nnUNet_compile="false")
    raw, preprocessed = (folder / name / DATASET for name in ("raw", "preprocessed"))
    raw.mkdir(parents=True)
    preprocessed.mkdir(parents=True)
    description = _description(cases, labels, modality)
    save_json(description, str(raw / "dataset.json"))
    if base is None:
        save_json(_fingerprint(cases, labels), str(preprocessed / "dataset_fingerprint.json"))
        planner = ExperimentPlanner(DATASET, gpu_memory_target_in_gb=8, plans_name=PLANS)
        planner.plan_experiment()
        planner.load_plans(str(preprocessed / f"{PLANS}.json"))
        plans = planner.plans
    else:
        plans = base.plans
    _preprocess(preprocessed, cases, labels, PlansManager(plans), configuration, description)
    os.environ.update(nnUNet_n_proc_DA="0")  # augment in this process
    np.random.seed(seed)  # noqa: NPY002 (what its augmentation draws from)
    torch.manual_seed(seed)
    trainer = nnUNetTrainer({**plans, "continue_training": False}, configuration, "all", description, device)
    trainer.initialize()
    if base is not None:
        for name, parameter in trainer.network.named_parameters():
            parameter.data.copy_(base.weights[name])
    return trainer


def train(trainer: nnUNetTrainer, *, seconds: float, fine_tuning: bool) -> int:
    """In place; returns the number of iterations."""
    batches, _ = trainer.get_dataloaders()
    trainer.set_deep_supervision_enabled(True)
    trainer.network.train()
    iterations = 0
    start = time.monotonic()
    while (fraction := (time.monotonic() - start) / seconds if seconds else 1.0) < 1.0:
        for group in trainer.optimizer.param_groups:
            group["lr"] = learning_rate(fraction, fine_tuning=fine_tuning)
        trainer.train_step(next(batches))
        iterations += 1
    return iterations


def learning_rate(fraction: float, *, fine_tuning: bool) -> float:
    """nnU-Net's polynomial over the budget; see the top of this file."""
    peak, warm_up = (FINE_TUNING_RATE, WARM_UP) if fine_tuning else (SCRATCH_RATE, 0.0)
    if fraction < warm_up:
        return peak * fraction / warm_up
    return peak * (1 - (fraction - warm_up) / (1 - warm_up)) ** POWER


def segment_volume(trainer: nnUNetTrainer, volume: Volume) -> LabelArray:
    """Labels of the whole volume on its own grid."""
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=trainer.device, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    labels = predictor.predict_single_npy_array(volume.array, {"spacing": volume.geometry.spacing_mm})
    return np.asarray(labels, dtype=np.uint8)


def _description(cases: Sequence[Case], labels: Sequence[Label], modality: Modality | None) -> dict[str, Any]:
    """nnU-Net's dataset.json. The files that it names are never read: cases are handed over as arrays."""
    channels = cases[0].volume.array.shape[0]
    return {
        "channel_names": {str(channel): modality or "image" for channel in range(channels)},
        "labels": {**{label.name: label.value for label in labels}, "ignore": len(labels)},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
        "dataset": {case.name: {"images": ["none.nii.gz"], "label": "none.nii.gz"} for case in cases},
    }


def _segmentation(case: Case, labels: Sequence[Label]) -> np.ndarray:
    """int16 (1, D, H, W), the ignore label where nobody labelled."""
    array = case.annotation.array
    return np.where(array == UNLABELLED, len(labels), array).astype(np.int16)[None]


def _fingerprint(cases: Sequence[Case], labels: Sequence[Label]) -> dict[str, Any]:
    """What ``DatasetFingerprintExtractor.run`` writes, without its processes."""
    shapes, shares, intensities = [], [], []
    for case in cases:
        data, segmentation, _ = crop_to_nonzero(case.volume.array, _segmentation(case, labels))
        segmentation = np.where(segmentation == len(labels), 0, segmentation)
        shapes.append(data.shape[1:])
        shares.append(np.prod(data.shape[1:]) / np.prod(case.volume.array.shape[1:]))
        intensities.append(DatasetFingerprintExtractor.collect_foreground_intensities(segmentation, data)[0])
    per_channel = [np.concatenate(values) for values in zip(*intensities, strict=True)]
    return {
        "spacings": [case.volume.geometry.spacing_mm for case in cases],
        "shapes_after_crop": shapes,
        "foreground_intensity_properties_per_channel": {
            str(channel): _statistics(values) for channel, values in enumerate(per_channel)
        },
        "median_relative_size_after_cropping": float(np.median(shares)),
    }


def _statistics(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    figures = {"mean": values.mean(), "median": median, "std": values.std(), "min": values.min(), "max": values.max()}
    figures |= {"percentile_00_5": low, "percentile_99_5": high}
    return {name: float(value) for name, value in figures.items()}


def _preprocess(
    folder: Path,
    cases: Sequence[Case],
    labels: Sequence[Label],
    plans: PlansManager,
    configuration: str,
    description: dict[str, Any],
) -> None:
    manager = plans.get_configuration(configuration)
    output = folder / manager.data_identifier
    output.mkdir()
    preprocessor = manager.preprocessor_class(verbose=False)
    for case in cases:
        data, segmentation, properties = preprocessor.run_case_npy(
            case.volume.array,
            _segmentation(case, labels),
            {"spacing": case.volume.geometry.spacing_mm},
            plans,
            manager,
            description,
        )
        nnUNetDatasetNumpy.save_case(data, segmentation, properties, str(output / case.name))
