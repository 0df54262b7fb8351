from dataclasses import replace

import pytest
import torch
from torch import nn

from unetseg.config import NetworkConfig, Normalisation, Plan, TrainingSettings
from unetseg.errors import ModelFileError, SettingsError
from unetseg.training.checkpoint import CheckpointHeader, checkpoint_path, load_checkpoint, write_checkpoint
from unetseg.training.state import Counters, TrainingState

SETTINGS = TrainingSettings(iterations=9)
HEADER = CheckpointHeader(
    network=NetworkConfig("unet_3d", 1, 2),
    plan=Plan(3, "canonical", (1.0, 1.0, 1.0), (8, 8, 8), 2, "MR", (Normalisation("zscore"),)),
    settings=SETTINGS,
    parent_sha256="",
    cases=("a", "b"),
    validation_cases=("b",),
    held_out_slices={"a": ((0, 3),)},
    stretch="trial",
    verdict=None,
    counters=Counters(),
)


def state(seed: int) -> TrainingState:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    made = TrainingState(net, settings=SETTINGS)
    net(torch.randn(2, 1, 3, 3)).square().mean().backward()
    made.optimiser.step()
    made.counters = Counters(iteration=4, seconds=2.5, best_score=0.75, best_dice=(0.75, None), validations_done=1)
    return made


def test_a_checkpoint_gives_back_tensors_and_counters(tmp_path):
    source, target = state(0), state(1)
    write_checkpoint(tmp_path / "c.safetensors", source, HEADER)
    load_checkpoint(tmp_path / "c.safetensors", target, HEADER)
    left, right = source.tensors(), target.tensors()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert target.counters == source.counters


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"settings": replace(SETTINGS, seed=7)}, "keeps its settings.*seed was 0, is 7"),
        ({"cases": ("a", "c")}, "keeps its cases"),
        ({"held_out_slices": {"a": ((0, 4),)}}, "keeps its held out slices"),
        ({"parent_sha256": "12"}, "keeps its parent sha256"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_the_difference(tmp_path, changes, told):
    write_checkpoint(tmp_path / "c.safetensors", state(0), HEADER)
    with pytest.raises(SettingsError, match=told):
        load_checkpoint(tmp_path / "c.safetensors", state(1), replace(HEADER, **changes))


def test_a_training_may_go_on_with_another_budget(tmp_path):
    write_checkpoint(tmp_path / "c.safetensors", state(0), HEADER)
    target = state(1)
    longer = replace(HEADER, settings=replace(SETTINGS, iterations=90))
    load_checkpoint(tmp_path / "c.safetensors", target, longer)
    assert target.counters.iteration == 4


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"no file c\.safetensors"):
        load_checkpoint(tmp_path / "c.safetensors", state(1), HEADER)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, state(0), HEADER)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelFileError):
        load_checkpoint(path, state(1), HEADER)


def test_the_checkpoint_lies_beside_the_model(tmp_path):
    assert checkpoint_path(tmp_path / "liver.v2.safetensors") == tmp_path / "liver.v2.checkpoint.safetensors"
