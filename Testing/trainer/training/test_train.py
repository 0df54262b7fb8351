"""The whole way from cases to a model file, on a ball in noise that a network of a few hundred weights can find."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest
import torch

from ball_retraining import LABELS, ball_case, request_for, silent
from unetseg.config import TrainingSettings
from unetseg.data import keep_slices
from unetseg.errors import CancelledError, SettingsError, TrainingDataError, UnetsegError
from unetseg.files import replay_path
from unetseg.inference import segment
from unetseg.metrics import dice_per_class
from unetseg.model_file import file_sha256, load_model
from unetseg.training import Control, train
from unetseg.training.checkpoint import checkpoint_path
from unetseg.training.curve import curve_path
from unetseg.volume import LabelMap

EVERY_STEP_STORED = TrainingSettings(iterations=4, validations=2, checkpoint_seconds=1e-9)


def weights(path):
    return load_model(path).network.state_dict()


def test_a_trained_model_finds_what_it_was_taught_and_its_file_says_how(tmp_path):
    told = []
    request = request_for(
        tmp_path,
        cases=[ball_case(0), ball_case(1), ball_case(2)],
        settings=TrainingSettings(iterations=150, validations=2, learning_rate=1e-2, fine_tuning_rate=1e-2),
        validation=("ball_2",),
    )
    result = train(request, control=Control(), report=told.append)
    test = ball_case(9)
    model = load_model(result.path)
    predicted = segment(model, test.volume, device="cpu").label_map
    assert predicted.geometry.matches(test.volume.geometry)
    (dice,) = dice_per_class(predicted.array, test.annotation.array, 2)
    assert dice > 0.8

    record = model.document.training
    assert record.cases == ("ball_0", "ball_1")
    assert record.validation_cases == ("ball_2",)
    assert record.annotated_slices == (12, 12)
    assert record.iterations == 150
    assert record.held_out_dice == result.held_out_after
    assert result.sha256 == file_sha256(result.path)
    assert result.held_out_before == ()
    assert not checkpoint_path(result.path).exists()
    stages = [progress.stage for progress in told]
    assert stages[0] == "preparing"
    assert stages[-1] == "saving"
    assert [p.held_out_dice for p in told if p.held_out_dice][-1] is not None
    curve = [json.loads(line) for line in curve_path(result.path).read_text().splitlines()]
    assert sum("loss" in entry for entry in curve) == 150
    assert sum("held_out_dice" in entry for entry in curve) == 2


def test_background_beyond_lines_is_said_where_it_is_chosen(tmp_path):
    array = np.full((12, 14, 16), 255, dtype=np.uint8)
    array[6, 2:12, 2:12] = 0
    array[6, 3:11, 3:11] = 255
    array[6, 6, 6] = 1
    case = dataclasses.replace(ball_case(0), annotation=LabelMap(array, ball_case(0).annotation.geometry))
    said = []
    for chosen in (True, False):
        settings = TrainingSettings(iterations=1, background_beyond_lines=chosen)
        made = train(request_for(tmp_path, cases=[case], settings=settings), control=Control(), report=silent)
        said.append(["beyond closed lines" in note for note in made.notes])
        assert made.model.document.training.settings["background_beyond_lines"] is chosen
    assert (sum(said[0]), sum(said[1])) == (1, 0)


def test_retraining_from_three_slices_beats_the_start_model_and_leaves_it_unchanged(tmp_path):
    settings = TrainingSettings(iterations=150, validations=0, learning_rate=1e-2, fine_tuning_rate=1e-2)
    first = train(request_for(tmp_path, settings=settings), control=Control(), report=silent)
    before = {name: tensor.clone() for name, tensor in first.model.network.state_dict().items()}
    dark = ball_case(5, brightness=-2.0)  # the first model has only seen bright balls
    sparse = dataclasses.replace(dark, annotation=keep_slices(dark.annotation, [(0, 4), (0, 6), (0, 9)]))
    retrained = train(
        request_for(
            tmp_path,
            cases=[sparse],
            output=tmp_path / "dark.safetensors",
            settings=settings,
            start=first.model,
            start_sha256=first.sha256,
        ),
        control=Control(),
        report=silent,
    )
    plan = first.model.document.plan
    seen_inverted = tuple(dataclasses.replace(entry, inverted=True) for entry in plan.normalisation)
    assert retrained.model.document.plan == dataclasses.replace(plan, normalisation=seen_inverted)
    assert any("negative" in note for note in retrained.notes)
    assert retrained.improved
    assert retrained.held_out_slices == 1
    assert retrained.model.document.training.parent_sha256 == first.sha256
    assert retrained.model.document.training.annotated_slices == (3,)
    after = first.model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)

    untouched = [index for index in range(12) if index not in (4, 6, 9)]

    def score(model):
        predicted = segment(model, dark.volume, device="cpu").label_map.array
        return dice_per_class(predicted[untouched], dark.annotation.array[untouched], 2)[0]

    assert score(retrained.model) > score(first.model) + 0.3


def test_held_out_slices_are_measured_before_and_after(tmp_path):
    first = train(request_for(tmp_path), control=Control(), report=silent)
    case = ball_case(3)
    sparse = dataclasses.replace(case, annotation=keep_slices(case.annotation, [(0, 4), (0, 6), (0, 8)]))
    result = train(
        request_for(
            tmp_path,
            cases=[sparse],
            output=tmp_path / "next.safetensors",
            start=first.model,
            held_out_slices={"ball_3": [(0, 6)]},
        ),
        control=Control(),
        report=silent,
    )
    predicted = segment(first.model, case.volume, device="cpu").label_map.array
    expected = dice_per_class(predicted[6], case.annotation.array[6], 2)
    assert result.held_out_before == pytest.approx(expected, abs=1e-6)
    assert len(result.held_out_after) == 1


def test_a_stopped_training_resumed_gives_the_same_model_bit_for_bit(tmp_path):
    (tmp_path / "whole").mkdir()
    held_out = ("ball_1",)  # its validation after step 2 is what the abort waits for
    whole = train(request_for(tmp_path / "whole", validation=held_out), control=Control(), report=silent)

    control = Control()
    request = request_for(tmp_path, settings=EVERY_STEP_STORED, validation=held_out)
    with pytest.raises(CancelledError):
        train(request, control=control, report=lambda p: control.abort() if p.iteration == 2 else None)
    assert not request.output.exists()
    resumed = train(dataclasses.replace(request, resume=True), control=Control(), report=silent)
    assert resumed.iterations == whole.iterations
    expected, found = weights(whole.path), weights(resumed.path)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_training_resumes_whatever_memory_is_free_by_then(tmp_path):
    request = request_for(tmp_path, settings=TrainingSettings(iterations=10**9), memory_gb=0.008)
    control = Control()
    stopped = train(request, control=control, report=lambda p: control.stop() if p.stage == "training" else None)
    plan = stopped.model.document.plan
    control = Control()
    later = dataclasses.replace(request, memory_gb=8.0, resume=True)
    resumed = train(later, control=control, report=lambda p: control.stop() if p.stage == "training" else None)
    assert resumed.model.document.plan == plan
    fresh = train(request_for(tmp_path, memory_gb=8.0), control=Control(), report=silent)
    assert fresh.model.document.plan != plan


def test_stop_saves_what_was_learnt_and_keeps_the_checkpoint_for_more(tmp_path):
    control = Control()
    request = request_for(tmp_path, settings=TrainingSettings(iterations=10**9))
    result = train(request, control=control, report=lambda p: control.stop() if p.stage == "training" else None)
    assert 0 < result.iterations < 10**9
    assert load_model(result.path).document.training.iterations == result.iterations
    assert checkpoint_path(result.path).exists()


def test_a_training_stopped_before_its_first_step_saves_no_model(tmp_path):
    control = Control()
    control.stop()
    with pytest.raises(CancelledError):
        train(request_for(tmp_path), control=control, report=silent)
    assert not (tmp_path / "ball.safetensors").exists()


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path):
    models = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        request = request_for(
            tmp_path, output=tmp_path / f"{name}.safetensors", settings=TrainingSettings(iterations=2, seed=seed)
        )
        models.append(weights(train(request, control=Control(), report=silent).path))
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not all(torch.equal(models[0][name], models[2][name]) for name in models[0])


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"validation": ("nobody",)}, SettingsError, "nobody"),
        ({"validation": ("ball_0", "ball_1")}, TrainingDataError, "not held out"),
        ({"labels": LABELS[:1]}, SettingsError, "at least two"),
        ({"network": "unet_4d"}, SettingsError, "unet_3d"),
        ({"resume": True}, SettingsError, "checkpoint"),
        ({"settings": TrainingSettings()}, SettingsError, "exactly one budget"),
        ({"settings": TrainingSettings(iterations=1, loss="dise")}, SettingsError, "Did you mean dice"),
        ({"memory_gb": math.inf}, SettingsError, "positive and finite.*Received: inf GB"),
        ({"memory_gb": -1.0}, SettingsError, "positive and finite.*Received: -1.0 GB"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_with_the_reason(tmp_path, changes, kind, told):
    with pytest.raises(kind, match=told):
        train(request_for(tmp_path, **changes), control=Control(), report=silent)
    assert not (tmp_path / "ball.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": (LABELS[0], dataclasses.replace(LABELS[1], name="background"))}, "names must be different"),
        ({"network_arguments": {"base_channels": 1, "depth": 6, "pooling": [[1, 1, 4]] * 5}}, "patch size must be"),
    ],
)
def test_a_model_that_could_not_be_saved_is_refused_before_the_first_step(tmp_path, changes, told):
    with pytest.raises(UnetsegError, match=told):
        train(request_for(tmp_path, **changes), control=Control(), report=silent)
    assert not checkpoint_path(tmp_path / "ball.safetensors").exists()


def test_a_folder_of_the_model_s_name_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "ball.safetensors").mkdir()
    with pytest.raises(SettingsError, match=r"the folder ball\.safetensors"):
        train(request_for(tmp_path), control=Control(), report=silent)


def test_a_model_that_could_not_be_replaced_keeps_its_pieces(tmp_path, monkeypatch):
    train(request_for(tmp_path), control=Control(), report=silent)
    pieces = replay_path(tmp_path / "ball.safetensors")
    before = pieces.read_bytes()

    def full(*_of):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["unetseg.training.train"], "save_model", full)
    with pytest.raises(OSError, match="No space"):
        train(request_for(tmp_path, cases=[ball_case(2)]), control=Control(), report=silent)
    assert pieces.read_bytes() == before


def test_an_annotation_that_labels_only_background_is_refused(tmp_path):
    case = ball_case(0)
    empty = dataclasses.replace(case, annotation=keep_slices(case.annotation, [(0, 0)]))
    with pytest.raises(TrainingDataError, match="background"):
        train(request_for(tmp_path, cases=[empty]), control=Control(), report=silent)


def test_a_structure_on_held_out_slices_only_is_not_there_to_train_on(tmp_path):
    case = ball_case(0)
    sparse = dataclasses.replace(case, annotation=keep_slices(case.annotation, [(0, 0), (0, 6)]))
    with pytest.raises(TrainingDataError, match="background"):
        train(
            request_for(tmp_path, cases=[sparse], held_out_slices={"ball_0": [(0, 6)]}),
            control=Control(),
            report=silent,
        )


def test_a_model_is_not_written_over_the_one_it_starts_from(tmp_path):
    first = train(request_for(tmp_path), control=Control(), report=silent)
    request = request_for(tmp_path, start=first.model, start_sha256=first.sha256)
    with pytest.raises(SettingsError, match="another name"):
        train(request, control=Control(), report=silent)
    assert file_sha256(first.path) == first.sha256


def test_weights_worse_than_those_of_the_start_model_are_not_saved(tmp_path):
    settings = TrainingSettings(iterations=100, validations=1, learning_rate=1e-2, fine_tuning_rate=1e-2)
    first = train(request_for(tmp_path, settings=settings), control=Control(), report=silent)
    inverted = ball_case(1)  # what it is taught now contradicts what the held-out case shows
    inverted = dataclasses.replace(
        inverted, annotation=dataclasses.replace(inverted.annotation, array=1 - inverted.annotation.array)
    )
    result = train(
        request_for(
            tmp_path,
            cases=[inverted, ball_case(2)],
            validation=("ball_2",),
            settings=TrainingSettings(iterations=40, validations=1, learning_rate=1e-2, fine_tuning_rate=1e-2),
            output=tmp_path / "worse.safetensors",
            start=first.model,
            start_sha256=first.sha256,
        ),
        control=Control(),
        report=silent,
    )
    assert result.held_out_after == result.held_out_before
    expected, found = weights(first.path), weights(result.path)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
