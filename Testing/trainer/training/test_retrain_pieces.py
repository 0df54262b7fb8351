"""What a retraining makes of pieces of earlier cases, of odd cases, of other networks and of patches on a CPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ball_retraining import (
    LABELS,
    SHORT,
    ball_case,
    new_model,
    run,
    sparse,
)
from unetseg.config import Plan
from unetseg.data.batches import BatchSource
from unetseg.errors import ModelFileError
from unetseg.files import replay_path
from unetseg.training import TrainingRequest
from unetseg.training.checkpoint import checkpoint_path
from unetseg.training.retrain import smaller_patch
from unetseg.volume import UNLABELLED


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
