"""The benchmark of seconds to a Dice, with budgets so small that its figures mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import results
import speed_training
from comparison import OURS
from measures import Figures
from rows import START, Key, Row
from small_models import save_small_model
from speed_training import PLAIN, contestants, curves, table


def row(method: str, budget: float, seconds: float, dice: float, *, seed: int = 0) -> Row:
    key = Key("CT", "case", "3", seed, method, budget, "")
    return Row(key, Figures((dice,), (None,), (None,), None, None), seconds)


ROWS = [
    *(row(START, budget, 1.0, 0.4) for budget in (5.0, 10.0)),
    *(row(OURS, 5.0, 5.0 + seed, 0.8 + 0.1 * seed, seed=seed) for seed in (0, 2)),
    row(OURS, 10.0, 11.0, 0.9),
    row("monai", 5.0, 6.0, 0.5),
    row("monai", 10.0, 16.0, 0.7),
]


def test_a_curve_begins_with_the_start_and_has_a_point_for_each_budget():
    found = curves(ROWS)["CT"]
    assert found[OURS] == {1.0: 0.4, 6.0: pytest.approx(0.9), 11.0: 0.9}
    assert found["monai"] == {1.0: 0.4, 6.0: 0.5, 16.0: 0.7}


def test_seconds_to_a_dice_and_how_many_times_ours():
    ours, monai = table(curves(ROWS), [0.65, 0.8, 0.95])
    assert ours[:2] == ["CT", OURS]
    assert ours[2] == "1: 0.400, 6: 0.900, 11: 0.900"
    assert ours[3:] == ["3.5 (1.00)", "5.0 (1.00)", "> 11.0"]
    assert monai[3:] == ["13.5 (3.86)", "> 16.0 (> 3.20)", "> 16.0"]


def test_who_cannot_take_part_is_named(tmp_path, monkeypatch):
    pytest.importorskip("monai")
    monkeypatch.setattr(speed_training, "MISSING", {"nnunet": "nnunetv2"})
    found, absent = contestants(None)
    assert list(found) == [OURS, PLAIN, "monai"]
    assert absent == ["nnunet was left out: nnunetv2 is not installed."]
    found, absent = contestants(tmp_path / "model.safetensors")
    assert list(found) == [OURS, PLAIN]
    assert absent[0].endswith("model.monai.safetensors, which train_monai_base.py makes.")


def test_a_network_is_fine_tuned_within_every_budget(data_dir: Path, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    model = tmp_path / "base.safetensors"
    save_small_model(model)
    given = ["--model", str(model), "--output", str(tmp_path / "rows"), "--cases", "1", "--device", "cpu"]
    speed_training.main(speed_training.options().parse_args([*given, "--budgets", "0.4", "0.2", "--goals", "0.9"]))
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| shifted")]
    assert [line[1] for line in lines] == [OURS, PLAIN]
    assert all(len(line[2].split(", ")) == 3 for line in lines)  # the start and two budgets
    assert "monai was left out: " in text  # it is not installed, or has no base
