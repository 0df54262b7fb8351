"""What the stand-ins for widgets of C++ have in common: their properties, their registration, their observers."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shiboken6
from PySide6.QtCore import Property

LISTED = json.loads(Path(__file__).parents[1].joinpath("widget_names.json").read_text())
"""What the real widgets have (see list_widget_names.py)."""

classes: dict[str, type] = {}
"""Class name -> class, for .ui files."""


def stored(name: str, type_: Any, default: Any, changed: str = "") -> Property:
    """A Qt property that keeps its value; the method ``changed`` is called after each change."""

    def read(self: Any) -> Any:
        return self.__dict__.get("_" + name, default)

    def write(self: Any, value: Any) -> None:
        if value != read(self):
            self.__dict__["_" + name] = value
            if changed:
                getattr(self, changed)()

    return Property(type_, read, write)


def _setter(name: str) -> Callable[[Any, Any], None]:
    return lambda self, value: setattr(self, name, value)


def standin(cls: type) -> type:
    """Class decorator: known to .ui files, with the signals, enumerators and setters that the real class has."""
    listed = LISTED[cls.__name__]
    for name in listed["properties"]:
        setter = "set" + name[0].upper() + name[1:]
        if setter in listed["methods"] and hasattr(cls, name) and not hasattr(cls, setter):
            setattr(cls, setter, _setter(name))
    for name, value in listed["enumerators"].items():
        setattr(cls, name, value)
    cls.cxxSignals = tuple(listed["signals"])
    classes[cls.__name__] = cls
    return cls


class Observers:
    """VTK observers of a widget; they end with it."""

    def __init__(self) -> None:
        self._tags: list[tuple[Any, int]] = []

    def add(self, observed: Any, event: int, method: Callable[[], None]) -> None:
        """Call a method of the widget at each event."""
        reference = weakref.WeakMethod(method)

        def call(caller: Any, _event: str) -> None:
            alive = reference()
            if alive is not None and shiboken6.isValid(alive.__self__):
                alive()

        self._tags.append((observed, observed.AddObserver(event, call)))

    def clear(self) -> None:
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags.clear()

    def __del__(self) -> None:
        self.clear()
