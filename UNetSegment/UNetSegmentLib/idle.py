"""Long work of the window's process, cut into steps that are done while the user's events wait for nobody.

Slicer's event loop holds Python's global lock, so that a thread would starve: work that touches MRML is written
as a generator that yields every few milliseconds, and is driven from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import qt

SECONDS_PER_TURN = 0.015
"""Below one frame of a 60 Hz display, so that a brush stroke stays smooth while work is going on."""


@dataclass
class _Task:
    steps: Generator[Any, None, Any]
    onDone: Callable[[Any], None] | None
    onError: Callable[[Exception], None] | None


class IdleTasks:
    """Runs generators a few milliseconds at a time, taking turns."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._turn)

    def run(
        self,
        key: str,
        steps: Generator[Any, None, Any],
        onDone: Callable[[Any], None] | None = None,
        onError: Callable[[Exception], None] | None = None,
    ) -> None:
        """Start a task; an unfinished one of the same ``key`` is dropped.

        ``onDone`` gets what the generator returns. ``onError`` gets what it or ``onDone`` raises; without it the
        exception goes to the event loop.
        """
        self.cancel(key)
        self._tasks[key] = _Task(steps, onDone, onError)
        self._timer.start()

    def cancel(self, key: str) -> None:
        """Drop a task; neither of its callbacks is called. An unknown key is no error."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.steps.close()

    def busy(self, key: str) -> bool:
        """Whether the task is still on its way."""
        return key in self._tasks

    def drain(self, key: str | None = None) -> None:
        """Finish the task, or all of them, before returning."""
        while key in self._tasks if key is not None else self._tasks:
            self._step(key if key is not None else next(iter(self._tasks)))

    def close(self) -> None:
        """Drop every task and stop."""
        self._timer.stop()
        for key in tuple(self._tasks):
            self.cancel(key)

    def _turn(self) -> None:
        end = time.perf_counter() + SECONDS_PER_TURN
        while self._tasks and time.perf_counter() < end:
            key = next(iter(self._tasks))
            self._tasks[key] = self._tasks.pop(key)  # behind the others
            self._step(key)
        if not self._tasks:
            self._timer.stop()

    def _step(self, key: str) -> None:
        task = self._tasks[key]
        try:
            next(task.steps)
        except StopIteration as finished:
            self._end(key, task, task.onDone, finished.value)
        except Exception as error:
            if task.onError is None:
                self._forget(key, task)
                raise
            self._end(key, task, task.onError, error)

    def _end(self, key: str, task: _Task, receiver: Callable[[Any], None] | None, outcome: Any) -> None:
        self._forget(key, task)
        if receiver is None:
            return
        try:
            receiver(outcome)
        except Exception as error:
            if receiver is task.onError or task.onError is None:
                raise
            task.onError(error)

    def _forget(self, key: str, task: _Task) -> None:
        """The task may have been replaced by its own last step."""
        if self._tasks.get(key) is task:
            del self._tasks[key]
