"""The loop on a one-layer network and hand-made batches: no preprocessing, no augmentation, exact numbers."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from unetseg.config import TrainingSettings
from unetseg.data.batches import Batch
from unetseg.errors import CancelledError, TrainingDivergedError
from unetseg.losses import CrossEntropy
from unetseg.training.control import Control
from unetseg.training.loop import GOOD_STEPS, RETREATS_BEFORE_GIVING_UP, SKIPS_BEFORE_RETREAT, Tools, TrainingLoop
from unetseg.training.state import TrainingState, copied


class Batches:
    """Batch i is made from the seed i; those named in ``poisoned`` hold NaN."""

    def __init__(self, *, poisoned=()):
        self.poisoned = poisoned
        self.asked = []

    def batch(self, iteration):
        self.asked.append(iteration)
        generator = torch.Generator().manual_seed(iteration)
        image = torch.randn(2, 1, 4, 4, generator=generator)
        if iteration in self.poisoned:
            image[0, 0, 0, 0] = float("nan")
        target = (image[:, 0].nan_to_num() > 0).long()
        return Batch(image=image, target=target, weight=torch.ones(2, 4, 4))


def make(settings, *, validate=None, batches=None, control=None, dropout=0.0, norm=False, share=1.0):
    settings = replace(settings, learning_rate=0.1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2) if norm else nn.Identity(), nn.Dropout(dropout))
    state = TrainingState(network, settings=settings)
    told, logged, written = [], [], []
    tools = Tools(
        batches=batches or Batches(),
        loss=CrossEntropy(),
        validate=validate,
        write_checkpoint=lambda current: written.append((current.counters, copied(current.tensors()))),
        log=logged.append,
        report=told.append,
        control=control or Control(),
    )
    loop = TrainingLoop(
        state,
        tools,
        settings=settings,
        precision=torch.float32,
        statistics_share=share,
    )
    return loop, told, logged, written


def test_exactly_the_budgeted_iterations_are_done_in_order():
    batches = Batches()
    loop, _, logged, _ = make(TrainingSettings(iterations=7), batches=batches)
    loop.run()
    assert batches.asked == list(range(7))
    assert [record["iteration"] for record in logged] == list(range(1, 8))
    assert loop.state.counters.iteration == 7
    assert loop.fraction == 1.0


@pytest.mark.parametrize(("share", "learned"), [(0.0, 0), (0.3, 3), (0.34, 4), (1.0, 10)])
def test_batch_norm_learns_its_statistics_for_a_share_of_the_budget_and_then_keeps_them(share, learned):
    loop, _, _, _ = make(TrainingSettings(iterations=10), norm=True, share=share)
    norm = loop.state.network[1]
    seen = []
    norm.register_forward_hook(lambda layer, *_: seen.append((layer.training, layer.running_mean.tolist())))
    loop.run()
    assert [training for training, _ in seen] == [True] * learned + [False] * (10 - learned)
    assert norm.num_batches_tracked == learned
    assert len({tuple(mean) for _, mean in seen[max(0, learned - 1) :]}) == 1


def test_training_lowers_the_loss():
    loop, _, logged, _ = make(TrainingSettings(iterations=60))
    loop.run()
    assert logged[-1]["loss"]["cross_entropy"] < 0.5 * logged[0]["loss"]["cross_entropy"]


def test_without_held_out_data_the_last_averaged_weights_are_returned():
    loop, _, _, _ = make(TrainingSettings(iterations=5))
    weights = loop.run()
    assert all(torch.equal(weights[name], loop.state.average[name]) for name in weights)


def test_the_best_validated_weights_are_returned_not_the_last():
    scores = iter([0.2, 0.9, 0.4, 0.5])
    seen = []

    def validate(weights):
        seen.append(copied(weights))
        return (next(scores), None)

    loop, told, _, _ = make(TrainingSettings(iterations=8, validations=4), validate=validate)
    weights = loop.run()
    assert len(seen) == 4
    assert all(torch.equal(weights[name], seen[1][name]) for name in weights)
    assert loop.state.counters.best_dice == (0.9, None)
    assert [p.held_out_dice for p in told if p.held_out_dice] == [(0.2, None), (0.9, None), (0.4, None), (0.5, None)]


def test_held_out_data_that_tells_nothing_do_not_hold_the_training_at_its_first_validation():
    settings = TrainingSettings(iterations=8, validations=4)
    loop, _, _, _ = make(settings, validate=lambda weights: (None,))
    weights = loop.run()
    assert all(torch.equal(weights[name], loop.state.average[name]) for name in weights)
    assert loop.state.counters.without_gain == 3


def test_the_last_validation_falls_on_the_end_of_the_budget():
    at = []
    loop, _, _, _ = make(TrainingSettings(iterations=7, validations=3), validate=lambda weights: (0.5,))
    loop.tools = replace(loop.tools, validate=lambda weights: (at.append(loop.state.counters.iteration), (0.5,))[1])
    loop.run()
    assert at == [3, 5, 7]


def test_training_ends_after_patience_validations_without_a_gain():
    settings = TrainingSettings(iterations=100, validations=10, patience=2)
    scores = iter([0.5, 0.6, 0.6, 0.55, 0.9])
    loop, _, _, _ = make(settings, validate=lambda weights: (next(scores),))
    loop.run()
    assert loop.state.counters.iteration == 40


def test_abort_raises_and_stop_returns():
    control = Control()
    loop, _, _, _ = make(TrainingSettings(iterations=10**9), control=control)
    control.abort()
    with pytest.raises(CancelledError):
        loop.run()
    control = Control()
    loop, _, _, written = make(TrainingSettings(iterations=10**9), control=control)
    control.stop()
    loop.run()
    assert written[-1][0].iteration == 0


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_ten_steps_equal_five_and_a_resumed_five_bit_for_bit(dropout):
    settings = TrainingSettings(iterations=10, validations=2)
    whole, _, _, _ = make(settings, validate=lambda weights: (0.5,), dropout=dropout)
    whole.run()

    control = Control()
    first, _, _, written = make(settings, validate=lambda weights: (0.5,), dropout=dropout, control=control)
    first.tools = replace(first.tools, log=lambda record: control.stop() if record["iteration"] == 5 else None)
    first.run()
    counters, tensors = written[-1]
    assert counters.iteration == 5

    second, _, _, _ = make(settings, validate=lambda weights: (0.5,), dropout=dropout)
    second.state.load_tensors(tensors)
    second.state.counters = counters
    second.run()
    expected, resumed = whole.state.tensors(), second.state.tensors()
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_one_poisoned_batch_is_skipped_and_training_goes_on():
    loop, _, logged, _ = make(TrainingSettings(iterations=12), batches=Batches(poisoned={4}))
    weights = loop.run()
    assert logged[4]["loss"] == {}
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert loop.state.counters.learning_rate_scale == 1.0


def test_several_poisoned_batches_in_a_row_bring_back_good_weights_and_halve_the_learning_rate():
    poisoned = set(range(4, 4 + SKIPS_BEFORE_RETREAT))
    loop, _, _, _ = make(TrainingSettings(iterations=12), batches=Batches(poisoned=poisoned))
    loop.run()
    assert loop.state.counters.learning_rate_scale == 0.5


def test_going_back_loses_only_the_steps_since_the_last_good_weights():
    before = 2 * GOOD_STEPS + 3
    poisoned = set(range(before, before + SKIPS_BEFORE_RETREAT))
    loop, _, _, _ = make(TrainingSettings(iterations=max(poisoned) + 2), batches=Batches(poisoned=poisoned))
    loop.run()
    steps = {int(each["step"]) for each in loop.state.optimiser.state.values()}
    assert steps == {2 * GOOD_STEPS + 1}


def test_numbers_that_never_become_finite_end_the_training_with_a_reason():
    loop, _, _, _ = make(TrainingSettings(iterations=1000), batches=Batches(poisoned=range(1000)))
    with pytest.raises(TrainingDivergedError, match="smaller learning rate"):
        loop.run()
    assert loop.state.counters.learning_rate_scale == 0.5**RETREATS_BEFORE_GIVING_UP


def test_a_budget_in_seconds_ends_the_training():
    loop, _, _, _ = make(TrainingSettings(seconds=0.3))
    loop.run()
    assert loop.fraction == 1.0
    assert loop.state.counters.iteration > 1


def test_one_step_is_made_however_short_the_budget():
    loop, _, logged, _ = make(TrainingSettings(seconds=1e-9))
    loop.run()
    assert [record["iteration"] for record in logged] == [1]


def test_checkpoints_are_written_at_the_start_and_in_the_given_interval():
    loop, _, _, written = make(TrainingSettings(iterations=6, checkpoint_seconds=1e-9))
    loop.run()
    assert [counters.iteration for counters, _ in written] == [0, 1, 2, 3, 4, 5, 6]


def test_a_disk_that_fills_up_is_noted_and_does_not_end_the_training():
    loop, _, _, _ = make(TrainingSettings(iterations=4, checkpoint_seconds=1e-9))

    def full_from_step_3(state):
        if state.counters.iteration >= 3:
            raise OSError(28, "No space left on device")

    loop.tools = replace(loop.tools, write_checkpoint=full_from_step_3)
    loop.run()
    assert loop.state.counters.iteration == 4
    assert [note[:15] for note in loop.notes] == ["At iteration 3 ", "At iteration 4 "]


def test_a_folder_that_takes_no_checkpoint_is_told_before_the_first_step():
    loop, _, logged, _ = make(TrainingSettings(iterations=4))

    def refuse(state):
        raise OSError(13, "Permission denied")

    loop.tools = replace(loop.tools, write_checkpoint=refuse)
    with pytest.raises(OSError, match="Permission denied"):
        loop.run()
    assert logged == []
