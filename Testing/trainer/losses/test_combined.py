from __future__ import annotations

import pytest
import torch

from unetseg.errors import SettingsError
from unetseg.losses import CrossEntropy, Dice, DiceCrossEntropy, build


@pytest.mark.parametrize("dice_weight", [0, 1.0, 0.3])
def test_the_sum_of_its_parts(dice_weight):
    torch.manual_seed(0)
    batch = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5)), torch.rand(2, 4, 5)
    expected = CrossEntropy()(*batch) + dice_weight * Dice()(*batch)
    assert torch.equal(DiceCrossEntropy(dice_weight=dice_weight)(*batch), expected)


def test_dice_counts_as_much_as_cross_entropy_by_default():
    assert build("dice_cross_entropy") == DiceCrossEntropy(dice_weight=1.0)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", None, True])
def test_the_weight_must_be_a_number(value):
    with pytest.raises(SettingsError, match="dice_weight"):
        build("dice_cross_entropy", dice_weight=value)
