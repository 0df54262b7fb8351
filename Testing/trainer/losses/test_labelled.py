from __future__ import annotations

import pytest
import torch

from unetseg.errors import SettingsError
from unetseg.losses.labelled import labelled


def test_only_voxels_with_weight_are_taken_in_order():
    logits = torch.arange(16.0).reshape(2, 2, 2, 2)  # sample, class, row, column
    target = torch.tensor([[[0, 255], [1, -1]], [[255, 1], [255, 255]]])
    weight = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 0.5], [0.0, 0.0]]])
    voxels = labelled(logits, target, weight)
    assert voxels.logits.tolist() == [[0, 2, 9], [4, 6, 13]]
    assert voxels.target.tolist() == [0, 1, 1]
    assert voxels.weight.tolist() == [1, 2, 0.5]
    assert voxels.mean(torch.tensor([1.0, 2.0, 4.0])).item() == pytest.approx((1 + 4 + 2) / 3.5)
    assert voxels.one_hot().tolist() == [[1, 0, 0], [0, 1, 1]]


def test_one_hot_of_a_single_channel_is_class_1():
    voxels = labelled(torch.zeros(1, 1, 1, 3), torch.tensor([[[0, 1, 1]]]), torch.ones(1, 1, 3), min_channels=1)
    assert voxels.one_hot().tolist() == [[0, 1, 1]]


def test_the_mean_of_tiny_weights_is_still_the_mean():
    weight = torch.full((1, 1, 2), 1e-30)
    voxels = labelled(torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 2, dtype=torch.int64), weight)
    assert voxels.mean(torch.tensor([1.0, 2.0])).item() == pytest.approx(1.5)


LOGITS, TARGET, WEIGHT = torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 5, dtype=torch.int64), torch.ones(2, 4, 5)


@pytest.mark.parametrize(
    ("logits", "target", "weight", "rule"),
    [
        (LOGITS.long(), TARGET, WEIGHT, "Logits must be floating point"),
        (LOGITS[0], TARGET[0], WEIGHT[0], "Logits must be floating point"),
        (LOGITS[:, :1], TARGET, WEIGHT, "at least 2 classes"),
        (LOGITS, TARGET.int(), WEIGHT, "target must be int64"),
        (LOGITS, TARGET[:, None], WEIGHT, r"target must be int64 of shape \(2, 4, 5\)"),
        (LOGITS, TARGET, TARGET, "weight must be floating point"),
        (LOGITS, TARGET, WEIGHT[:1], r"weight must be floating point of shape \(2, 4, 5\)"),
        (LOGITS, TARGET, -WEIGHT, "not below 0"),
        (LOGITS, TARGET, WEIGHT * torch.nan, "finite"),
        (LOGITS, TARGET, WEIGHT * torch.inf, "finite"),
        (LOGITS, TARGET + 3, WEIGHT, "Labels must be 0 to 2 .* Received: 3 to 3"),
        (LOGITS, TARGET - 1, WEIGHT, "Labels must be 0 to 2"),
    ],
)
def test_what_breaks_a_rule_is_refused(logits, target, weight, rule):
    with pytest.raises(SettingsError, match=rule):
        labelled(logits, target, weight)


def test_a_single_logit_knows_the_labels_0_and_1():
    with pytest.raises(SettingsError, match="Labels must be 0 to 1"):
        labelled(LOGITS[:, :1], TARGET + 2, WEIGHT, min_channels=1)
