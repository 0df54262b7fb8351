import torch
from torch import nn

from unetseg.config import TrainingSettings
from unetseg.training.state import Counters, TrainingState, copied


def one_weight(value: float) -> nn.Module:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, value)
    return net


def test_average_follows_the_warmed_up_decay():
    # decay(t) = min(0.5, (1 + t)/(10 + t)): 1/10 at t = 0, then 2/11 at t = 1.
    net = one_weight(0.0)
    state = TrainingState(net, settings=TrainingSettings(iterations=9, ema_decay=0.5))
    nn.init.constant_(net.weight, 1.0)
    state.update_average()
    assert torch.isclose(state.average["weight"], torch.tensor(0.9)).all()
    state.counters = Counters(iteration=1)
    nn.init.constant_(net.weight, 0.0)
    state.update_average()
    assert torch.isclose(state.average["weight"], torch.tensor(0.9 * 2 / 11)).all()


def test_average_is_capped_at_the_configured_decay():
    net = one_weight(0.0)
    state = TrainingState(net, settings=TrainingSettings(iterations=9, ema_decay=0.5))
    state.counters = Counters(iteration=1000)
    nn.init.constant_(net.weight, 1.0)
    state.update_average()
    assert torch.isclose(state.average["weight"], torch.tensor(0.5)).all()


def trained_state(*, steps: int) -> TrainingState:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))
    state = TrainingState(net, settings=TrainingSettings(iterations=9))
    for _ in range(steps):
        state.optimiser.zero_grad()
        net(torch.randn(2, 1, 3, 3)).square().mean().backward()
        state.optimiser.step()
        state.update_average()
    return state


def test_a_state_loaded_from_its_tensors_continues_bit_for_bit():
    source = trained_state(steps=3)
    source.best = copied(source.average)
    target = trained_state(steps=0)
    target.load_tensors(copied(source.tensors()))
    image = torch.randn(2, 1, 3, 3)
    for state in (source, target):
        state.optimiser.zero_grad()
        state.network(image).square().mean().backward()
        state.optimiser.step()
        state.update_average()
    left, right = source.tensors(), target.tensors()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_loading_copies_so_that_further_training_does_not_change_the_source():
    source = trained_state(steps=1)
    stored = copied(source.tensors())
    target = trained_state(steps=0)
    target.load_tensors(stored)
    kept = copied(stored)
    target.network(torch.randn(2, 1, 3, 3)).square().mean().backward()
    target.optimiser.step()
    target.update_average()
    assert all(torch.equal(stored[name], kept[name]) for name in kept)
