"""The worker: reads requests from stdin, does them one after the other, writes replies to stdout.

stdout carries messages only: the process keeps a descriptor of its own for them, and whatever libraries
print ends on stderr, which is the log for people. The worker ends with its parent: the end of stdin aborts
the running job and closes the process. torch is imported with the first request, so that a Python without it
is answered in a message.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .. import protocol
from ..allocator import give_back_memory
from ..errors import CancelledError, InternalError, MemoryLimitError, ProtocolError, SettingsError, UnetsegError
from ..failures import explain
from ..files import locked_folder
from ..messages import Cancel, Cancelled, Epoch, Failed, Message, Progress, Reply, Request, Shutdown, Train

if TYPE_CHECKING:
    from ..training import Control
    from .requests import Performer

SECONDS_TO_END = 3.0
"""An aborted job that still runs after this time is ended together with the process."""
SECONDS_TO_LOCK = 1.0
"""Who only looks whether a job folder is in use holds its lock for a moment."""
HEARTBEAT_SECONDS = 5.0
SECONDS_BETWEEN_REPORTS = 0.2

Send = Callable[[Message], None]


def run_worker() -> int:
    """Serve until stdin ends or ``Shutdown``; the exit code is 0 then, and 1 where a job did not end in time."""
    requests, send = _take_standard_streams()
    # Ctrl-C in a shared terminal is for the parent, which then closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(send)
    threads = [
        threading.Thread(target=worker.read, args=(requests,), daemon=True),
        threading.Thread(target=worker.beat, daemon=True),
    ]
    for thread in threads:
        thread.start()
    worker.serve()
    # A daemon thread that is still on its way when Python ends can abort the process (SIGABRT).
    for thread in threads:
        thread.join()
    return 0


def _take_standard_streams() -> tuple[BinaryIO, Send]:
    """Descriptors of our own for the messages; then 0 reads nothing and 1 is stderr, for C libraries as well."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    lock = threading.Lock()

    def send(message: Message) -> None:
        line = protocol.encode(message).encode()
        # A parent that is gone also ends stdin, and that ends this process.
        with lock, contextlib.suppress(BrokenPipeError):
            replies.write(line)
            replies.flush()

    return requests, send


class _Job:
    """A request on its way: waiting, then running under ``control``. Used with the worker's lock held."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._cancelled = False
        self._control: Control | None = None

    def start(self, control: Control) -> None:
        """Raises ``CancelledError`` where the job was cancelled while it waited."""
        if self._cancelled:
            raise CancelledError()
        self._control = control

    def cancel(self, *, keep: bool) -> None:
        if self._control is None:
            self._cancelled = True
        elif keep and isinstance(self.request, Train):
            self._control.stop()
        else:
            self._control.abort()


class Worker:
    """One job at a time, in the order received. ``serve`` runs in the main thread, the others in their own."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: queue.Queue[_Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        # The reading thread never takes the second lock: it is held while a slow client is written to.
        self._reporting = threading.Lock()
        self._latest: Progress | None = None
        self._reported_at = 0.0
        self._ended = threading.Event()

    def read(self, requests: BinaryIO) -> None:
        """Take requests until ``Shutdown`` or the end of the stream; then end the process, by force if need be."""
        for line in _lines(requests):
            try:
                message = protocol.decode(line)
                if isinstance(message, Shutdown):
                    break
                self._receive(message)
            except ProtocolError as error:
                self._send(_failed(protocol.request_id(line), error))
        with self._lock:
            for job in self._jobs.values():
                job.cancel(keep=False)
        self._queue.put(None)
        if not self._ended.wait(SECONDS_TO_END):
            os._exit(1)

    def beat(self) -> None:
        """Repeat the last progress, so that a client can tell a long step from a frozen process."""
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with self._reporting:
                if self._latest is not None:
                    self._send(self._latest)

    def serve(self) -> None:
        """Do the jobs until there are no more to come."""
        while (job := self._queue.get()) is not None:
            reply = self._outcome(job)
            with self._lock:
                del self._jobs[job.request.id]
            with self._reporting:
                self._latest = None
            if isinstance(reply, Failed) and reply.code == MemoryLimitError.code:
                self._performer.warm.release()
            give_back_memory()
            if reply is not None:
                self._send(reply)
        self._ended.set()

    def _receive(self, message: Message) -> None:
        if isinstance(message, Cancel):
            with self._lock:
                # A job that has just ended has been answered already.
                if message.job in self._jobs:
                    self._jobs[message.job].cancel(keep=message.keep)
        elif isinstance(message, Request):
            job = _Job(message)
            with self._lock:
                if message.id in self._jobs:
                    raise ProtocolError("Each request needs an id of its own", received=message.id)
                self._jobs[message.id] = job
            self._queue.put(job)
        else:
            raise ProtocolError("A worker takes requests only", received=type(message).__name__)

    def _outcome(self, job: _Job) -> Reply | None:
        """Do one job; its final reply, where the request has one."""
        request_id = job.request.id
        try:
            reply = self._perform(job)
            if reply is None:
                return None
            reply = dataclasses.replace(reply, request=request_id)
            protocol.encode(reply)  # refuses what cannot be sent, while the job can still fail
            return reply
        except CancelledError:
            return Cancelled(request_id)
        except Exception as error:  # whatever happens in a job, the worker lives on and says so
            return _failed(request_id, explain(error))

    def _perform(self, job: _Job) -> Reply | None:
        with self._reporting:
            self._latest = Progress(job.request.id, "starting", 0.0)
        control = self._performer.new_control()
        with self._lock:
            job.start(control)
        with _locked_job_folder(job.request):
            return self._performer.perform(job.request, control, functools.partial(self._report, job.request.id))

    @functools.cached_property
    def _performer(self) -> Performer:
        from .requests import Performer

        return Performer()

    def _report(self, request_id: str, message: Progress | Epoch) -> None:
        """Send a few messages a second at most, but every new stage and every validation."""
        now = time.monotonic()
        measured = isinstance(message, Epoch) and message.held_out_dice is not None
        stage = message.stage if isinstance(message, Progress) else "training"
        with self._reporting:
            same = self._latest is not None and self._latest.stage == stage
            if same and not measured and now - self._reported_at < SECONDS_BETWEEN_REPORTS:
                return
            self._send(dataclasses.replace(message, request=request_id))
            self._latest = Progress(request_id, stage, message.fraction, message.seconds_left)
            self._reported_at = now


@contextlib.contextmanager
def _locked_job_folder(request: Request) -> Iterator[None]:
    """Two workers never write into the same job folder at the same time."""
    folder = getattr(request, "folder", None)
    if folder is None:
        yield
        return
    with locked_folder(Path(folder), wait_seconds=SECONDS_TO_LOCK) as held:
        if not held:
            raise SettingsError(
                "A job folder serves one process at a time",
                received=f"{folder}, in use by another UNetSegment",
                remedy="Close the other one, or choose another folder",
            )
        yield


def _failed(request_id: str | None, error: UnetsegError) -> Failed:
    """Called while the exception is handled: a fault of the program is logged with its traceback."""
    details = traceback.format_exc() if isinstance(error, InternalError) else ""
    if details:
        print(details, file=sys.stderr)
    return Failed(request_id, error.code, error.rule, error.received[:2000], error.remedy, details[-20_000:])


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines of the stream; one that is too long is given cut off, and its rest is dropped unread."""
    while line := stream.readline(protocol.MAX_LINE_BYTES + 1):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(protocol.MAX_LINE_BYTES)
        if line.strip():
            yield line
