from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from annotator import untouched_dice
from methods.task import Task
from unetseg.data import Case
from unetseg.errors import SettingsError
from unetseg.volume import UNLABELLED, LabelMap

pytest.importorskip("nnunetv2", reason="nnU-Net is not installed: pip install -c constraints.txt -e 'trainer[nnunet]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # its packages warn of each other


@pytest.fixture
def nnunet(monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace):
    from methods import nnunet

    monkeypatch.setattr(nnunet, "time", clock)
    return nnunet


def test_the_learning_rate_is_the_polynomial_of_nnunet(nnunet) -> None:
    assert nnunet.learning_rate(0.0, fine_tuning=False) == 1e-2
    assert nnunet.learning_rate(0.5, fine_tuning=False) == pytest.approx(1e-2 * 0.5**0.9)
    assert nnunet.learning_rate(0.025, fine_tuning=True) == pytest.approx(5e-4)
    assert nnunet.learning_rate(0.05, fine_tuning=True) == pytest.approx(1e-3)


def test_it_learns_from_the_slices_and_returns_them_as_they_were_given(nnunet, task: Task, ball: Case) -> None:
    result = nnunet.run(replace(task, seconds=12.0))
    labelled = task.annotation.array != UNLABELLED
    assert (result.shape, result.dtype) == (labelled.shape, np.uint8)
    assert (result[labelled] == task.annotation.array[labelled]).all()
    (dice,) = untouched_dice(LabelMap(result, ball.volume.geometry), ball.annotation, task.slices, 2)
    assert dice > 0.7


def test_it_starts_from_what_was_trained_beside_the_start_model(nnunet, task: Task, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    case = Case("other", task.volume, task.annotation)
    trainer = nnunet.make_trainer(
        folder, [case], task.labels, configuration="3d_fullres", modality="MR", device=torch.device("cpu"), seed=3
    )
    start_file = tmp_path / "start.safetensors"
    nnunet.save_base(nnunet.base_path(start_file), trainer)
    nnunet.train(trainer, seconds=0.0, fine_tuning=False)
    expected = nnunet.segment_volume(trainer, task.volume)
    task = replace(task, start_file=start_file, seconds=0.0, folder=tmp_path / "task")
    unlabelled = task.annotation.array == UNLABELLED
    assert np.array_equal(nnunet.run(task)[unlabelled], expected[unlabelled])


def test_a_start_model_without_its_counterpart_is_refused(nnunet, task: Task, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"train_nnunet_base\.py"):
        nnunet.run(replace(task, start_file=tmp_path / "start.safetensors"))
