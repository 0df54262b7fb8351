"""The step is checked with a network of two weights, where everything can be worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from unetseg.config import TrainingSettings
from unetseg.data.batches import Batch
from unetseg.inference import without_tf32
from unetseg.losses import CrossEntropy, DiceCrossEntropy, Loss
from unetseg.training import step
from unetseg.training.state import TrainingState, copied
from unetseg.training.step import set_training_mode, training_step

SETTINGS = TrainingSettings(iterations=1, weight_decay=0.1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def batch(*, weight: float = 1.0, value: float = 1.0) -> Batch:
    image = torch.full((1, 1, 2, 2), value)
    image[0, 0, 0, 0] = 2.0
    target = torch.tensor([[[0, 1], [1, 0]]])
    return Batch(image=image, target=target, weight=torch.full((1, 2, 2), weight))


class Only(Loss):
    """A loss of one term."""

    def __init__(self, function):
        self.function = function

    def terms(self, logits, target, weight):
        return {"only": self.function(logits, target, weight)}


def run(state, item, loss=CrossEntropy(), **changes):  # noqa: B008  (it has no state)
    options = {"settings": SETTINGS, "learning_rate": 0.5, "precision": torch.float32, "freeze_statistics": False}
    return training_step(state, item, loss, **(options | changes))


def unchanged(state, before):
    now = state.tensors()
    return now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in before)


def test_first_adamw_step_moves_each_weight_by_the_learning_rate_after_decay():
    # AdamW: w ← w(1 - lr·λ) - lr·m̂/(√v̂ + ε); at the first step m̂/√v̂ = sign(gradient).
    net = nn.Conv2d(1, 2, 1, bias=False)
    state = TrainingState(net, settings=SETTINGS)
    before = net.weight.detach().clone()
    result = run(state, batch())
    assert result.finite
    moved = net.weight.detach() - before * (1 - 0.5 * 0.1)
    assert moved.abs().flatten().tolist() == pytest.approx([0.5, 0.5], rel=1e-3)


def test_the_reported_loss_is_that_before_the_step():
    net = nn.Conv2d(1, 2, 1)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    result = run(TrainingState(net, settings=SETTINGS), batch(), loss=DiceCrossEntropy())
    assert result.loss == pytest.approx({"cross_entropy": 0.6931472, "dice": 0.5})


def test_a_batch_without_labels_changes_nothing_not_even_by_weight_decay():
    state = TrainingState(network(), settings=SETTINGS)
    run(state, batch())  # so that there is momentum that could move the weights
    before = copied(state.tensors())
    result = run(state, batch(weight=0.0))
    assert result.finite
    assert result.loss == {}
    assert unchanged(state, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_skips_the_step_and_restores_running_statistics(value):
    state = TrainingState(network(), settings=SETTINGS)
    before = copied(state.tensors())
    assert not run(state, batch(value=value)).finite
    assert unchanged(state, before)


def test_a_gradient_that_is_not_finite_skips_the_step():
    def infinite_slope(logits, target, weight):
        return (logits[0, 0, 0, 0] - logits[0, 0, 0, 0].detach()).abs().sqrt()

    state = TrainingState(network(), settings=SETTINGS)
    before = copied(state.tensors())
    assert not run(state, batch(), loss=Only(infinite_slope)).finite
    assert unchanged(state, before)


def test_an_interrupted_step_leaves_the_state_between_two_steps():
    def cancelled(logits, target, weight):
        raise KeyboardInterrupt

    state = TrainingState(network(), settings=SETTINGS)
    before = copied(state.tensors())
    with pytest.raises(KeyboardInterrupt):
        run(state, batch(), loss=Only(cancelled))
    assert unchanged(state, before)


def test_frozen_statistics_stay_while_scale_and_shift_learn():
    net = network()
    state = TrainingState(net, settings=SETTINGS)
    before = copied(net.state_dict())
    run(state, batch(), freeze_statistics=True)
    assert torch.equal(net[1].running_mean, before["1.running_mean"])
    assert not torch.equal(net[1].bias, before["1.bias"])
    run(state, batch(), freeze_statistics=False)
    assert not torch.equal(net[1].running_mean, before["1.running_mean"])


def test_running_statistics_begin_as_the_mean_of_the_first_batches():
    """Of the norm's input, which the weights change little; later a batch counts a tenth."""
    net = network()
    state = TrainingState(net, settings=SETTINGS)
    means, expected = [], torch.zeros(())
    net[1].register_forward_pre_hook(lambda layer, inputs: means.append(inputs[0].detach().mean((0, 2, 3))))
    for iteration in range(14):
        state.counters = replace(state.counters, iteration=iteration)
        run(state, batch(), learning_rate=0.05)
        expected = torch.stack(means).mean(0) if iteration < 10 else 0.9 * expected + 0.1 * means[-1]
        torch.testing.assert_close(net[1].running_mean, expected)


def test_training_mode_reaches_every_layer_again_after_freezing():
    net = network()
    set_training_mode(net, freeze_statistics=True)
    assert [module.training for module in net] == [True, False]
    set_training_mode(net, freeze_statistics=False)
    assert [module.training for module in net] == [True, True]


def test_the_whole_step_is_taken_without_tf32(monkeypatch):
    rounds = []

    class Spy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            rounds.append(torch.backends.cudnn.allow_tf32)
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            rounds.append(torch.backends.cudnn.allow_tf32)
            return gradient

    monkeypatch.setattr(step, "without_tf32", lambda device: without_tf32(torch.device("cuda:0")))
    run(TrainingState(network(), settings=SETTINGS), batch(), loss=Only(lambda z, *_: Spy.apply(z).square().sum()))
    assert rounds == [False, False]


def test_float32_needs_no_autocast_of_the_device(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("User specified an unsupported autocast device_type")

    monkeypatch.setattr(torch, "autocast", refuse)
    assert run(TrainingState(network(), settings=SETTINGS), batch()).finite
    with pytest.raises(RuntimeError, match="autocast"):
        run(TrainingState(network(), settings=SETTINGS), batch(), precision=torch.bfloat16)
