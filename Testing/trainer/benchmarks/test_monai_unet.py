from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from annotator import untouched_dice
from methods import METHODS
from methods.task import Task
from unetseg.config import Normalisation, Plan
from unetseg.data import Case, keep_slices
from unetseg.errors import SettingsError
from unetseg.volume import UNLABELLED, LabelMap

monai_unet = pytest.importorskip(
    "methods.monai_unet", reason="MONAI is not installed: pip install -c constraints.txt -e 'trainer[bench]'"
)

PLAN = Plan(3, "canonical", (2.0, 1.0, 1.0), (16, 16, 32), 2, "MR", (Normalisation("zscore"),))
PLAN_2D = replace(PLAN, dimensions=2, spacing_mm=(0.0, 1.0, 1.0), patch_size=(1, 16, 32))
"""An image as large as a patch."""


@pytest.fixture(autouse=True)
def second_an_iteration(monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace) -> None:
    monkeypatch.setattr(monai_unet, "time", clock)


def example(*, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 4, 5, 6, generator=generator)
    annotation = torch.randint(0, classes, (2, 4, 5, 6), generator=generator)
    annotation[:, 1:] = UNLABELLED
    return logits, annotation


def test_the_loss_and_its_gradient_do_not_depend_on_unlabelled_voxels() -> None:
    logits, annotation = example()
    other = torch.where((annotation == UNLABELLED)[:, None], 50 * torch.rand_like(logits), logits)
    losses, gradients = [], []
    for values in (logits, other):
        values = values.clone().requires_grad_()
        loss = monai_unet.masked_loss(values, annotation)
        loss.backward()
        losses.append(loss.item())
        gradients.append(values.grad)
    assert losses[0] == losses[1]
    assert torch.equal(gradients[0], gradients[1])
    assert not gradients[0].movedim(1, -1)[annotation == UNLABELLED].any()


def test_the_loss_of_two_voxels_is_the_one_worked_out_by_hand() -> None:
    logits = torch.zeros(1, 2, 1, 1, 3)
    annotation = torch.tensor([[[[0, 1, UNLABELLED]]]])
    # p = 1/2 everywhere: cross-entropy ln 2; Dice of each class (2 · 1/2 + ε) / (1 + 1 + ε), its loss about 1/2.
    assert monai_unet.masked_loss(logits, annotation).item() == pytest.approx(np.log(2) + 0.5, abs=1e-5)


def test_a_perfect_prediction_of_the_labelled_voxels_costs_nothing() -> None:
    _, annotation = example()
    logits = 100.0 * torch.nn.functional.one_hot(annotation.where(annotation != UNLABELLED, 2), 3).movedim(-1, 1)
    assert monai_unet.masked_loss(logits, annotation).item() == pytest.approx(0.0, abs=1e-4)


def test_a_patch_is_rounded_up_to_four_halvings() -> None:
    assert monai_unet.with_usable_patch(replace(PLAN, patch_size=(40, 56, 48))).patch_size == (48, 64, 48)
    assert monai_unet.with_usable_patch(replace(PLAN_2D, patch_size=(1, 250, 64))).patch_size == (1, 256, 64)


@pytest.mark.parametrize("plan", [PLAN, PLAN_2D], ids=["3D", "2D"])
def test_crops_lie_half_on_structure_and_half_on_labelled_background(ball: Case, plan: Plan) -> None:
    sparse = replace(ball, annotation=keep_slices(ball.annotation, ((0, 4), (0, 12))))
    prepared = monai_unet.prepared_case(sparse, plan)
    small = (1, 4, 4)
    crops = monai_unet.Crops([prepared], small, seed=0)
    image, annotation = crops.batch(200)
    assert image.shape == (200, 1, *small)
    assert annotation.shape == (200, *small)
    assert (annotation != UNLABELLED).flatten(1).any(1).all()  # each centre is labelled, and so is its whole slice
    share = (annotation[:, 0, 2, 2] == 1).float().mean().item()  # of an even size the centre comes after the middle
    assert share == pytest.approx(0.5, abs=0.15)


def test_a_crop_larger_than_the_image_is_padded_with_what_nobody_labelled(ball: Case) -> None:
    prepared = monai_unet.prepared_case(ball, PLAN)
    _, annotation = monai_unet.Crops([prepared], (16, 32, 32), seed=0).batch(1)
    assert torch.equal(annotation[0, :, 8:24] != UNLABELLED, torch.ones(ball.volume.geometry.shape, dtype=torch.bool))
    assert (annotation[0, :, :8] == UNLABELLED).all()
    assert (annotation[0, :, 24:] == UNLABELLED).all()


@pytest.mark.parametrize("network", ["unet_3d", "unet_2d"])
def test_it_learns_from_the_slices_and_returns_them_as_they_were_given(task: Task, ball: Case, network: str) -> None:
    result = METHODS["monai"](replace(task, network=network, seconds=30.0))
    labelled = task.annotation.array != UNLABELLED
    assert result.dtype == np.uint8
    assert (result[labelled] == task.annotation.array[labelled]).all()
    (dice,) = untouched_dice(LabelMap(result, ball.volume.geometry), ball.annotation, task.slices, 2)
    assert dice > 0.5


def test_it_starts_from_what_was_trained_beside_the_start_model(task: Task, tmp_path: Path) -> None:
    start_file = tmp_path / "start.safetensors"
    description = monai_unet.Description(PLAN, in_channels=1, classes=2, cases=("one", "two"), iterations=7)
    network = monai_unet.build_unet(description, seed=1)
    with torch.no_grad():  # a network that calls everything a ball
        network.model[-1][-1].conv.unit0.conv.bias[1] = 1000.0
    monai_unet.save_base(monai_unet.base_path(start_file), description, network)
    assert monai_unet.load_base(tmp_path / "start.monai.safetensors")[0] == description
    result = METHODS["monai"](replace(task, start_file=start_file, seconds=0.0))
    unlabelled = task.annotation.array == UNLABELLED
    assert (result[unlabelled] == 1).all()


def test_a_start_model_without_its_counterpart_is_refused(task: Task, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"train_monai_base\.py"):
        METHODS["monai"](replace(task, start_file=tmp_path / "start.safetensors"))


@pytest.mark.filterwarnings("ignore:Num foregrounds 0")
def test_slices_without_a_structure_are_learnt_from(task: Task, ball: Case) -> None:
    empty = replace(ball.annotation, array=np.zeros_like(ball.annotation.array))
    result = METHODS["monai"](replace(task, annotation=keep_slices(empty, task.slices), seconds=3.0))
    assert not result[task.annotation.array != UNLABELLED].any()
