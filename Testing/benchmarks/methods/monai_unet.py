"""MONAI's UNet with masked cross-entropy + Dice, trained as MONAI Label trains it.

Network, optimiser, loss, crops and intensity changes are those of MONAI Label's radiology app
(``lib/trainers/segmentation.py``: UNet 16 … 256 with two residual units a level, Adam 1e-3 throughout, DiceCELoss,
RandCropByPosNegLabel 1:1) and of MONAI's BraTS tutorial (intensity scaled and shifted by up to 10 %). Fine-tuning is at
1e-4, the rate of MONAI's spleen tutorial: on three volumes kept for tuning, 25 s a volume, it gave 0.90 where 1e-3 gave
0.84, and with shifted intensities 0.78 against 0.75. What differs:

- the labels that it cannot ignore: cross-entropy leaves unlabelled voxels out, Dice gets probabilities and labels that
  are 0 there, and crops lie on labelled voxels (elsewhere there would be nothing to learn from);
- instance norm, the UNet's own default, for the batch norm of the app, whose running statistics two crops upset;
- flips and quarter turns, which would make the left side the right one;
- spacing, normalisation, patch and batch, which are those of the product's plan.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import set_track_meta
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import RandCropByPosNegLabel, RandScaleIntensity, RandShiftIntensity, SpatialPad
from torch import Tensor

from unetseg import records
from unetseg.config import Plan, TrainingSettings
from unetseg.data import Case, PreparedCase
from unetseg.errors import SettingsError
from unetseg.inference import CHANNELS_LAST, choose_device
from unetseg.inference.restore import restore
from unetseg.model_file import read_tensors, write_tensors
from unetseg.preprocessing import prepare_annotation, preprocess
from unetseg.training import TrainingRequest
from unetseg.training.blueprint import make_blueprint
from unetseg.volume import UNLABELLED, LabelArray, Shape, Volume

from .paste import pasted
from .task import Task

SCRATCH_RATE, FINE_TUNING_RATE = 1e-3, 1e-4
CHANNELS = (16, 32, 64, 128, 256)
SIZE_MULTIPLE = 16
OVERLAP = 0.25

set_track_meta(False)


@dataclass(frozen=True)
class Description:
    """What is stored beside the weights.

    Attributes:
        plan: how volumes are brought to the network; its patch is one that the network takes.
        cases: names of those it was trained on.
        iterations, seconds: of the training.
    """

    plan: Plan
    in_channels: int
    classes: int
    cases: tuple[str, ...] = ()
    iterations: int = 0
    seconds: float = 0.0


def run(task: Task) -> LabelArray:
    """Fine-tune the UNet beside the start model (see ``base_path``), or a new one where there is no start model."""
    device = choose_device(task.device).device
    case = Case(task.case, task.volume, task.annotation)
    if task.start_file is None:
        description = Description(_new_plan(task, case, device), task.volume.array.shape[0], len(task.labels))
        network = build_unet(description, seed=task.seed)
    else:
        description, network = load_base(base_path(task.start_file))
    train_unet(
        network.to(device),
        [prepared_case(case, description.plan)],
        description.plan,
        seconds=task.seconds,
        seed=task.seed,
        learning_rate=SCRATCH_RATE if task.start_file is None else FINE_TUNING_RATE,
    )
    return pasted(segment_volume(network, task.volume, description.plan), task.annotation)


def base_path(start_file: Path) -> Path:
    """Where MONAI's counterpart of a start model lies: ``train_monai_base.py`` writes it."""
    return start_file.with_suffix(".monai.safetensors")


def build_unet(description: Description, *, seed: int) -> UNet:
    """With random weights."""
    torch.manual_seed(seed)
    dimensions = description.plan.dimensions
    network = UNet(
        spatial_dims=dimensions,
        in_channels=description.in_channels,
        out_channels=description.classes,
        channels=CHANNELS,
        strides=(2,) * (len(CHANNELS) - 1),
        num_res_units=2,
    )
    return network.to(memory_format=CHANNELS_LAST[dimensions])


def save_base(path: Path, description: Description, network: UNet) -> None:
    """Weights and description in one file."""
    write_tensors(
        path, {name: tensor.cpu() for name, tensor in network.state_dict().items()}, records.dumps(description)
    )


def load_base(path: Path) -> tuple[Description, UNet]:
    """Raises ``SettingsError`` where there is none."""
    if not path.is_file():
        raise SettingsError(
            "MONAI's UNet is fine-tuned from one that was trained on the same cases as the start model",
            received=f"no file {path}",
            remedy="Train it: python Testing/benchmarks/train_monai_base.py --model with the start model",
        )
    tensors, text = read_tensors(path)
    description = records.from_json(Description, records.loads(text))
    network = build_unet(description, seed=0)
    network.load_state_dict(tensors, strict=True)
    return description, network


def with_usable_patch(plan: Plan) -> Plan:
    """The plan with every axis of its patch rounded up to what the UNet's four halvings take; one slice stays one."""
    d, h, w = (size if size == 1 else -(-size // SIZE_MULTIPLE) * SIZE_MULTIPLE for size in plan.patch_size)
    return replace(plan, patch_size=(d, h, w))


def prepared_case(case: Case, plan: Plan) -> PreparedCase:
    """On the network's grid, without what the user changed."""
    prepared = preprocess(case.volume, plan)
    annotation = prepare_annotation(case.annotation, prepared)
    return PreparedCase(case.name, prepared.image, annotation, None, prepared.geometry.spacing_mm)


def masked_loss(logits: Tensor, annotation: Tensor) -> Tensor:
    """Cross-entropy + MONAI's Dice loss over the labelled voxels.

    Args:
        logits: (N, K, *s).
        annotation: int64 (N, *s), 0 … K - 1, or 255 where nobody labelled; not everywhere.
    """
    labelled = (annotation != UNLABELLED)[:, None]
    truth = F.one_hot(annotation.masked_fill(~labelled[:, 0], 0), logits.shape[1]).movedim(-1, 1)
    dice = DiceLoss()(torch.softmax(logits, dim=1) * labelled, truth * labelled)
    return F.cross_entropy(logits, annotation, ignore_index=UNLABELLED) + dice


class Crops:
    """Draws random crops: half of them centred on a labelled structure, half on labelled background."""

    def __init__(self, cases: Sequence[PreparedCase], patch_size: Shape, *, seed: int) -> None:
        self._random = np.random.RandomState(seed)
        self._sources = [self._source(case, patch_size) for case in cases]
        self._changes = [RandScaleIntensity(factors=0.1, prob=1.0), RandShiftIntensity(offsets=0.1, prob=1.0)]
        for change in self._changes:
            change.set_random_state(state=self._random)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Images float32 (N, C, *s) and annotations int64 (N, *s), each from any case."""
        images, annotations = zip(*(self._crop() for _ in range(size)), strict=True)
        return torch.stack(images), torch.stack(annotations)

    def _source(self, case: PreparedCase, patch_size: Shape) -> tuple[Tensor, RandCropByPosNegLabel]:
        image = SpatialPad(patch_size)(torch.from_numpy(case.image))
        annotation = SpatialPad(patch_size, constant_values=UNLABELLED)(torch.from_numpy(case.annotation)[None])
        structure = (annotation > 0) & (annotation != UNLABELLED)
        crop = RandCropByPosNegLabel(
            patch_size,
            fg_indices=np.flatnonzero(structure),
            bg_indices=np.flatnonzero(annotation == 0),
        )
        crop.set_random_state(state=self._random)
        return torch.cat([image, annotation]), crop

    def _crop(self) -> tuple[Tensor, Tensor]:
        stacked, crop = self._sources[self._random.randint(len(self._sources))]
        (patch,) = crop(stacked, label=stacked[-1:])
        image, annotation = patch[:-1], patch[-1].long()
        for change in self._changes:
            image = change(image)
        return image, annotation


def train_unet(
    network: UNet,
    cases: Sequence[PreparedCase],
    plan: Plan,
    *,
    seconds: float,
    seed: int,
    learning_rate: float = SCRATCH_RATE,
) -> int:
    """Train in place, on the network's device; returns the number of iterations."""
    device = next(network.parameters()).device
    crops = Crops(cases, plan.patch_size, seed=seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    network.train()
    iterations = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        image, annotation = crops.batch(plan.batch_size)
        if plan.dimensions == 2:
            image, annotation = image.squeeze(2), annotation.squeeze(1)
        optimiser.zero_grad(set_to_none=True)
        logits = network(image.to(device, memory_format=CHANNELS_LAST[plan.dimensions]))
        masked_loss(logits, annotation.to(device)).backward()
        optimiser.step()
        iterations += 1
    return iterations


@torch.inference_mode()
def segment_volume(network: UNet, volume: Volume, plan: Plan) -> LabelArray:
    """Labels of the whole volume on its own grid, from sliding windows."""
    device = next(network.parameters()).device
    prepared = preprocess(volume, plan)
    image = torch.from_numpy(prepared.image)
    images = image.movedim(1, 0) if plan.dimensions == 2 else image[None]
    window = plan.patch_size[-plan.dimensions :]
    network.eval()
    logits = sliding_window_inference(
        images, window, sw_batch_size=4, predictor=network, overlap=OVERLAP, sw_device=device, device="cpu"
    )
    logits = logits.movedim(0, 1) if plan.dimensions == 2 else logits[0]
    return restore([(0, torch.softmax(logits, 0))], prepared, uncertainty=False, probabilities=False).labels


def _new_plan(task: Task, case: Case, device: torch.device) -> Plan:
    request = TrainingRequest(
        cases=[case],
        output=task.folder / "monai.safetensors",
        settings=TrainingSettings(seconds=task.seconds, seed=task.seed),
        labels=task.labels,
        network=task.network,
        modality=task.modality,
    )
    return with_usable_patch(make_blueprint(request, device).plan)
