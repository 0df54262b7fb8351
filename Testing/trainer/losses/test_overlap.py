from __future__ import annotations

import math

import pytest
import torch

from unetseg.losses import Dice


def row(*values):
    return torch.tensor([[values]])


def logits_of(*foreground):
    """Logits (1, 2, 1, n) whose softmax gives class 1 these probabilities."""
    p = torch.tensor(foreground)
    return torch.stack([torch.log(1 - p), torch.log(p)])[None, :, None]


def test_dice_by_hand():
    """Σ p·t = 0.75, Σ p = 1, Σ t = 1."""
    loss = Dice()(logits_of(0.75, 0.25), row(1, 0), row(1.0, 1.0))
    assert loss.item() == pytest.approx(1 - 2 * 0.75 / 2)


def test_unlabelled_voxels_are_in_neither_sum():
    loss = Dice()(logits_of(0.75, 0.25, 0.9, 0.9), row(1, 0, 1, 255), row(1.0, 1.0, 0.0, 0.0))
    assert loss.item() == pytest.approx(0.25)


def test_the_size_of_a_weight_does_not_count():
    logits, target = logits_of(0.75, 0.25), row(1, 0)
    assert torch.equal(Dice()(logits, target, row(4.0, 0.25)), Dice()(logits, target, row(1.0, 1.0)))


def test_samples_are_summed_before_the_ratio():
    """Batch Dice 2·(0.5 + 0)/(0.5 + 0.25 + 1); the mean of the samples' own would differ."""
    logits = torch.cat([logits_of(0.5), logits_of(0.25)])
    loss = Dice()(logits, torch.tensor([[[1]], [[0]]]), torch.ones(2, 1, 1))
    assert loss.item() == pytest.approx(1 - 2 * 0.5 / 1.75)


def test_several_classes_are_averaged_without_the_background():
    """Equal logits, p = 1/3: class 1 has 1 of 4 voxels, class 2 has 2."""
    loss = Dice()(torch.zeros(1, 3, 1, 4), row(0, 1, 2, 2), torch.ones(1, 1, 4))
    first, second = 2 * (1 / 3) / (4 / 3 + 1), 2 * (2 / 3) / (4 / 3 + 2)
    assert loss.item() == pytest.approx(1 - (first + second) / 2)


def test_classes_that_nobody_labelled_are_left_out():
    logits = torch.zeros(1, 4, 1, 2)
    loss = Dice()(logits, row(0, 2), torch.ones(1, 1, 2))
    assert loss.item() == pytest.approx(1 - 2 * 0.25 / (0.5 + 1))


def test_only_background_labelled_gives_0_with_gradient_0():
    logits = torch.zeros(1, 2, 1, 3, requires_grad=True)
    loss = Dice()(logits, row(0, 0, 0), torch.ones(1, 1, 3))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def sparse_slices():
    """A perfect prediction of 3 labelled slices of 120, 5 % foreground."""
    target = torch.zeros(1, 120, 10, 10, dtype=torch.int64)
    target[..., :5, 0] = 1
    weight = torch.zeros(1, 120, 10, 10)
    weight[:, [20, 60, 100]] = 1
    logits = 40 * torch.stack([0.5 - target, target - 0.5], dim=1).float()
    return logits, target, weight


def test_a_perfect_prediction_of_three_labelled_slices_is_perfect():
    logits, target, weight = sparse_slices()
    assert Dice()(logits, target, weight).item() == pytest.approx(0, abs=1e-6)


def test_masking_logits_instead_would_score_0_005():
    logits, target, weight = sparse_slices()
    wrong = Dice()(logits * weight[:, None], target * weight.long(), torch.ones_like(weight))
    assert 1 - wrong.item() == pytest.approx(0.005, abs=5e-4)


def test_gradient_by_hand():
    """d(1 - 2I/(P + 1))/dp of the foreground voxel at p = 1/2 = P: -2(P + 1 - p)/(P + 1)² · p(1 - p)."""
    logits = torch.zeros(1, 2, 1, 1, requires_grad=True)
    Dice()(logits, row(1), row(1.0)).backward()
    assert logits.grad[0, 1].item() == pytest.approx(-2 / 1.5**2 * 0.25)
    assert math.isclose(logits.grad.sum().item(), 0, abs_tol=1e-7)
