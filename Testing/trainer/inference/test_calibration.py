"""Ranges of activations, and what computing in 8 bit costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from inference_networks import CPU, random_image, random_network
from unetseg.errors import TrainingDataError
from unetseg.inference import calibration
from unetseg.inference.calibration import LEAST_RANGE, calibrate, int8_dice_loss
from unetseg.inference.layout import plan_layout
from unetseg.inference.memory import Attempt
from unetseg.inference.quantised import activation_names


@pytest.fixture
def network():
    return random_network("unet_3d", norm="none", pooling=((1, 2, 2),))


def copying(layer: nn.Conv3d, bias: float) -> None:
    """Makes its output that bias and the first channel of its input."""
    nn.init.zeros_(layer.weight)
    layer.weight.data[:, 0, 1, 1, 1] = 1
    nn.init.constant_(layer.bias, bias)


def test_one_voxel_in_20_000_lies_beyond_the_range(network):
    """Over all images together; bfloat16 has the whole numbers up to 256."""
    copying(network.encoders[0][0], 1.0)
    copying(network.encoders[0][2], 0.0)
    images = [torch.zeros(2, 10, 100, 100) for _ in range(2)]
    images[0].flatten()[:9] = 50.0
    images[1].flatten()[:2] = torch.tensor([20.0, 30.0])
    ranges = calibrate(network, images)
    assert set(ranges) == set(activation_names(network))
    assert ranges["encoders.0.0"] == ranges["encoders.0.1"] == 21.0  # 10 of 200,000 are more
    images[1].flatten()[2] = 40.0
    assert calibrate(network, images)["encoders.0.0"] == 31.0


def test_what_is_zero_everywhere_has_a_range_all_the_same(network):
    copying(network.encoders[0][0], -100.0)
    assert calibrate(network, [torch.zeros(2, 4, 4, 4)])["encoders.0.0"] == LEAST_RANGE


def test_the_ranges_do_not_depend_on_the_slabs(network, monkeypatch):
    network, image = random_network("attention_unet", norm="batch", pooling=((2, 2, 2),) * 2), random_image(64, 25, 19)
    whole = calibrate(network, [image])
    budgets = []

    def tight(device):
        budgets.append(135 * 2**20)
        return budgets[-1]

    monkeypatch.setattr(calibration, "default_budget", tight)
    cut = calibrate(network, [image])
    assert plan_layout(network, (64, 25, 19), Attempt(CPU, budgets[0])).steps[0] < 64
    assert cut == pytest.approx(whole, rel=0.02)


def test_the_loss_is_that_of_the_class_that_loses_most(network, monkeypatch):
    """Class 1 loses nothing; class 2 1/3 in one case and nothing in the other, where it fills 4 voxels."""
    labels = np.array([[[0, 1, 2, 2], [255, 255, 255, 0]]], np.uint8)
    others = np.array([[[0, 0, 2, 2], [2, 2, 0, 0]]], np.uint8)
    worse = np.array([[[0, 1, 2, 0], [1, 1, 1, 0]]], np.uint8)
    answers = {(1.0, "float32"): labels, (1.0, "int8"): worse, (2.0, "float32"): others, (2.0, "int8"): others}
    monkeypatch.setattr(
        calibration, "predict_labels", lambda network, image, *, precision, **_: answers[float(image), precision]
    )
    cases = [(torch.tensor(1.0), labels), (torch.tensor(2.0), others)]
    assert int8_dice_loss(network, cases, {}, patch_size=(1, 1, 1)) == pytest.approx(1 / 6)


def test_without_a_labelled_structure_there_is_no_loss(network, monkeypatch):
    nothing = np.zeros((1, 2, 2), np.uint8)
    monkeypatch.setattr(calibration, "predict_labels", lambda *_, **__: nothing)
    with pytest.raises(TrainingDataError, match="must show a labelled structure"):
        int8_dice_loss(network, [(torch.zeros(1), nothing)], {}, patch_size=(1, 1, 1))
