"""A signal in plain Python: PythonQt has no safe way to declare Qt signals in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls every connected function with the arguments of ``emit``, in the order of connection."""

    def __init__(self) -> None:
        self._receivers: list[Callable[..., Any]] = []

    def connect(self, receiver: Callable[..., Any]) -> None:
        """Connecting the same function twice calls it once."""
        if receiver not in self._receivers:
            self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[..., Any]) -> None:
        """A function that is not connected is no error."""
        if receiver in self._receivers:
            self._receivers.remove(receiver)

    def emit(self, *arguments: Any) -> None:
        """Receivers connected or disconnected meanwhile count from the next time on."""
        for receiver in tuple(self._receivers):
            receiver(*arguments)
