"""The user's time, slice by slice."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_PAUSE_SECONDS = 30.0
"""A longer gap between two signs of work is a telephone call, not work on the slice."""


class EffortClock:
    """Adds up the time between signs of work (an edit, a moved view) until it is credited to a slice."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._seconds = 0.0

    def touch(self) -> None:
        """A sign of work."""
        now = self._clock()
        if self._last is not None:
            self._seconds += min(now - self._last, LONGEST_PAUSE_SECONDS)
        self._last = now

    def take(self) -> float:
        """Seconds since the last ``take``; the clock starts anew."""
        self.touch()
        seconds, self._seconds = self._seconds, 0.0
        return seconds
