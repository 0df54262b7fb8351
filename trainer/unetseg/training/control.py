"""How a running training is told to end: stop and keep the best so far, or abort."""

from __future__ import annotations

import threading

from ..errors import CancelledError


class Control:
    """Two flags that another thread may raise at any time; the training loop looks at them."""

    def __init__(self) -> None:
        self._abort = threading.Event()
        self._stop = threading.Event()

    def stop(self) -> None:
        """End after the current step, validate and save what was learnt."""
        self._stop.set()

    def abort(self) -> None:
        """End within a second, saving no model; the last checkpoint remains for resuming."""
        self._abort.set()

    @property
    def stop_requested(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raises ``CancelledError`` once ``abort`` was called."""
        if self._abort.is_set():
            raise CancelledError()
