from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotator import untouched_dice
from methods import METHODS, MISSING, all_logits, background, plain, retrain
from methods.task import Task
from unetseg.data import Case, keep_slices
from unetseg.training import TrainingRequest, step
from unetseg.volume import UNLABELLED, Geometry, LabelMap, Volume

ITERATIONS = 25
"""What a test sees must not depend on the machine, so that the budget of trainings is one of iterations."""

NEEDS_SLICER = "slicer-core, with Slicer's own filter, is not installed (it has no wheel for this machine)"


def drawn(task: Task, array: np.ndarray, slices: tuple[tuple[int, int], ...]) -> Task:
    """The slices of a label array, on a grid with voxels of 3 × 1 × 2 mm; nothing is to be seen in the image."""
    truth = LabelMap(array.astype(np.uint8), Geometry(array.shape, (3.0, 1.0, 2.0)))
    volume = Volume(np.zeros((1, *array.shape), np.float32), truth.geometry)
    return replace(task, volume=volume, annotation=keep_slices(truth, slices), slices=slices)


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def test_the_loop_of_all_logits_hides_the_network_from_what_would_save_work(monkeypatch) -> None:
    seen = []
    before = step.targeted_logits
    monkeypatch.setattr(all_logits, "targeted_logits", lambda network, *batch: seen.append((network, batch)))
    monkeypatch.setattr(plain, "run", lambda task: step.targeted_logits("a network", "image", "weight"))
    monkeypatch.setattr(all_logits, "Whole", lambda network: ("whole", network))
    all_logits.run(None)
    assert seen == [(("whole", "a network"), ("image", "weight"))]
    assert step.targeted_logits is before


def test_paste_keeps_the_prediction_outside_the_slices(task: Task) -> None:
    prediction = np.full_like(task.annotation.array, 2)
    result = METHODS["paste"](replace(task, prediction=prediction))
    labelled = task.annotation.array != UNLABELLED
    assert result.dtype == np.uint8
    assert (result[labelled] == task.annotation.array[labelled]).all()
    assert (result[~labelled] == 2).all()


def test_paste_without_a_prediction_is_background(task: Task) -> None:
    result = METHODS["paste"](task)
    assert not result[task.annotation.array == UNLABELLED].any()
    assert result.any()


def test_filling_repeats_a_cylinder_and_stops_at_its_outermost_slices(task: Task) -> None:
    pytest.importorskip("slicer_core.vtkITK", reason=NEEDS_SLICER)
    cylinder = np.zeros((14, 24, 20), np.uint8)
    cylinder[:, disc((24, 20), (11, 9), 6)] = 1
    expected = cylinder.copy()
    expected[:2] = expected[11:] = 0
    assert np.array_equal(METHODS["fill"](drawn(task, cylinder, ((0, 2), (0, 10)))), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_filling_a_cone_meets_its_slices_in_between(task: Task, axis: int) -> None:
    pytest.importorskip("slicer_core.vtkITK", reason=NEEDS_SLICER)
    cone = np.stack([disc((40, 40), (20, 20), 8 + index) for index in range(5)])
    filled = METHODS["fill"](drawn(task, np.moveaxis(cone, 0, axis), ((axis, 0), (axis, 4))))
    filled = np.moveaxis(filled, axis, 0)
    for index in range(5):
        assert 2 * (filled[index] & cone[index]).sum() / (filled[index].sum() + cone[index].sum()) > 0.96
    assert (filled[:-1] <= filled[1:]).all()


def test_filling_treats_each_structure_for_itself(task: Task) -> None:
    pytest.importorskip("slicer_core.vtkITK", reason=NEEDS_SLICER)
    both = np.zeros((9, 20, 30), np.uint8)
    both[:, 5:15, 3:12] = 1
    both[:, 5:15, 12:20] = 2
    both[2, 2:4, 22:28] = 3  # seen on one slice only
    filled = METHODS["fill"](drawn(task, both, ((0, 2), (0, 6))))
    expected = both.copy()
    expected[:2] = expected[7:] = 0
    assert np.array_equal(filled, expected)


def test_filling_nothing_gives_nothing(task: Task) -> None:
    pytest.importorskip("slicer_core.vtkITK", reason=NEEDS_SLICER)
    empty = np.zeros((6, 8, 8), np.uint8)
    assert not METHODS["fill"](drawn(task, empty, ((0, 1), (0, 4)))).any()


def test_unlabelled_becomes_background(task: Task) -> None:
    annotation = background.unlabelled_as_background(task.annotation)
    assert np.array_equal(annotation.array, METHODS["paste"](task))
    assert annotation.geometry == task.annotation.geometry


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings with a budget of iterations, which the methods without an ablation get as well."""
    iterations = {"seconds": None, "iterations": ITERATIONS}
    for module in (plain, background):
        monkeypatch.setattr(module, "WITHOUT_LOOP", {**retrain.WITHOUT_LOOP, **iterations})
    return iterations


def untouched(result: np.ndarray, task: Task, ball: Case) -> float:
    (dice,) = untouched_dice(LabelMap(result, ball.volume.geometry), ball.annotation, task.slices, 2)
    return dice


def check_given_slices(result: np.ndarray, task: Task) -> None:
    labelled = task.annotation.array != UNLABELLED
    assert (result.shape, result.dtype) == (labelled.shape, np.uint8)
    assert (result[labelled] == task.annotation.array[labelled]).all()


@pytest.mark.parametrize("name", ["loop", "plain"])
def test_the_product_network_learns_from_the_slices_and_returns_them_as_they_were(
    name: str, task: Task, ball: Case, budget: dict[str, object]
) -> None:
    result = METHODS[name](replace(task, changes=budget))
    check_given_slices(result, task)
    assert untouched(result, task, ball) > 0.5


def test_what_is_called_background_is_learnt_as_background(task: Task, ball: Case, budget: dict[str, object]) -> None:
    result = METHODS["background"](task)
    check_given_slices(result, task)
    assert untouched(result, task, ball) < 0.5


class Asked(Exception):  # noqa: N818 (ends a training before it begins)
    """With the request of a training."""


@pytest.mark.parametrize(
    ("name", "rehearses", "held_out"),
    [("loop", True, None), ("plain", False, {}), ("plain, all logits", False, {}), ("background", False, {})],
)
def test_only_the_loop_rehearses_and_is_judged(
    name: str, rehearses: bool, held_out: dict | None, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(request: TrainingRequest, **others: object) -> None:
        raise Asked(request)

    monkeypatch.setattr(retrain, "train", ask)
    start_file = tmp_path / "start.safetensors"
    start_file.write_bytes(b"a model")
    edited = task.annotation.array == 1
    with pytest.raises(Asked) as asked:
        METHODS[name](replace(task, start_file=start_file, edited=edited))
    (request,) = asked.value.args
    assert request.settings.seconds == task.seconds
    assert request.replay == (tmp_path / "start.replay.safetensors" if rehearses else None)
    assert request.held_out_slices == held_out
    assert (request.cases[0].edited is edited) == rehearses


def test_a_method_whose_package_is_not_installed_is_named_as_missing() -> None:
    names = ["loop", "paste", "fill", "background", "plain", "plain, all logits", "monai", "nnunet"]
    assert sorted([*METHODS, *MISSING]) == sorted(names)
    for name, package in MISSING.items():
        assert importlib.util.find_spec(package) is None, name
