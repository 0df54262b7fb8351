from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from unetseg.config import TrainingSettings
from unetseg.records import RecordError, dumps, from_json, loads, to_json


@dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


@dataclass(frozen=True)
class Everything:
    name: str
    count: int
    ratio: float
    active: bool
    kind: Literal["a", "b", 3]
    pair: tuple[int, int]
    many: tuple[float, ...]
    point: Point
    points: tuple[Point, ...]
    named: Mapping[str, int]
    maybe: int | None = None
    either: int | str = 0
    anything: Any = None
    extra: dict[str, Any] = field(default_factory=dict)


RECORD = Everything(
    name="größe",
    count=3,
    ratio=0.1,
    active=True,
    kind="b",
    pair=(1, 2),
    many=(0.5, 1e-300),
    point=Point(1.0, 2.0),
    points=(Point(3.0), Point(4.0)),
    named={"one": 1},
    maybe=None,
    either="text",
    anything=[1, {"deep": None}],
    extra={"k": [1, 2]},
)
JSON: dict[str, Any] = to_json(RECORD)


def test_a_record_is_plain_json() -> None:
    assert JSON["points"] == [{"x": 3.0, "y": 0.0}, {"x": 4.0, "y": 0.0}]
    assert JSON["pair"] == [1, 2]
    assert json.loads(dumps(RECORD)) == JSON
    assert "\n" not in dumps(RECORD)
    assert "größe" in dumps(RECORD)


def test_it_comes_back_equal() -> None:
    assert from_json(Everything, loads(dumps(RECORD))) == RECORD
    settings = TrainingSettings(seconds=3, loss_arguments={"a": 1})
    assert from_json(TrainingSettings, loads(dumps(settings, indent=2))) == settings


def test_defaults_fill_what_is_left_out_and_ints_become_floats() -> None:
    assert from_json(Point, {"x": 1}) == Point(1.0, 0.0)
    assert isinstance(from_json(Point, {"x": 1}).x, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown": 1}, "Everything has no field 'unknown'"),
        ({"name": 3}, r"Everything\.name must be str, received 3"),
        ({"count": 1.0}, r"Everything\.count must be int, received 1\.0"),
        ({"count": True}, r"Everything\.count must be int, received True"),
        ({"count": "1"}, r"must be int"),
        ({"active": 1}, r"Everything\.active must be bool"),
        ({"ratio": "0.1"}, r"Everything\.ratio must be float"),
        ({"ratio": True}, r"Everything\.ratio must be float"),
        ({"ratio": float("nan")}, "finite number"),
        ({"ratio": float("inf")}, "finite number"),
        ({"ratio": 10**400}, "finite number"),
        ({"kind": "c"}, r"must be one of a, b, 3, received 'c'"),
        ({"kind": None}, "must be one of"),
        ({"pair": [1]}, r"Everything\.pair must have 2 entries"),
        ({"pair": "12"}, "must be an array"),
        ({"many": [1, "x"]}, r"Everything\.many\[1\] must be float"),
        ({"point": {"y": 1}}, r"Everything\.point needs the field 'x'"),
        ({"point": [1, 2]}, r"Everything\.point must be an object"),
        ({"points": [{"x": 1}, {"x": 1, "z": 1}]}, r"Everything\.points\[1\] has no field 'z'"),
        ({"named": {"one": "1"}}, r"Everything\.named\.one must be int"),
        ({"named": [1]}, r"Everything\.named must be an object"),
        ({"maybe": "1"}, r"Everything\.maybe must be int"),
        ({"either": None}, "must be int.*; or .*must be str"),
        ({"name": None}, "must be str"),
        ({"name": "x" * 500, "count": "y" * 500}, r"count must be int, received 'y{56}\.\.\."),
    ],
)
def test_what_does_not_fit_is_refused_by_place_rule_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        from_json(Everything, {**JSON, **change})


@pytest.mark.parametrize("missing", ["name", "points", "named"])
def test_missing_fields_are_named(missing: str) -> None:
    with pytest.raises(RecordError, match=f"Everything needs the field '{missing}'"):
        from_json(Everything, {key: value for key, value in JSON.items() if key != missing})


@pytest.mark.parametrize("text", ["", "{", '{"x": NaN}', '{"x": Infinity}', "[" * 200_000, '{"x": 1} {}', "\x00"])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="JSON"):
        loads(text)


def test_only_finite_plain_values_are_written() -> None:
    with pytest.raises(RecordError, match="finite"):
        dumps(Point(float("nan")))
    with pytest.raises(RecordError, match="object has no JSON form"):
        to_json({"a": object()})


@pytest.mark.parametrize("data", [None, 3, "text", [1]])
def test_a_record_needs_an_object(data: Any) -> None:
    with pytest.raises(RecordError, match="Point must be an object"):
        from_json(Point, data)
