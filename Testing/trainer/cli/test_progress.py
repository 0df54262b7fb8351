from __future__ import annotations

import io

import pytest

from unetseg.cli import progress
from unetseg.cli.progress import ProgressDisplay, dice_text
from unetseg.messages import Epoch, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


MESSAGES = [
    Progress("", "preparing", 0.5),
    Epoch("", iteration=9, fraction=0.25, loss={"dice": 0.5, "cross_entropy": None}, seconds_left=95.4),
    Epoch("", iteration=10, fraction=0.5, loss={}, held_out_dice=(0.75, None)),
    Epoch("", iteration=11, fraction=0.5, loss={}),
]


def test_lines_for_stages_and_validations_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 1000.0)
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        for message in MESSAGES:
            display(message)
    assert stream.getvalue().splitlines() == [
        " 50 % preparing",
        " 25 % training, 1:35 left, iteration 9, dice 0.5000, cross_entropy n/a",
        " 50 % training, iteration 10, held-out Dice 0.750 n/a",
    ]


def test_a_line_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        for _ in range(61):
            display(Progress("", "segmenting", 0.0))
            now[0] += 1.0
    assert len(stream.getvalue().splitlines()) == 3


def test_a_bar_that_is_overwritten_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with ProgressDisplay(stream) as display:
        for message in MESSAGES:
            display(message)
    lines = stream.getvalue().split("\n")
    assert lines[0].split("\r")[1:] == [
        "[############............]  50 % preparing",
        "[######..................]  25 % training, 1:35 left, iteration 9, dice 0.5000, cross_entropy n/a",
        "[############............]  50 % training, iteration 10, held-out Dice 0.750 n/a".ljust(97),
    ]
    assert lines[1:] == ["\r[############............]  50 % training, iteration 11", ""]


def test_the_bar_fits_a_narrow_terminal_and_still_tells_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    with ProgressDisplay(stream) as display:
        for message in MESSAGES[:2]:
            display(message)
    *_, line = stream.getvalue().rstrip("\n").split("\r")
    assert line == "[######..................]  25 % training, 1:35 left, iterat"[:59]


def test_nothing_is_written_for_nothing() -> None:
    stream = Terminal()
    with ProgressDisplay(stream):
        pass
    assert stream.getvalue() == ""


def test_dice_of_a_class_in_neither_map_is_not_a_number() -> None:
    assert dice_text((1.0, None, 0.1234)) == "1.000 n/a 0.123"
