"""The measuring of what slice to label next: strategies, curves and the table by hand, and a small run of all of it."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import results
import suggestion_study
from methods.task import Task
from small_models import DOCUMENT, save_small_model
from study import Conditions, Job, Subject
from suggestion_study import STRATEGIES, Curve, Key, Look, VolumeRun, area, options, stored_curves, table
from unetseg.errors import SettingsError
from unetseg.model_file import file_sha256, load_model
from unetseg.volume import UNLABELLED, Geometry, LabelArray, LabelMap, Volume

GRID = Geometry((12, 10, 8), (2.0, 1.0, 1.0))


def look(labels: LabelArray, taken: tuple[tuple[int, int], ...] = (), seed: int = 0, unsure: int = 0) -> Look:
    uncertainty = np.zeros_like(labels)
    uncertainty[unsure] = 100
    return Look(labels, uncertainty, np.roll(labels, 3, axis=0), GRID.spacing_mm, taken, seed)


@pytest.fixture
def labels() -> LabelArray:
    """Structure 1 in slices 2 … 10 along D, structure 2 in slice 4 only."""
    array = np.zeros(GRID.shape, np.uint8)
    array[2:11, 3:7, 2:6] = 1
    array[4, 3:7, 2] = 2
    return array


def test_the_products_strategies_are_what_it_suggests(labels: LabelArray) -> None:
    taken = ((0, 6), (1, 4))
    assert STRATEGIES["stride"](look(labels)) == (0, 6)
    assert STRATEGIES["stride"](look(labels, taken, unsure=9)) == (0, 3)
    assert STRATEGIES["uncertainty"](look(labels, taken, unsure=9)) == (0, 9)
    # The start model sees structure 1 in slices 5 … 11, 0 and 1: of 1, 2, 3 and 11, where both differ equally, slices 1
    # and 11 are the farthest from slice 6.
    assert STRATEGIES["uncertainty, start"](look(labels, taken)) == (0, 1)
    drawn = {STRATEGIES["uncertainty, start, chance"](look(labels, taken, seed, unsure=9)) for seed in range(60)}
    assert drawn == {(0, 1), (0, 2), (0, 3), (0, 9), (0, 11)}
    with pytest.raises(SettingsError, match="more slices"):
        STRATEGIES["stride"](look(labels, (*((0, index) for index in range(12)), (1, 4))))


def test_any_slice_is_drawn_equally_often(labels: LabelArray) -> None:
    drawn = [STRATEGIES["random"](look(labels, ((0, 5),), seed)) for seed in range(1100)]
    counts = np.bincount([index for _axis, index in drawn], minlength=12)
    assert counts[5] == 0
    np.testing.assert_allclose(np.delete(counts, 5), 100, atol=40)  # standard deviation 9.5
    assert {axis for axis, _index in drawn} == {0}


def test_a_structure_is_drawn_first_and_then_a_slice_that_shows_it(labels: LabelArray) -> None:
    drawn = [STRATEGIES["random in a structure"](look(labels, (), seed))[1] for seed in range(400)]
    assert set(drawn) == set(range(2, 11))
    assert drawn.count(4) / 400 == pytest.approx(1 / 2 + 1 / 18, abs=0.08)  # standard deviation 0.025
    rest = {STRATEGIES["random in a structure"](look(labels, ((0, 4),), seed))[1] for seed in range(200)}
    assert rest == {2, 3, 5, 6, 7, 8, 9, 10}
    nothing = np.zeros_like(labels)
    assert len({STRATEGIES["random in a structure"](look(nothing, (), seed))[1] for seed in range(200)}) == 12


def test_the_area_is_a_mean_dice() -> None:
    assert area([0.25, 0.25, 0.25]) == 0.25
    assert area([0.0, 0.5, 0.75]) == pytest.approx((0.25 + 0.625) / 2)


@pytest.fixture
def job(labels: LabelArray) -> Job:
    image = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    return Job(Subject("knee", Volume(image, GRID), LabelMap(labels, GRID), "in domain"), (2,), seed=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_small_model(tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


@pytest.fixture
def tasks(model: Path, monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """What reaches a loop that learns nothing: it only keeps the labelled slices."""
    found: list[Task] = []

    def loop(task: Task) -> LabelArray:
        found.append(task)
        shutil.copy(model, task.folder / "retrained.safetensors")
        return np.where(task.annotation.array == UNLABELLED, 0, task.annotation.array).astype(np.uint8)

    monkeypatch.setitem(suggestion_study.METHODS, "loop", loop)
    return found


def key(strategy: str, case: str = "knee", seed: int = 3) -> Key:
    return Key("in domain", case, seed, strategy, 3, 7.0, "abc")


def test_a_curve_by_hand(job: Job, model: Path, tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    planned = iter([(0, 4), (0, 5), (0, 0)])
    monkeypatch.setitem(STRATEGIES, "stride", lambda look: next(planned))
    given = Conditions(DOCUMENT.labels, "unet_3d", "MR", 7.0, "cpu", model)
    found = VolumeRun(job, given, load_model(model)).curve(key("stride"))
    assert found.slices == ((0, 4), (0, 5), (0, 0))
    # Structure 1 has 8·16 + 12 = 140 voxels, 12 of them on slice 4 and 16 on slice 5; structure 2 all 4 on slice 4.
    first, second = (2 * 12 / (12 + 140) + 1) / 2, (2 * 28 / (28 + 140) + 1) / 2
    assert found.whole == pytest.approx((first, second, second))
    assert found.untouched == (0.0, 0.0, 0.0)
    assert [task.slices for task in tasks] == [found.slices[: n + 1] for n in range(3)]
    assert all((task.seconds, task.seed, task.start_file) == (7.0, 3, model) for task in tasks)


def test_the_same_slices_are_trained_on_once(
    job: Job, model: Path, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, last in (("stride", 8), ("uncertainty", 9)):
        choices: dict[int, tuple[int, int]] = {0: (0, 4), 1: (1, 5), 2: (0, last)}
        monkeypatch.setitem(STRATEGIES, name, lambda look, choices=choices: choices[len(look.taken)])
    run = VolumeRun(job, Conditions(DOCUMENT.labels, "unet_3d", "MR", 7.0, "cpu", model), load_model(model))
    assert run.curve(key("stride")).slices[:2] == run.curve(key("uncertainty")).slices[:2]
    assert [task.slices[-1] for task in tasks] == [(0, 4), (1, 5), (0, 8), (0, 9)]


def test_nothing_is_trained_before_a_slice_shows_a_structure(
    job: Job, model: Path, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = iter([(0, 0), (0, 11), (0, 4)])
    seen = []
    monkeypatch.setitem(STRATEGIES, "stride", lambda look: seen.append(look) or next(planned))
    start = load_model(model)
    run = VolumeRun(job, Conditions(DOCUMENT.labels, "unet_3d", "MR", 7.0, "cpu", model), start)
    assert run.curve(key("stride")).slices == ((0, 0), (0, 11), (0, 4))
    assert [task.slices for task in tasks] == [((0, 0), (0, 11), (0, 4))]
    for unlabelled, empty in ((seen[1], [0]), (seen[2], [0, 11])):
        rest = np.delete(np.arange(12), empty)
        assert not unlabelled.labels[empty].any()
        assert not unlabelled.uncertainty[empty].any()
        np.testing.assert_array_equal(unlabelled.labels[rest], seen[0].labels[rest])
        np.testing.assert_array_equal(unlabelled.uncertainty[rest], seen[0].uncertainty[rest])


def test_the_table_by_hand() -> None:
    def curve(strategy: str, case: str, untouched: tuple[float, ...], seed: int = 0) -> Curve:
        return Curve(key(strategy, case, seed), ((0, 1),) * 3, untouched, tuple(value / 2 for value in untouched))

    curves = [
        *(curve("stride", case, (0.25, 0.5, 0.75)) for case in "ab"),
        curve("uncertainty", "a", (0.25, 0.75, 0.75)),  # area 0.625 instead of 0.5
        curve("uncertainty", "b", (0.25, 0.25, 0.75)),  # area 0.375
        curve("uncertainty", "b", (1.0, 1.0, 1.0), seed=1),  # there is no stride to compare it with
    ]
    header, lines = table(curves)
    assert header[3:7] == ["Dice after 1", "Dice after 2", "Dice after 3", "area"]
    assert lines[0] == ["in domain", "stride", 2, 0.25, 0.5, 0.75, 0.5, "", 0.25, ""]
    cases = [(0.25 + 0.625) / 2, (0.75 + 0.625) / 2, (0.75 + 0.875) / 2, (0.625 + 0.6875) / 2]
    points = ["+0.00 [-12.50, +12.50]", "+0.00 [-6.25, +6.25]"]
    assert lines[1] == ["in domain", "uncertainty", 2, *cases, points[0], cases[-1] / 2, points[1]]


@pytest.fixture
def run(
    job: Job, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[argparse.Namespace, str]]:
    """The whole benchmark on the one job; what it publishes."""
    monkeypatch.setattr(suggestion_study, "jobs", lambda arguments: [job])
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")

    def published(*words: str) -> str:
        given = ["--model", str(model), "--output", str(tmp_path / "out"), "--device", "cpu", "--rounds", "2", *words]
        suggestion_study.main(options().parse_args(given))
        return (tmp_path / "RESULTS.md").read_text(encoding="utf-8")

    return published


def test_a_small_run_retrains_after_every_slice(run: Callable[..., str], model: Path, tmp_path: Path) -> None:
    text = run("--seconds", "0.5", "--rounds", "3", "--strategies", "stride", "uncertainty")
    assert [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| in domain")] == [
        "stride",
        "uncertainty",
    ]
    first, second = stored_curves(tmp_path / "out")
    assert (first.key.strategy, second.key.strategy) == ("stride", "uncertainty")
    assert first.key.start == file_sha256(model)
    assert first.slices[0] == second.slices[0]
    assert len(first.untouched) == len(first.whole) == 3
    assert all(0 <= value <= 1 for value in (*first.untouched, *first.whole))


def test_a_run_goes_on_where_it_was_and_can_be_shared(
    run: Callable[..., str], tasks: list[Task], tmp_path: Path
) -> None:
    run("--strategies", "stride")
    assert len(tasks) == 2
    run("--strategies", "stride")
    assert len(tasks) == 2
    run("--strategies", "random", "--share", "1/2")  # the only job is the other process's
    assert len(tasks) == 2
    run("--strategies", "random", "--share", "0/2")
    assert len(tasks) == 4
    assert "| random |" in run("--strategies", "stride", "random", "--summarise")
    assert len(tasks) == 4
