"""Retraining as a whole: trial, gate, final training; what each of them may see, and how it is resumed."""

from __future__ import annotations

import dataclasses
import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch

from unetseg.config import Label, Plan, TrainingSettings
from unetseg.data import Case, keep_slices
from unetseg.data.batches import BatchSource
from unetseg.errors import CancelledError, ModelFileError
from unetseg.files import replay_path
from unetseg.model_file import file_sha256, load_model
from unetseg.training import Control, Progress, TrainingRequest, TrainingResult, retrain, stretch, train
from unetseg.training.checkpoint import checkpoint_path
from unetseg.training.gate import AVERAGED, START, Candidate, Verdict
from unetseg.training.retrain import smaller_patch
from unetseg.training.state import Tensors, copied
from unetseg.volume import UNLABELLED, Geometry, LabelMap, Volume

LABELS = (Label(0, "background", (0, 0, 0)), Label(1, "ball", (200, 0, 0)))
TINY = {"base_channels": 2, "depth": 2, "pooling": None}
SHAPE = (12, 14, 16)
SLICES = [(0, 4), (0, 6), (0, 8)]
HELD_OUT = {"ball_3": [(0, 6)]}
SHORT = TrainingSettings(
    iterations=5, fine_tuning_rate=1e-2, trial_share=0.4, replay_share=0.3, checkpoint_seconds=1e-9
)  # a trial of 2, a final of 3


def ball_case(seed: int, *, channels: int = 1) -> Case:
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    ball = np.linalg.norm(grid - generator.uniform(5, 8, size=3), axis=-1) < 4
    array = (generator.normal(0, 0.3, (channels, *SHAPE)) + 2.0 * ball).astype(np.float32)
    geometry = Geometry(SHAPE, (2.0, 1.0, 1.0), (3.0, -4.0, 5.0))
    return Case(f"ball_{seed}", Volume(array, geometry), LabelMap(ball.astype(np.uint8), geometry))


def sparse(case: Case, slices: Any = SLICES) -> Case:
    assert case.annotation is not None
    return dataclasses.replace(case, annotation=keep_slices(case.annotation, slices))


def silent(progress: Progress) -> None:
    """Nobody looks."""


def new_model(folder, **changes: Any) -> TrainingResult:
    request = TrainingRequest(
        cases=[ball_case(0), ball_case(1), ball_case(2), ball_case(6), ball_case(7)],
        output=folder / "start.safetensors",
        settings=TrainingSettings(iterations=4, validations=0, learning_rate=1e-2),
        labels=LABELS,
        network_arguments=TINY,
        modality="MR",
        device="cpu",
    )
    return train(dataclasses.replace(request, **changes), control=Control(), report=silent)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return new_model(tmp_path_factory.mktemp("start"))


@pytest.fixture
def request_(start, tmp_path) -> TrainingRequest:
    return TrainingRequest(
        cases=[sparse(ball_case(3))],
        output=tmp_path / "next.safetensors",
        settings=SHORT,
        labels=LABELS,
        device="cpu",
        start=start.model,
        start_sha256=start.sha256,
        held_out_slices=HELD_OUT,
    )


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """What the gate says, whatever it is shown: the one verdict in this list."""
    verdicts = [Verdict(AVERAGED, (0.25,), (0.75,))]
    monkeypatch.setattr(retrain, "judge", lambda *arguments, **options: verdicts[0])
    return verdicts


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensors]:
    """The averaged weights at the end of each stretch."""
    ends: dict[str, Tensors] = {}
    run = stretch.Course.run

    def recorded(course: stretch.Course, name: Any, *arguments: Any, **options: Any) -> Any:
        state = run(course, name, *arguments, **options)
        ends[name] = copied(state.average)
        return state

    monkeypatch.setattr(stretch.Course, "run", recorded)
    return ends


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Progress]:
    monkeypatch.setattr("unetseg.training.loop.REPORT_INTERVAL_SECONDS", 0.0)
    return []


def run(request: TrainingRequest, **changes: Any) -> TrainingResult:
    return train(dataclasses.replace(request, **changes), control=Control(), report=silent)


def same(one: Tensors, other: Tensors) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def weights(result: TrainingResult) -> Tensors:
    return load_model(result.path).network.state_dict()


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


def test_pieces_lie_beside_new_models_only(request_, start):
    assert replay_path(start.path).is_file()
    result = run(request_)
    assert not replay_path(result.path).exists()
    assert (result.replay_before, result.replay_after) == (None, None)


def test_pieces_of_a_model_that_a_retrained_one_replaces_do_not_stay_beside_it(request_):
    stale = new_model(request_.output.parent, output=request_.output)
    assert replay_path(stale.path).is_file()
    run(request_)
    assert not replay_path(request_.output).exists()


def test_a_retraining_with_pieces_trains_on_them_in_about_their_share(request_, start, judged, monkeypatch):
    drawn: list[int] = []
    batch = BatchSource.batch

    def counted(source: BatchSource, iteration: int) -> Any:
        drawn.append(len(source._sources))
        return batch(source, iteration)

    monkeypatch.setattr(BatchSource, "batch", counted)
    settings = dataclasses.replace(SHORT, iterations=60, checkpoint_seconds=1e9)
    run(request_, settings=settings, replay=replay_path(start.path))
    assert len(drawn) == 60
    pieces = max(drawn)
    assert pieces > 1
    assert {1, pieces} == set(drawn)
    assert 0.15 < drawn.count(pieces) / 60 < 0.45


def test_with_pieces_the_figures_say_what_is_remembered(request_, start):
    result = run(request_, replay=replay_path(start.path), held_out_slices={})
    assert result.replay_before is not None
    assert result.replay_after is not None
    assert result.replay_after >= result.replay_before - 0.005
    missing = run(request_, replay=request_.output.with_name("nowhere.replay.safetensors"))
    assert (missing.replay_before, missing.replay_after) == (None, None)


def test_damaged_pieces_end_a_retraining_before_its_first_step(request_, start):
    damaged = request_.output.with_name("start.replay.safetensors")
    damaged.write_bytes(replay_path(start.path).read_bytes()[:-100])
    with pytest.raises(ModelFileError):
        run(request_, replay=damaged)
    assert not request_.output.exists()
    assert not checkpoint_path(request_.output).exists()


def test_a_case_without_a_structure_and_one_without_a_label_do_no_harm(request_, start):
    background = dataclasses.replace(sparse(ball_case(4), [(0, 0)]), name="background")
    unlabelled = dataclasses.replace(sparse(ball_case(5), []), name="unlabelled")
    assert (unlabelled.annotation.array == UNLABELLED).all()
    result = run(request_, cases=[background, unlabelled, sparse(ball_case(3))], held_out_slices=None)
    assert result.held_out_slices == 1
    assert any("unlabelled has no labelled voxel" in warning for warning in result.warnings)


@pytest.mark.parametrize(("network", "channels"), [("unet_2d", 1), ("unet_3d", 2), ("unet_2d", 2)])
def test_2d_networks_and_several_channels_are_retrained_on_several_cases(tmp_path, network, channels):
    base = new_model(tmp_path, cases=[ball_case(n, channels=channels) for n in range(4)], network=network)
    cases = [
        sparse(ball_case(3, channels=channels)),
        sparse(ball_case(4, channels=channels), [(1, 5), (1, 6), (2, 7)]),
        ball_case(5, channels=channels),
    ]
    request = TrainingRequest(
        cases=cases,
        output=tmp_path / "next.safetensors",
        settings=SHORT,
        labels=LABELS,
        device="cpu",
        start=base.model,
        replay=replay_path(base.path),
    )
    result = run(request)
    assert result.held_out_slices == 2
    assert len(result.held_out_after) == 1
    assert result.replay_after is not None
    assert run(request, replay=None, output=tmp_path / "distilled.safetensors").replay_after is None


@pytest.mark.parametrize(
    ("patch_size", "multiple", "expected"),
    [
        ((64, 64, 64), (16, 16, 16), (32, 64, 64)),
        ((32, 48, 56), (8, 8, 8), (32, 48, 56)),
        ((128, 128, 128), (8, 8, 8), (32, 64, 64)),
        ((96, 96, 48), (16, 16, 16), (48, 48, 48)),
        ((1, 512, 512), (16, 16), (1, 256, 512)),
        ((64, 64, 64), (64, 64, 64), (64, 64, 64)),  # no shorter patch can be pooled
        ((12, 128, 128), (1, 32, 32), (12, 64, 128)),
    ],
)
def test_on_a_cpu_patches_are_halved_as_the_pooling_allows(start, patch_size, multiple, expected):
    plan: Plan = dataclasses.replace(start.model.document.plan, patch_size=patch_size)
    assert smaller_patch(plan, multiple) == expected
