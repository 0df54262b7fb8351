"""The worker's process: started when there is something to do, listened to, watched, and ended.

It speaks the protocol of ``unetseg.messages`` on its standard input and output; what it writes to standard error
is kept for reports. Nothing here waits: everything is told by signals.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from unetseg.errors import ProtocolError, UnetsegError
from unetseg.messages import (
    MAX_LINE_BYTES,
    Cancel,
    Epoch,
    Failed,
    Progress,
    Release,
    Reply,
    Request,
    Shutdown,
    decode,
    encode,
)

from .process_tree import killTree
from .signal import Signal

SECONDS_UNTIL_UNRESPONSIVE = 30.0
"""The worker says something every five seconds while it works."""
SECONDS_TO_END = 3.0
"""From the request to end until a process is killed; a worker gives up its job and ends within that time."""
LOG_BYTES = 256_000

_TICK_SECONDS = 1.0
_KILL_SIGNAL = 9
"""Launchers and shells report that it has ended a child by the exit code 128 + 9."""


@dataclass(frozen=True)
class LaunchCommand:
    """A program with its arguments and its whole environment."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


class WorkerError(UnetsegError):
    """The worker's process could not start, ended, or does not speak the protocol."""

    code = "worker"


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
        self._run: _Run | None = None
        self._ending: set[_Run] = set()
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
        self._run = _Run(command, self._onLine, self._onEnded)
        self._lastTick, self._reportedUnresponsive = self._clock(), False
        self.timer.start()
        self._run.start()

    def _forget(self) -> _Run | None:
        run, self._run = self._run, None
        self._waiting.clear()
        self.timer.stop()
        if run is not None:
            self._log = run.log()
        return run

    def _onLine(self, run: _Run, line: bytes) -> None:
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

    def _onNonsense(self, run: _Run, line: bytes, error: ProtocolError) -> None:
        """A worker keeps its output clean, so that a program which begins with something else is none."""
        run.note(f"{error} {line[:200].decode('utf-8', 'replace')}")
        if not run.isWorker:
            self._fail(
                WorkerError(
                    _("The program chosen for computation must be a Python in which UNetSegment can run"),
                    remedy=_("Choose another Python under Settings"),
                )
            )

    def _onEnded(self, run: _Run, error: WorkerError) -> None:
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


class _Run:
    """One process from its start to its end, which is told by ``onEnded``."""

    def __init__(
        self,
        command: LaunchCommand,
        onLine: Callable[[_Run, bytes], None],
        onEnded: Callable[[_Run, WorkerError], None],
    ) -> None:
        self.isWorker = False
        self._onLine, self._onEnded = onLine, onEnded
        self._buffer, self._log, self._skipping = bytearray(), bytearray(), False
        self._endTimer = qt.QTimer()
        self._endTimer.setSingleShot(True)
        self._endTimer.setInterval(int(SECONDS_TO_END * 1000))
        self._endTimer.connect("timeout()", self.kill)
        self._killed = False
        self._command = command
        self._process = qt.QProcess()
        environment = qt.QProcessEnvironment()
        for name, value in command.environment.items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        self._process.connect("readyReadStandardOutput()", self._readOutput)
        self._process.connect("readyReadStandardError()", self._readLog)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._onError)

    def start(self) -> None:
        """Run the program. Windows tells at once that it cannot, that is before this returns."""
        self._process.start(self._command.program, list(self._command.arguments))

    def write(self, data: bytes) -> None:
        self._process.write(data)

    def end(self) -> None:
        """Close its input, which a worker takes as the request to end; kill it with its children if it does not.

        A signal to end would reach a launcher only, whose end leaves a child that is stuck to nobody.
        """
        self._process.closeWriteChannel()
        self._endTimer.start()

    def close(self) -> None:
        """Close its input and wait for its end, which is then told to nobody."""
        self._process.blockSignals(True)
        self._process.closeWriteChannel()
        if not self._process.waitForFinished(int(SECONDS_TO_END * 1000)):
            self.kill()
            self._process.waitForFinished(int(SECONDS_TO_END * 1000))
        self._close()

    def kill(self) -> None:
        self._killed = True
        processId = self._process.processId()
        if processId:
            killTree(processId)

    def log(self) -> bytes:
        return bytes(self._log)

    def note(self, text: str) -> None:
        """Add a line to the log."""
        self._addToLog(text.encode() + b"\n")

    def _readOutput(self) -> None:
        *lines, rest = (bytes(self._buffer) + _bytes(self._process.readAllStandardOutput())).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif line.strip():
                self._onLine(self, line)
        if self._skipping:
            self._buffer.clear()
        elif len(self._buffer) > MAX_LINE_BYTES:
            # Longer than any message: the beginning is refused now, the rest is dropped unread.
            self._onLine(self, bytes(self._buffer))
            self._buffer.clear()
            self._skipping = True

    def _readLog(self) -> None:
        self._addToLog(_bytes(self._process.readAllStandardError()))

    def _addToLog(self, data: bytes) -> None:
        self._log += data
        del self._log[:-LOG_BYTES]

    def _onFinished(self, exitCode: int, exitStatus: Any) -> None:
        self._readLog()
        self._readOutput()
        self.note(f"exit code {exitCode}")
        self._close()
        self._onEnded(self, self._reason(exitCode, exitStatus == qt.QProcess.CrashExit))

    def _reason(self, exitCode: int, crashed: bool) -> WorkerError:
        """Why it has ended, as far as the system tells; its log may tell more."""
        if self._killed:
            return WorkerError(
                _("The computation was stopped; your volumes and segmentations are as they were"),
                remedy=_("Start it again when you like"),
            )
        if os.name == "posix" and exitCode == (_KILL_SIGNAL if crashed else 128 + _KILL_SIGNAL):
            return WorkerError(
                _(
                    "The system ended the computation, most often because the memory has run out;"
                    " your volumes and segmentations are as they were"
                ),
                remedy=_("Close other programs, or restrict the work with a region of interest"),
            )
        return WorkerError(
            _("The computation ended before it was finished; your volumes and segmentations are as they were"),
            remedy=_("Try again; if it ends again, copy the report"),
        )

    def _onError(self, error: Any) -> None:
        """Of all errors only this one is not followed by ``finished``."""
        if error == qt.QProcess.FailedToStart:
            self.note(self._process.errorString())
            self._close()
            self._onEnded(
                self,
                WorkerError(
                    _("The Python chosen for computation must be a program that can be started"),
                    received=self._command.program,
                    remedy=_("Choose another Python under Settings"),
                ),
            )

    def _close(self) -> None:
        self._endTimer.stop()
        self._process.deleteLater()


def _bytes(data: Any) -> bytes:
    """Of a QByteArray."""
    return bytes(data.data())
