"""``unetseg calibrate``: 8 bit for a model, if held-out cases say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_models import save_small_model
from unetseg import cli
from unetseg.cli import calibrating
from unetseg.files import replay_path
from unetseg.image_io import write_image, write_label_map
from unetseg.inference.quantised import activation_names, is_available
from unetseg.model_file import load_model
from unetseg.volume import Geometry, LabelMap

GEOMETRY = Geometry((6, 12, 14), (2.5, 1.0, 1.0))

pytestmark = pytest.mark.skipif(not is_available(), reason="no convolution in 8 bit here")


def run(*words: object) -> int:
    return cli.main([str(word) for word in words], serve=lambda: 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_small_model(tmp_path / "model.safetensors")
    replay_path(tmp_path / "model.safetensors").write_bytes(b"pieces")
    return tmp_path / "model.safetensors"


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Labelled cases case_0 … case_11, of values around 10 times their number, and one without a label."""
    for folder in ("images", "labels"):
        (tmp_path / "cases" / folder).mkdir(parents=True)
    for number in range(13):
        array = np.random.default_rng(number).normal(10 * number, 1, GEOMETRY.shape).astype(np.float32)
        write_image(tmp_path / "cases" / "images" / f"case_{number}.nii.gz", array, GEOMETRY)
        if number < 12:
            labels = LabelMap(np.full(GEOMETRY.shape, number % 3, np.uint8), GEOMETRY)
            write_label_map(tmp_path / "cases" / "labels" / f"case_{number}.nii.gz", labels)
    return tmp_path / "cases"


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[Any]]:
    """Makes that the loss; gives the cases that it was measured on."""

    def given(loss: float) -> list[Any]:
        seen: list[Any] = []

        def measure(network: Any, cases: Any, ranges: Any, **options: Any) -> float:
            seen.extend(cases)
            return loss

        monkeypatch.setattr(calibrating, "int8_dice_loss", measure)
        return seen

    return given


def test_a_calibrated_model_is_the_model_and_computes_in_8_bit(model, cases, losing, tmp_path, capsys):
    output = tmp_path / "new.safetensors"
    judged = losing(0.0049)
    assert run("calibrate", model, cases, "-o", output, "--validation", "case_1,case_5") == 0
    assert "by -0.0049" in capsys.readouterr().out
    assert [labels.max() for _, labels in judged] == [1, 2]
    before, after = load_model(model), load_model(output)
    int8 = after.document.int8
    assert int8 is not None
    assert (int8.dice_loss, int8.cases) == (0.0049, 2)
    assert set(int8.ranges) == set(activation_names(after.network))
    assert replace(after.document, int8=None) == before.document
    assert all(map(torch.equal, after.network.state_dict().values(), before.network.state_dict().values()))
    assert replay_path(output).read_bytes() == b"pieces"
    assert run("inspect", output) == 0
    assert "int8        Dice -0.0049 on 2 held-out cases" in capsys.readouterr().out

    image = cases / "images" / "case_12.nii.gz"
    assert (
        run("segment", output, image, "-o", tmp_path / "labels.nii.gz", "--device", "cpu", "--precision", "int8") == 0
    )
    assert "Computed in 8-bit precision" in capsys.readouterr().out
    assert run("segment", model, image, "-o", tmp_path / "other.nii.gz", "--device", "cpu", "--precision", "int8") == 2
    assert "Run unetseg calibrate on the model first" in capsys.readouterr().err
    assert not (tmp_path / "other.nii.gz").exists()


def test_a_loss_that_is_too_large_is_said_and_nothing_written(model, cases, losing, tmp_path, capsys):
    losing(0.005)
    assert run("calibrate", model, cases, "-o", tmp_path / "new.safetensors", "--json") == 1
    said = capsys.readouterr()
    assert "8 bit must cost less than 0.005 of Dice. Received: 0.0050 on 2 held-out cases." in said.err
    assert said.out == ""
    assert not list(tmp_path.glob("new.*"))


def test_the_ranges_are_measured_on_other_cases(model, cases, losing, tmp_path, monkeypatch):
    """On eight of the ten others, the first and the last among them, each as the model's plan prepares it."""
    losing(0.0)
    images: list[float] = []

    def measure(network: Any, given: Any, **_: Any) -> dict[str, float]:
        images.extend(round(80 * float(image.mean()) + 50, -1) for image in given)
        return dict.fromkeys(activation_names(network), 1.0)

    monkeypatch.setattr(calibrating, "calibrate", measure)
    assert run("calibrate", model, cases, "-o", tmp_path / "new.safetensors", "--validation", "case_3,case_0") == 0
    assert len(images) == 8
    assert images == sorted(set(images))
    assert (images[0], images[-1]) == (10, 110)
    assert 30 not in images


def test_both_sorts_of_cases_are_needed(model, cases, tmp_path, capsys):
    for wish, received in (("0", "12 and 0"), (",".join(f"case_{number}" for number in range(12)), "0 and 12")):
        assert run("calibrate", model, cases, "-o", tmp_path / "new.safetensors", "--validation", wish) == 1
        assert f"Received: {received}" in capsys.readouterr().err


def test_the_model_itself_stays(model, cases, capsys):
    before = model.read_bytes()
    assert run("calibrate", model, cases, "-o", model) == 2
    assert "must not replace" in capsys.readouterr().err
    assert model.read_bytes() == before
