"""What every entry of the table of losses must do, in 2D and in 3D."""

from __future__ import annotations

import pytest
import torch

from unetseg.errors import SettingsError
from unetseg.losses import LOSSES, build

SIZES = [(6, 7), (3, 4, 5)]
CLASSES = 3


@pytest.fixture(params=LOSSES)
def loss(request):
    return build(request.param)


@pytest.fixture(params=SIZES, ids=["2d", "3d"])
def batch(request):
    """(logits, target, weight) with about two thirds of the voxels unlabelled, weights 0.25 … 4 elsewhere."""
    generator = torch.Generator().manual_seed(7)
    size = request.param
    logits = torch.randn(2, CLASSES, *size, generator=generator)
    target = torch.randint(0, CLASSES, (2, *size), generator=generator)
    weight = 0.25 + 3.75 * torch.rand(2, *size, generator=generator)
    weight[torch.rand(2, *size, generator=generator) < 0.66] = 0
    return logits, target, weight


def value_and_gradient(loss, logits, target, weight):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target, weight)
    value.backward()
    return value.detach(), logits.grad


def test_a_finite_positive_float32_scalar(loss, batch):
    value, gradient = value_and_gradient(loss, *batch)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert 0 < value < 10
    assert gradient.isfinite().all()
    assert gradient.any()


def test_gradient_is_exactly_0_where_the_weight_is_and_only_there(loss, batch):
    _, gradient = value_and_gradient(loss, *batch)
    unlabelled = (batch[2] == 0)[:, None].expand_as(gradient)
    assert not gradient[unlabelled].any()
    assert gradient[~unlabelled].all()


@pytest.mark.parametrize("label", [0, 1, 255, -1, 2**62])
def test_labels_under_weight_0_change_nothing(loss, batch, label):
    logits, target, weight = batch
    value, gradient = value_and_gradient(loss, logits, target, weight)
    relabelled = torch.where(weight > 0, target, label)
    changed, changed_gradient = value_and_gradient(loss, logits, relabelled, weight)
    assert torch.equal(value, changed)
    assert torch.equal(gradient, changed_gradient)


@pytest.mark.parametrize("logit", [0.0, 1e30, torch.inf, -torch.inf, torch.nan])
def test_logits_under_weight_0_change_nothing(loss, batch, logit):
    logits, target, weight = batch
    value, gradient = value_and_gradient(loss, logits, target, weight)
    replaced = torch.where(weight[:, None] > 0, logits, torch.tensor(logit))
    changed, changed_gradient = value_and_gradient(loss, replaced, target, weight)
    assert torch.equal(value, changed)
    assert torch.equal(gradient, changed_gradient)


def test_no_labelled_voxel_gives_0_with_gradient_0(loss, batch):
    logits, target, weight = batch
    value, gradient = value_and_gradient(loss, logits * torch.nan, target + 255, torch.zeros_like(weight))
    assert value == 0
    assert not gradient.any()


def test_the_loss_behind_a_network_passes_a_zero_gradient_on(loss, batch):
    logits, target, weight = batch
    scale = torch.ones((), requires_grad=True)
    loss(logits * scale, target, torch.zeros_like(weight)).backward()
    assert scale.grad == 0


def test_scaling_all_weights_changes_nothing(loss, batch):
    logits, target, weight = batch
    torch.testing.assert_close(loss(logits, target, 8 * weight), loss(logits, target, weight))


def test_order_of_samples_does_not_matter(loss, batch):
    torch.testing.assert_close(loss(*(tensor.flip(0) for tensor in batch)), loss(*batch))


def test_mirroring_everything_changes_nothing(loss, batch):
    torch.testing.assert_close(loss(*(tensor.flip(-1) for tensor in batch)), loss(*batch))


def confident(target, *, right):
    best = target if right else (target + 1) % CLASSES
    return 50 * torch.nn.functional.one_hot(best, CLASSES).movedim(-1, 1).float() - 25


def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_the_most(loss, batch):
    logits, target, weight = batch
    perfect = loss(confident(target, right=True), target, weight)
    wrong = loss(confident(target, right=False), target, weight)
    assert perfect.item() == pytest.approx(0, abs=1e-6)
    assert perfect < loss(logits, target, weight) < wrong


def test_a_step_against_the_gradient_lowers_it(loss, batch):
    logits, target, weight = batch
    value, gradient = value_and_gradient(loss, logits, target, weight)
    assert loss(logits - 0.1 * gradient, target, weight) < value


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(loss, batch, dtype):
    logits, target, weight = batch
    value, gradient = value_and_gradient(loss, logits.to(dtype), target, weight)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logits.to(dtype).float(), target, weight))
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


def test_channels_last_gives_the_same(loss):
    torch.manual_seed(0)
    logits, target, weight = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5)), torch.rand(2, 4, 5)
    assert torch.equal(loss(logits.to(memory_format=torch.channels_last), target, weight), loss(logits, target, weight))


def test_nothing_given_is_changed(loss, batch):
    before = [tensor.clone() for tensor in batch]
    loss(*batch)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(batch, before, strict=True))


def test_label_outside_the_classes_is_refused_where_it_counts(loss, batch):
    logits, target, _ = batch
    with pytest.raises(SettingsError, match="Labels must be 0 to 2"):
        loss(logits, target + 1, torch.ones_like(target, dtype=torch.float32))


def test_unknown_names_list_the_known_ones_and_suggest():
    with pytest.raises(SettingsError, match=r"binary_cross_entropy, cross_entropy, dice.*Did you mean dice\?"):
        build("dise")
    with pytest.raises(SettingsError, match=r"Did you mean dice_weight\?"):
        build("dice_cross_entropy", dice_wieght=1)


def test_a_loss_without_arguments_says_so():
    with pytest.raises(SettingsError, match="dice has no arguments"):
        build("dice", smoothing=1)
