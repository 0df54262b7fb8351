"""Frozen dataclasses ↔ plain JSON, checked strictly in both directions.

The wire messages, the model document and the settings are all records; this file is the only place that
turns JSON into them. Only the standard library is imported.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

Record = TypeVar("Record")
Json = Any
"""None, bool, int, float, str, list of Json, or dict of str to Json."""


class RecordError(ValueError):
    """JSON that does not fit its record; the message names the place, the rule and the value received."""


def to_json(record: Any) -> Json:
    """The plain-JSON form of a record: nested dataclasses become objects, tuples become arrays."""
    if dataclasses.is_dataclass(record):
        return {field.name: to_json(getattr(record, field.name)) for field in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (tuple, list)):
        return [to_json(value) for value in record]
    if record is None or isinstance(record, (bool, int, float, str)):
        return record
    raise RecordError(f"{type(record).__name__} has no JSON form")


def from_json(kind: type[Record], data: Json, *, where: str = "") -> Record:
    """Build the record ``kind`` from plain JSON.

    Unknown keys, missing keys without a default, wrong types and non-finite numbers raise ``RecordError``;
    an int is accepted where a float is declared, nothing else is converted.
    """
    where = where or kind.__name__
    if not isinstance(data, dict):
        raise RecordError(f"{where} must be an object, received {_shown(data)}")
    hints = _hints(typing.cast(Any, kind))
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise RecordError(f"{where} has no field {unknown[0]!r}")
    values = {name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise RecordError(f"{where} needs the field {field.name!r}")
    return kind(**values)


def dumps(record: Any, *, indent: int | None = None) -> str:
    """One line of JSON (or indented text); NaN and infinity are refused, not written."""
    try:
        return json.dumps(to_json(record), allow_nan=False, ensure_ascii=False, indent=indent)
    except ValueError as error:
        raise RecordError(f"a record must hold finite numbers only: {error}") from error


def loads(text: str) -> Json:
    """Parse JSON, refusing what is not JSON (NaN, Infinity) and nesting that exhausts the parser."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not valid JSON: {error}") from error


def _refuse_constant(name: str) -> typing.NoReturn:
    raise RecordError(f"{name} is not JSON")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _convert(hint: Any, value: Json, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, where=where)
    if origin is Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        raise RecordError(f"{where} must be one of {', '.join(map(str, arguments))}, received {_shown(value)}")
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise RecordError(f"{where} must be an object, received {_shown(value)}")
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _convert_scalar(hint, value, where)


def _convert_union(arguments: tuple[Any, ...], value: Json, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    reasons = []
    for choice in arguments:
        if choice is not type(None):
            try:
                return _convert(choice, value, where)
            except RecordError as error:
                reasons.append(str(error))
    raise RecordError("; or ".join(reasons))


def _convert_tuple(arguments: tuple[Any, ...], value: Json, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise RecordError(f"{where} must be an array, received {_shown(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise RecordError(f"{where} must have {len(arguments)} entries, received {_shown(value)}")
    return tuple(
        _convert(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )


def _convert_scalar(hint: Any, value: Json, where: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:
            raise RecordError(f"{where} must be a finite number, received {_shown(value)}") from error
        if math.isfinite(number):
            return number
        raise RecordError(f"{where} must be a finite number, received {_shown(value)}")
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise RecordError(f"{where} must be {name}, received {_shown(value)}")
