"""The measuring of retraining: figures, intervals, slices, rows and the table, against values by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from intervals import case_means, paired_interval
from measures import Figures, measure, seam
from methods.task import Task
from rows import START, Key, Row, append_row, stored_rows
from small_models import save_small_model
from study import Conditions, Job, Study, Subject, choose_slices
from summary import difference, table
from unetseg.config import Label
from unetseg.data import keep_slices
from unetseg.errors import SettingsError
from unetseg.records import RecordError
from unetseg.volume import UNLABELLED, Geometry, LabelArray, LabelMap, Volume

GRID = Geometry((12, 10, 8), (2.0, 1.0, 1.0))
LABELS = (Label(0, "background", (0, 0, 0)), Label(1, "one", (1, 0, 0)), Label(2, "two", (0, 1, 0)))


def box(*ranges: tuple[int, int], value: int = 1) -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    array[tuple(slice(*ends) for ends in ranges)] = value
    return LabelMap(array, GRID)


@pytest.fixture
def truth() -> LabelMap:
    return box((2, 11), (3, 7), (2, 6))


def test_all_equal_differences_have_no_width() -> None:
    found = paired_interval([("a", 0.5), ("b", 0.5), ("c", 0.5)])
    assert (found.mean, found.lower, found.upper, found.cases) == (0.5, 0.5, 0.5, 3)


def test_of_two_cases_every_resampling_is_a_bound_or_the_mean() -> None:
    # 0 0, 0 1, 1 0 and 1 1 are equally likely: a quarter of the means is 0, a quarter is 1.
    found = paired_interval([("a", 0.0), ("b", 1.0)])
    assert (found.mean, found.lower, found.upper) == (0.5, 0.0, 1.0)


def test_the_interval_of_many_cases_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, size=400)
    found = paired_interval((str(index), value) for index, value in enumerate(values))
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.lower == pytest.approx(values.mean() - half, abs=0.03)
    assert found.upper == pytest.approx(values.mean() + half, abs=0.03)


def test_seeds_of_a_case_are_averaged_before_cases_are_drawn() -> None:
    repeated = [("a", 0.0), ("a", 4.0), ("a", 2.0), ("b", 2.0)]
    assert case_means(repeated) == {"a": 2.0, "b": 2.0}
    assert paired_interval(repeated) == paired_interval([("a", 2.0), ("b", 2.0)])


def test_nothing_has_no_interval() -> None:
    with pytest.raises(SettingsError, match="at least one case"):
        paired_interval([])


def test_figures_leave_the_shown_slices_out(truth: LabelMap) -> None:
    shown = ((0, 6),)
    predicted = box((2, 11), (3, 7), (2, 6)).array
    predicted[6] = 0  # wrong only where it does not count
    found = measure(predicted, truth, shown, classes=3)
    assert found.dice == (1.0, None)
    assert found.hd95_mm[1] is None
    assert found.surface_dice[1] is None
    predicted = truth.array.copy()
    predicted[7:] = 0  # of eight untouched slices, four are missed: 2·4 / (4 + 8)
    found = measure(predicted, truth, shown, classes=2)
    assert found.dice == (pytest.approx(8 / 12),)
    assert found.whole_dice == pytest.approx(10 / 14)  # nine slices in all, five of them found


def test_a_shown_slice_is_near_but_is_no_surface_that_counts(truth: LabelMap) -> None:
    pasted = np.zeros_like(truth.array)
    pasted[6] = truth.array[6]
    found = measure(pasted, truth, ((0, 6),), classes=2)
    assert found.dice == (0.0,)
    # Of the truth's untouched surface, only the rims (12 voxels a slice) count, and both ends (16): those of the
    # slices 2 … 5 and 7 … 10 lie 2, 4, 6 and 8 mm from the shown slice.
    rims = np.repeat([2.0, 4.0, 6.0, 8.0, 2.0, 4.0, 6.0, 8.0], [12, 12, 12, 16, 12, 12, 12, 16])
    assert found.hd95_mm == (pytest.approx(np.percentile(rims, 95)),)
    assert found.surface_dice == (0.0,)


def test_a_seam_is_how_much_more_the_segmentation_jumps_than_the_truth(truth: LabelMap) -> None:
    shown = ((0, 6),)
    assert seam(truth.array, truth.array, shown, classes=2) == 0.0
    pasted = np.zeros_like(truth.array)
    pasted[6] = truth.array[6]
    assert seam(pasted, truth.array, shown, classes=2) == 1.0
    narrower = truth.array.copy()
    narrower[7, :, 4:] = 0  # one of both neighbours has half the voxels: 1 - 2·8 / (8 + 16)
    assert seam(narrower, truth.array, shown, classes=2) == pytest.approx((1 / 3) / 2)


def test_a_seam_needs_an_untouched_neighbour(truth: LabelMap) -> None:
    every = tuple((0, index) for index in range(12))
    assert seam(truth.array, truth.array, every, classes=2) is None
    assert seam(truth.array, truth.array, ((0, 0),), classes=2) is None  # no structure there
    # (0, 5) and (0, 6) are shown both: what counts is 4 beside 5, and 7 beside 6.
    wrong = truth.array.copy()
    wrong[6] = 0
    assert seam(wrong, truth.array, ((0, 5), (0, 6)), classes=2) == pytest.approx(0.5)


def test_slices_spread_over_what_the_start_model_found(truth: LabelMap) -> None:
    found = box((0, 5), (0, 9), (0, 3)).array
    assert choose_slices(truth, found, (1,)) == ((0, 2),)  # D has the largest spacing
    assert choose_slices(truth, found, (1, 1, 1)) == ((0, 2), (1, 4), (2, 1))


def test_slices_spread_over_the_structures_where_nothing_was_found(truth: LabelMap) -> None:
    assert choose_slices(truth, None, (3,)) == ((0, 3), (0, 6), (0, 8))
    assert choose_slices(truth, np.zeros_like(truth.array), (3,)) == ((0, 3), (0, 6), (0, 8))


class Recorder:
    """A method that remembers its tasks and answers with the truth shifted by ``offset`` rows."""

    def __init__(self, truth: LabelMap, offset: int = 0) -> None:
        self.tasks: list[Task] = []
        self._answer = np.roll(truth.array, offset, axis=1)

    def __call__(self, task: Task) -> LabelArray:
        assert not list(task.folder.iterdir())
        (task.folder / "scratch").write_text("x")
        self.tasks.append(task)
        return self._answer


@pytest.fixture
def subject(truth: LabelMap) -> Subject:
    image = np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32)
    return Subject("knee", Volume(image, GRID), truth, "in domain")


def conditions(start_file: Path | None = None) -> Conditions:
    return Conditions(LABELS, "unet_3d", "MR", 7.0, "cpu", start_file)


def test_methods_get_the_slices_the_edits_and_the_budget(subject: Subject, truth: LabelMap, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_small_model(start)
    method = Recorder(truth)
    study = Study({"one": method}, conditions(start), tmp_path / "out")
    jobs = [Job(subject, (3,), seed=5)]
    study.run(jobs)
    (task,) = method.tasks
    assert task.prediction is not None
    assert task.slices == choose_slices(truth, task.prediction, (3,))
    assert (task.annotation.array == keep_slices(truth, task.slices).array).all()
    labelled = task.annotation.array != UNLABELLED
    assert (task.edited == (labelled & (task.prediction != truth.array))).all()
    assert (task.seconds, task.seed, task.start_file) == (7.0, 5, start)
    first, second = study.rows(jobs)
    assert (first.key.method, second.key.method) == (START, "one")
    assert first.figures == measure(task.prediction, truth, task.slices, 3)
    assert second.figures.dice == (1.0, None)
    assert first.key.start == second.key.start != ""


def test_from_scratch_there_is_no_start_to_compare_with(subject: Subject, truth: LabelMap, tmp_path: Path) -> None:
    method = Recorder(truth)
    study = Study({"one": method}, conditions(), tmp_path)
    study.run([Job(subject, (1, 0, 1), seed=0)])
    (task,) = method.tasks
    assert task.start is task.start_file is task.prediction is task.edited is None
    assert [row.key.method for row in stored_rows(tmp_path)] == ["one"]
    assert [row.key.slices for row in stored_rows(tmp_path)] == ["1,0,1"]


def test_a_killed_run_goes_on_where_it_was(subject: Subject, truth: LabelMap, tmp_path: Path) -> None:
    class Killed(Recorder):
        def __call__(self, task: Task) -> LabelArray:
            if self.tasks:
                raise KeyboardInterrupt
            return super().__call__(task)

    jobs = [Job(subject, (count,), seed=0) for count in (1, 2, 3)]
    with pytest.raises(KeyboardInterrupt):
        Study({"one": Killed(truth)}, conditions(), tmp_path).run(jobs)
    method = Recorder(truth)
    study = Study({"one": method}, conditions(), tmp_path)
    study.run(jobs)
    assert [len(task.slices) for task in method.tasks] == [2, 3]
    assert [row.key.slices for row in study.rows(jobs)] == ["1", "2", "3"]
    study.run(jobs)
    assert len(method.tasks) == 2


def test_processes_share_the_jobs(subject: Subject, truth: LabelMap, tmp_path: Path) -> None:
    jobs = [Job(subject, (count,), seed=0) for count in (1, 2, 3)]
    shares = [Recorder(truth), Recorder(truth)]
    for part, method in enumerate(shares):
        Study({"one": method}, conditions(), tmp_path).run(jobs, share=(part, 2))
    assert [[len(task.slices) for task in method.tasks] for method in shares] == [[1, 3], [2]]
    assert len(Study({"one": shares[0]}, conditions(), tmp_path).rows(jobs)) == 3


def test_another_budget_is_another_measurement(subject: Subject, truth: LabelMap, tmp_path: Path) -> None:
    jobs, method = [Job(subject, (1,), seed=0)], Recorder(truth)
    Study({"one": method}, conditions(), tmp_path).run(jobs)
    longer = Study({"one": method}, dataclasses.replace(conditions(), seconds=8.0), tmp_path)
    assert longer.rows(jobs) == []
    longer.run(jobs)
    assert len(method.tasks) == 2


def row(method: str, case: str, dice: Sequence[float | None], *, seed: int = 0, seam: float | None = 0.1) -> Row:
    key = Key("in domain", case, "3", seed, method, 60.0, "abc")
    return Row(key, Figures(tuple(dice), (2.0,) * len(dice), (0.5,) * len(dice), seam, 0.75), 10.0)


def test_rows_survive_the_disk_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    rows = [row("loop", "a", (0.5, None)), row("paste", "ä", (0.25, 1.0), seam=None)]
    append_row(tmp_path / "rows_0_of_2.jsonl", rows[0])
    append_row(tmp_path / "rows_1_of_2.jsonl", rows[1])
    assert list(stored_rows(tmp_path)) == rows
    with (tmp_path / "rows_1_of_2.jsonl").open("a") as file:
        file.write('{"key"')
    with pytest.raises(RecordError, match="not valid JSON"):
        list(stored_rows(tmp_path))


def test_the_table_by_hand() -> None:
    rows = [
        *(row(START, case, (0.5, 0.5)) for case in "ab"),
        *(row("paste", case, (0.5, 0.5)) for case in "ab"),
        *(row("loop", case, dice) for case, dice in (("a", (0.7, 0.9)), ("b", (0.4, None)))),
    ]
    header, lines = table(rows, ours="loop")
    cells = [dict(zip(header, line, strict=True)) for line in lines]
    assert [one["method"] for one in cells] == [START, "paste", "loop"]
    assert cells[2]["cases"] == 2
    assert cells[2]["Dice"] == pytest.approx((0.8 + 0.4) / 2)
    assert cells[2]["per class"] == "0.5500 / 0.9000"
    assert (cells[2]["HD95 mm"], cells[2]["seam"], cells[2]["s"]) == ("2.00", "+0.100", "10.0")
    assert (cells[2]["better than the start"], cells[2]["worst against the start"]) == ("1 of 2", "-10.00")
    assert cells[1]["better than the start"] == "0 of 2"
    assert cells[0]["better than the start"] == ""
    # Points by which the loop is better: 30 and -10.
    assert cells[1]["loop minus this, points [95 %]"] == "+10.00 [-10.00, +30.00]"
    assert cells[2]["loop minus this, points [95 %]"] == ""


def test_only_what_both_have_been_measured_on_is_compared() -> None:
    ours = [row("loop", "a", (0.6,)), row("loop", "b", (0.9,)), row("loop", "a", (0.7,), seed=1)]
    theirs = [row("paste", "a", (0.5,)), row("paste", "c", (0.1,)), row("paste", "a", (0.5,), seed=1)]
    assert difference(ours, theirs) == "+15.00"  # one case, so no interval
    assert difference(ours, theirs[1:2]) == "n/a"
