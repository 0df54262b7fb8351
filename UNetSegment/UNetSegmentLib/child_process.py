"""One process of the worker, from its start to its end: lines out, lines in, a log, and why it has ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from unetseg.errors import UnetsegError
from unetseg.protocol import MAX_LINE_BYTES

from .process_tree import killTree

SECONDS_TO_END = 3.0
"""From the request to end until a process is killed; a worker gives up its job and ends within that time."""
LOG_BYTES = 256_000

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


class ChildProcess:
    """Tells every line of its output by ``onLine``, and its end, once, by ``onEnded``.

    ``isWorker`` is the owner's note that it has spoken the protocol.
    """

    def __init__(
        self,
        command: LaunchCommand,
        onLine: Callable[[ChildProcess, bytes], None],
        onEnded: Callable[[ChildProcess, WorkerError], None],
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
