"""What the benchmarks of speed share: workers, rows on disk, ratios and the picture."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from speed import Clock, Work, Worker, WorkError, measure_in_turn
from speed_picture import draw, grouped, shade
from speed_rows import Key, Row, Rows, peak_mb, ratio, warm_seconds

KEY = Key("volume", "network", "method", "cpu", 0)
MB = 2**20


def filling(megabytes: int, seconds: float) -> Work:
    """Work of a known size and length. It prints, as libraries do."""

    def run() -> float:
        print("a line that is no answer")
        time.sleep(seconds)
        return float(np.ones(megabytes * MB, np.uint8).mean())

    return Work(run, torch.device("cpu"), lambda mean: {"mean": mean})


def ending(message: str) -> Work:
    """Work that ends its process."""

    def run() -> None:
        raise SystemExit(message)

    return Work(run, torch.device("cpu"))


def worker(monkeypatch: pytest.MonkeyPatch, function: str, **arguments: object) -> Worker:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return Worker(f"test_speed:{function}", arguments, threads=1)


def row(seconds: float, *, turn: int = 0, cold: bool = False, memory_mb: float | None = None, method: str = "m") -> Row:
    return Row(Key("v", "n", method, "cpu", turn), seconds, cold, memory_mb)


def test_a_worker_tells_time_memory_and_figures_of_each_turn(monkeypatch, tmp_path):
    rows = Rows(tmp_path, "some")
    contestants = [(KEY, 2, partial(worker, monkeypatch, "filling", megabytes=300, seconds=0.05))]
    assert measure_in_turn(rows, contestants, Clock(None)) == {}
    cold, warm = rows.turns(KEY)
    assert (cold.cold, warm.cold, cold.key.turn, warm.key.turn) == (True, False, 0, 1)
    for each in (cold, warm):
        assert each.seconds >= 0.05
        assert each.figures == {"mean": 1.0}
        assert 290 < each.memory_mb < 340


def test_a_process_that_ends_is_named_with_its_last_words_and_left_alone(monkeypatch, tmp_path):
    rows = Rows(tmp_path, "some")
    last = partial(worker, monkeypatch, "ending", message="what came before\nno memory")
    failed = measure_in_turn(rows, [(KEY, 3, last)], Clock(None))
    assert failed == {KEY: "no memory"}
    assert not list(rows)


def test_what_is_stored_is_not_measured_again_and_nothing_begins_when_time_is_over(tmp_path):
    def never() -> Worker:
        raise WorkError("nobody may make it")

    Rows(tmp_path, "some").add(Row(KEY, 1.0, True, None, {"agreement": 0.5}))
    again = Rows(tmp_path, "some")
    assert list(again) == [Row(KEY, 1.0, True, None, {"agreement": 0.5})]
    assert measure_in_turn(again, [(KEY, 1, never)], Clock(None)) == {}
    assert measure_in_turn(again, [(KEY, 2, never)], Clock(0.0)) == {}
    with pytest.raises(WorkError):
        measure_in_turn(again, [(KEY, 2, never)], Clock(None))


def test_the_first_run_of_a_process_counts_only_where_there_is_no_other():
    assert warm_seconds([row(9.0, cold=True)]) == 9.0
    assert warm_seconds([row(9.0, cold=True), row(2.0, turn=1), row(4.0, turn=2)]) == 3.0


def test_a_ratio_is_the_median_of_the_turns_ratios():
    ours = [row(9.0, cold=True), row(1.0), row(2.0), row(4.0)]
    theirs = [row(9.0, cold=True), row(10.0), row(12.0), row(40.0)]
    assert ratio(ours, theirs) == 10.0  # of 10, 6, 10
    assert ratio(ours, [row(8.0, cold=True)]) == 4.0  # of 8, 4, 2: one turn stands for all
    assert ratio(ours, []) is None


def test_the_most_memory_of_all_turns_counts():
    assert peak_mb([row(1.0, memory_mb=5.0), row(1.0, memory_mb=7.0), row(1.0)]) == 7.0
    assert peak_mb([row(1.0)]) is None


def test_the_picture_has_every_method_of_every_subject(tmp_path):
    rows = [row(1.0, memory_mb=5.0, method=method) for method in ("monai", "ours-float32", "ours-bfloat16")]
    rows.append(Row(Key("other", "n", "monai", "cpu", 0), 1.0, True, None))
    assert {subject: list(of) for subject, of in grouped(rows)["n"].items()} == {
        "v": ["monai", "ours-float32", "ours-bfloat16"],
        "other": ["monai"],
    }
    assert [shade(method, list(grouped(rows)["n"]["v"])) for method in ("monai", "ours-float32", "ours-bfloat16")] == [
        0.4,
        0.4,
        0.9,
    ]
    pytest.importorskip("matplotlib")
    rows.append(Row(Key("v", "another network", "nnunet", "cpu", 0), 1.0, True, 5.0))
    draw(rows, tmp_path / "figures" / "speed.png")
    content = (tmp_path / "figures" / "speed.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 300_000
