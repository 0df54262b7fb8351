from __future__ import annotations

import math

import pytest
import torch

from unetseg.losses import BinaryCrossEntropy, CrossEntropy


def row(*values):
    """(1, 1, n): one sample of one row."""
    return torch.tensor([[values]])


def test_cross_entropy_by_hand():
    """p = (2/3, 1/3) at both voxels; labels 0 and 1, weights 1 and 3."""
    logits = torch.tensor([[[[math.log(2), math.log(2)]], [[0.0, 0.0]]]])
    loss = CrossEntropy()(logits, row(0, 1), row(1.0, 3.0))
    assert loss.item() == pytest.approx((math.log(1.5) + 3 * math.log(3)) / 4)


def test_cross_entropy_gradient_is_weighted_p_minus_t_over_the_sum_of_weights():
    logits = torch.tensor([[[[math.log(2), math.log(2)]], [[0.0, 0.0]]]], requires_grad=True)
    CrossEntropy()(logits, row(0, 1), row(1.0, 3.0)).backward()
    expected = torch.tensor([[(2 / 3 - 1) / 4, 3 * 2 / 3 / 4], [1 / 3 / 4, 3 * (1 / 3 - 1) / 4]])
    torch.testing.assert_close(logits.grad[0, :, 0], expected)


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    loss = CrossEntropy()(torch.zeros(2, 5, 3, 3, 3), torch.ones(2, 3, 3, 3, dtype=torch.int64), torch.rand(2, 3, 3, 3))
    assert loss.item() == pytest.approx(math.log(5))


def test_cross_entropy_of_huge_logits_is_finite():
    logits = torch.tensor([[[[1e4]], [[-1e4]]]])
    assert CrossEntropy()(logits, row(1), row(1.0)).item() == pytest.approx(2e4)


def test_binary_cross_entropy_of_a_single_logit_by_hand():
    """σ(ln 3) = 3/4; labels 1, 0 and an unlabelled voxel."""
    logits = torch.full((1, 1, 1, 3), math.log(3))
    loss = BinaryCrossEntropy()(logits, row(1, 0, 255), row(1.0, 3.0, 0.0))
    assert loss.item() == pytest.approx((-math.log(0.75) - 3 * math.log(0.25)) / 4)


def test_binary_cross_entropy_of_several_classes_is_each_against_the_rest():
    """σ = (3/4, 1/4, 1/2) and label 1: only class 1 should be high."""
    logits = torch.tensor([math.log(3), -math.log(3), 0.0]).reshape(1, 3, 1, 1)
    loss = BinaryCrossEntropy()(logits, row(1), row(1.0))
    assert loss.item() == pytest.approx(-(math.log(0.25) + math.log(0.25) + math.log(0.5)) / 3)


def test_the_loss_does_not_shrink_with_the_labelled_share():
    """Dividing by all voxels would make the gradient of 1 of 40 slices 40 times too small."""
    torch.manual_seed(0)
    logits, target = torch.randn(1, 3, 40, 4, 4), torch.randint(0, 3, (1, 40, 4, 4))
    weight = torch.zeros(1, 40, 4, 4)
    weight[:, 7] = 1
    slice_only = CrossEntropy()(logits[:, :, 7], target[:, 7], torch.ones(1, 4, 4))
    torch.testing.assert_close(CrossEntropy()(logits, target, weight), slice_only)
