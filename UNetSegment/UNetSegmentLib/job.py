"""The worker's process: started when there is something to do, listened to, watched, and ended.

It speaks the protocol of ``unetseg.protocol`` on its standard input and output; what it writes to standard error
is kept for reports. Nothing here waits: everything is told by signals.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from unetseg.errors import ProtocolError
from unetseg.messages import Cancel, Epoch, Failed, Progress, Release, Reply, Request, Shutdown
from unetseg.protocol import decode, encode

from .child_process import ChildProcess, LaunchCommand, WorkerError
from .signal import Signal

SECONDS_UNTIL_UNRESPONSIVE = 30.0
"""The worker says something every five seconds while it works."""

_TICK_SECONDS = 1.0


class WorkerProcess:
    """One worker at a time, started by the first request and again after it has ended.

    Signals:
        replied(reply): every reply to a request that waits for one, in the order of their coming.
        ended(error, details): the process has ended, or is no worker, while a request was waiting. ``details`` is
            the end of its log. The requests are forgotten; the next one starts a new process.
        unresponsive(seconds), responsive(): it has been silent for so long while a request waits; it speaks again.
    """

    def __init__(
        self,
        command: Callable[[], LaunchCommand],
        *,
        idleMinutes: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.replied, self.ended = Signal(), Signal()
        self.unresponsive, self.responsive = Signal(), Signal()
        self._command, self._idleSeconds, self._clock = command, idleMinutes * 60, clock
        self._run: ChildProcess | None = None
        self._ending: set[ChildProcess] = set()
        self._waiting: set[str] = set()
        self._lastTick = self._quiet = 0.0
        self._reportedUnresponsive = False
        self._log = b""
        self.timer = qt.QTimer()
        self.timer.setInterval(int(_TICK_SECONDS * 1000))
        self.timer.connect("timeout()", self._tick)

    @property
    def running(self) -> bool:
        """Whether there is a process that takes requests."""
        return self._run is not None

    def send(self, request: Request) -> None:
        """Pass a request on; all but ``Cancel`` and ``Release`` start the process where there is none.

        ``ended`` may be told before this returns. Raises ``ProtocolError`` for a request that is too long.
        """
        line = encode(request).encode()
        if not isinstance(request, Cancel | Release):
            command = None if self.running else self._command()
            self._waiting.add(request.id)
            self._quiet = 0.0
            if command is not None:
                self._start(command)
        if self._run is not None:
            self._run.write(line)

    def shutdown(self) -> None:
        """Ask the process to end, and see to it that it does; requests that wait are forgotten."""
        run = self._forget()
        if run is not None:
            self._ending.add(run)
            run.write(encode(Shutdown("shutdown")).encode())
            run.end()

    def close(self) -> None:
        """End the process before returning: within seconds, by force if need be."""
        run = self._forget()
        for ending in [*self._ending, *([run] if run is not None else [])]:
            ending.close()
        self._ending.clear()

    def kill(self) -> None:
        """End the process and all that it has started at once. A request that waits is answered by ``ended``."""
        if self._run is not None:
            self._run.kill()

    def log(self) -> str:
        """The end of what this process, or else the last one, wrote for people."""
        return (self._log if self._run is None else self._run.log()).decode("utf-8", "replace")

    def _start(self, command: LaunchCommand) -> None:
        self._run = ChildProcess(command, self._onLine, self._onEnded)
        self._lastTick, self._reportedUnresponsive = self._clock(), False
        self.timer.start()
        self._run.start()

    def _forget(self) -> ChildProcess | None:
        run, self._run = self._run, None
        self._waiting.clear()
        self.timer.stop()
        if run is not None:
            self._log = run.log()
        return run

    def _onLine(self, run: ChildProcess, line: bytes) -> None:
        if run is not self._run:
            return
        self._quiet = 0.0
        if self._reportedUnresponsive:
            self._reportedUnresponsive = False
            self.responsive.emit()
        try:
            reply = decode(line)
        except ProtocolError as error:
            self._onNonsense(run, line, error)
            return
        run.isWorker = True
        if isinstance(reply, Failed) and reply.request is None:
            self._fail(WorkerError(reply.rule, received=reply.received, remedy=reply.remedy))
        elif isinstance(reply, Reply) and reply.request in self._waiting:
            if not isinstance(reply, Progress | Epoch):
                self._waiting.remove(reply.request)
            self.replied.emit(reply)

    def _onNonsense(self, run: ChildProcess, line: bytes, error: ProtocolError) -> None:
        """A worker keeps its output clean, so that a program which begins with something else is none."""
        run.note(f"{error} {line[:200].decode('utf-8', 'replace')}")
        if not run.isWorker:
            self._fail(
                WorkerError(
                    _("The program chosen for computation must be a Python in which UNetSegment can run"),
                    remedy=_("Choose another Python under Settings"),
                )
            )

    def _onEnded(self, run: ChildProcess, error: WorkerError) -> None:
        self._ending.discard(run)
        if run is self._run:
            self._tell(error)

    def _fail(self, error: WorkerError) -> None:
        """Give up on a process that goes on but is of no use."""
        run = self._run
        self._ending.add(run)
        run.kill()
        self._tell(error)

    def _tell(self, error: WorkerError) -> None:
        waiting = bool(self._waiting)
        self._forget()
        if waiting:
            self.ended.emit(error, self.log())

    def _tick(self) -> None:
        now = self._clock()
        passed, self._lastTick = now - self._lastTick, now
        # A computer that slept, or a window that was busy itself, says nothing about the worker.
        self._quiet += passed if passed < 5 * _TICK_SECONDS else 0.0
        if self._waiting:
            if self._quiet >= SECONDS_UNTIL_UNRESPONSIVE and not self._reportedUnresponsive:
                self._reportedUnresponsive = True
                self.unresponsive.emit(self._quiet)
        elif self._quiet >= self._idleSeconds:
            self.shutdown()
