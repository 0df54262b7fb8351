"""Retraining as a whole: trial, gate, final training; what each of them may see, and how it is resumed."""

from __future__ import annotations

import dataclasses
import importlib
import math

import pytest

from ball_retraining import (
    SHAPE,
    SHORT,
    SLICES,
    ball_case,
    run,
    same,
    sparse,
    weights,
)
from unetseg.errors import CancelledError
from unetseg.model_file import file_sha256
from unetseg.training import Control, Progress, retrain, train
from unetseg.training.checkpoint import checkpoint_path
from unetseg.training.gate import AVERAGED, NEARLY_AS_GOOD, START, Candidate, Verdict
from unetseg.training.state import copied
from unetseg.volume import UNLABELLED


def test_the_trial_does_not_see_the_held_out_slice_and_the_final_training_does(request_, judged, stretches):
    run(request_)
    trial, final = stretches["trial"], stretches["final"]
    changed = sparse(ball_case(3))
    changed.annotation.array[6, 2:5, 2:5] = 1
    run(request_, cases=[changed])
    assert same(stretches["trial"], trial)
    assert not same(stretches["final"], final)

    changed.annotation.array[4, 2:5, 2:5] = 1  # a slice that is trained on in both
    run(request_, cases=[changed])
    assert not same(stretches["trial"], trial)


def test_whether_the_contrast_is_inverted_is_not_decided_on_the_held_out_slice(request_, judged, monkeypatch):
    seen = []

    def with_contrast(network, cases, plan, *, classes):
        seen.extend(cases)
        return plan, (False,)

    monkeypatch.setattr(importlib.import_module("unetseg.training.train"), "with_contrast", with_contrast)
    run(request_)
    (case,) = seen
    assert [index for index in range(SHAPE[0]) if (case.annotation[index] != UNLABELLED).any()] == [4, 8]


def test_a_held_out_slice_may_be_crossed_by_another(request_, judged, stretches):
    case = sparse(ball_case(3), [*SLICES, (2, 7)])
    run(request_, cases=[case])
    trial = stretches["trial"]
    crossed = dataclasses.replace(case, annotation=dataclasses.replace(case.annotation))
    crossed.annotation.array[6, :, 7] ^= 1
    run(request_, cases=[crossed])
    assert same(stretches["trial"], trial)


def test_the_start_model_and_its_file_stay_as_they_were(request_, start):
    before = copied(start.model.network.state_dict())
    run(request_)
    assert same(before, start.model.network.state_dict())
    assert file_sha256(start.path) == start.sha256


@pytest.mark.parametrize(
    ("candidate", "share"), [(AVERAGED, 1.0), (Candidate(0.25), 0.25), (Candidate(1.0, averaged=False), None)]
)
def test_the_final_weights_lie_as_far_from_the_start_model_as_the_gate_says(
    request_, start, judged, stretches, candidate, share
):
    judged[0] = Verdict(candidate, (0.25,), (0.75,))
    result = run(request_)
    assert (result.held_out_before, result.held_out_after, result.held_out_slices) == ((0.25,), (0.75,), 1)
    assert (result.iterations, result.improved) == (5, True)
    begin, found = start.model.network.state_dict(), weights(result)
    if share is None:
        assert not same(found, stretches["final"])
        return
    expected = {
        name: begin[name].lerp(end, share) for name, end in stretches["final"].items() if end.is_floating_point()
    }
    assert same(expected, found)


@pytest.mark.parametrize("resume_in", [1, 2, "gate", 3, 4])
def test_a_retraining_killed_anywhere_and_resumed_is_the_whole_one_bit_for_bit(request_, judged, told, resume_in):
    """Iterations 1 and 2 are the trial's; the gate's verdict goes on through the checkpoint."""
    judged[0] = Verdict(Candidate(0.75), (0.25,), (0.7123456789,))
    whole = run(request_, output=request_.output.with_name("whole.safetensors"))

    def kill(progress: Progress) -> None:
        if (progress.stage == "validating") if resume_in == "gate" else (progress.iteration == resume_in):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(request_, control=Control(), report=kill)
    assert not request_.output.exists()
    resumed = run(request_, resume=True)
    assert same(weights(whole), weights(resumed))
    for name in ("iterations", "held_out_before", "held_out_after", "replay_after", "improved"):
        assert getattr(resumed, name) == getattr(whole, name)
    assert not checkpoint_path(request_.output).exists()


def test_an_aborted_final_training_goes_on_from_its_checkpoint(request_, judged, told):
    whole = run(request_, output=request_.output.with_name("whole.safetensors"))
    control = Control()
    with pytest.raises(CancelledError):
        train(request_, control=control, report=lambda p: control.abort() if p.iteration == 4 else None)
    judged[0] = Verdict(START)  # the verdict of the first session counts
    assert same(weights(whole), weights(run(request_, resume=True)))


@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_stop_keeps_what_was_learnt_in_either_part_and_can_be_resumed(request_, judged, told, stretches, stop_at):
    whole = run(request_, output=request_.output.with_name("whole.safetensors"))
    control = Control()
    stopped = train(request_, control=control, report=lambda p: control.stop() if p.iteration == stop_at else None)
    assert stopped.iterations == stop_at
    assert same(weights(stopped), stretches["trial" if stop_at == 1 else "final"])
    assert checkpoint_path(request_.output).exists()
    assert same(weights(whole), weights(run(request_, resume=True)))


@pytest.mark.parametrize(("stop_at", "tolerance"), [(1, 0.0), (None, NEARLY_AS_GOOD)])
def test_a_trial_that_is_handed_over_at_once_must_have_been_best(request_, told, monkeypatch, stop_at, tolerance):
    tolerances = []

    def judge(*arguments, tolerance):
        tolerances.append(tolerance)
        return Verdict(START, (0.8,), (0.8,))

    monkeypatch.setattr(retrain, "judge", judge)
    control = Control()
    train(request_, control=control, report=lambda p: control.stop() if p.iteration == stop_at else None)
    assert tolerances == [tolerance]


def test_the_final_training_goes_on_with_the_schedule_the_optimiser_and_the_average_of_the_trial(
    request_, judged, stretches, monkeypatch
):
    """Where both learn from the same slices they are one training."""
    batches = retrain.Retraining._batches
    monkeypatch.setattr(retrain.Retraining, "_batches", lambda self, cases: batches(self, self._cases.complete))
    run(request_)
    run(request_, held_out_slices={})
    assert same(stretches["final"], stretches["whole"])


def test_where_the_start_model_wins_its_weights_are_written_and_the_rest_of_the_budget_is_saved(
    request_, start, judged, stretches
):
    judged[0] = Verdict(START, (0.8,), (0.8,))
    result = run(request_)
    assert not result.improved
    assert result.iterations == 2
    assert list(stretches) == ["trial"]
    assert same(weights(result), weights(start))
    assert result.held_out_after == result.held_out_before == (0.8,)
    assert result.model.document.training.parent_sha256 == start.sha256


@pytest.mark.parametrize(
    ("changes", "expected", "held_out"),
    [
        ({"held_out_slices": None}, ["trial", "final"], 1),
        ({"held_out_slices": {}}, ["whole"], 0),
        ({"held_out_slices": {"ball_3": []}}, ["whole"], 0),
        ({"held_out_slices": None, "cases": [sparse(ball_case(3), SLICES[:2])]}, ["whole"], 0),
        ({"held_out_slices": None, "cases": [sparse(ball_case(3), SLICES[:1])]}, ["whole"], 0),
        (
            {"held_out_slices": None, "cases": [sparse(ball_case(3)), ball_case(4)], "validation": ["ball_4"]},
            ["whole"],
            0,
        ),
        ({"cases": [sparse(ball_case(3)), ball_case(4)], "validation": ["ball_4"]}, ["trial", "final"], 1),
        (
            {"held_out_slices": None, "cases": [sparse(ball_case(3)), sparse(ball_case(4)), ball_case(5)]},
            ["trial", "final"],
            2,
        ),
    ],
)
def test_a_trial_is_made_where_slices_are_held_out(request_, judged, stretches, changes, expected, held_out):
    result = run(request_, **changes)
    assert list(stretches) == expected
    assert result.held_out_slices == held_out
    assert result.iterations == 5
    measured = expected[0] == "trial" or "validation" in changes
    assert result.held_out_after == ((0.75,) if measured else ())


def test_too_few_slices_to_hold_one_out_all_are_learned_from(request_, stretches):
    result = run(request_, held_out_slices=None, cases=[sparse(ball_case(3), SLICES[:2])])
    found = weights(result)
    assert same(found, stretches["whole"])
    assert (result.held_out_before, result.held_out_after, result.improved) == ((), (), True)
    changed = sparse(ball_case(3), SLICES[:2])
    changed.annotation.array[6, 2:5, 2:5] = 1
    assert not same(weights(run(request_, held_out_slices=None, cases=[changed])), found)


@pytest.mark.parametrize(
    ("iterations", "share", "parts"),
    [(5, 0.5, [3, 2]), (1, 0.5, [1, 0]), (10, 0.99, [10, 0]), (7, 0.5, [4, 3]), (10, 0.3, [3, 7])],
)
def test_both_parts_together_use_the_budget(request_, judged, told, iterations, share, parts):
    settings = dataclasses.replace(SHORT, iterations=iterations, trial_share=share)
    train(dataclasses.replace(request_, settings=settings), control=Control(), report=told.append)
    trained = [progress.iteration for progress in told if progress.stage == "training"]
    assert trained == list(range(1, sum(parts) + 1))
    validated = next(progress for progress in told if progress.stage == "validating")
    assert validated.iteration == parts[0]


@pytest.mark.parametrize(
    ("changes", "gain", "slices"),
    [
        ({}, 0.125, [3]),  # half of what the labelled slices gain, the held-out one among them
        ({"cases": [sparse(ball_case(3)), sparse(ball_case(4), [])]}, 0.125, [3]),
        ({"cases": [sparse(ball_case(3)), ball_case(4)], "validation": ["ball_4"]}, 0.5, None),  # as the gate found
        ({"held_out_slices": {}}, math.inf, None),
    ],
)
def test_what_the_volumes_gain(request_, judged, monkeypatch, changes, gain, slices):
    measured, gains = [], []

    def validator(network, cases, **options):
        dice = iter([(0.75,), (0.5,)])  # of the new weights, then of the start model
        measured.append([(case.annotation != UNLABELLED).any(axis=(1, 2)).sum() for case in cases])
        return lambda weights: next(dice)

    def confirm(start, state, wanted, *, remembered, gained):
        measured.clear()
        gains.append(gained(start))
        return wanted

    monkeypatch.setattr(retrain, "validator", validator)
    monkeypatch.setattr(retrain, "confirm", confirm)
    run(request_, **changes)
    assert gains == [gain]
    assert measured == ([] if slices is None else [slices])


def test_progress_rises_to_the_end_and_the_time_left_is_that_of_all_parts(request_, judged, told):
    settings = dataclasses.replace(SHORT, trial_share=0.4)
    train(dataclasses.replace(request_, settings=settings), control=Control(), report=told.append)
    training = [progress for progress in told if progress.stage != "preparing"]
    fractions = [progress.fraction for progress in training]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    steps = {progress.iteration: progress for progress in training if progress.stage == "training"}
    assert [steps[n].fraction for n in range(1, 6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert steps[2].seconds_left > 0
    assert steps[5].seconds_left == pytest.approx(0, abs=1e-9)
    ratio = {n: steps[n].seconds_left * steps[n].fraction / (1 - steps[n].fraction) for n in range(1, 5)}
    assert sorted(ratio.values()) == [ratio[n] for n in range(1, 5)]  # the seconds that have passed
