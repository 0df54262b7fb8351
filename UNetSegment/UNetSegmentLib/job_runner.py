"""One job at a time: short steps in the window's process and requests to the worker, written as one generator.

A job is a generator that yields ``None`` between short steps, and a request where the worker has to do
something; it is resumed with the worker's final reply. A failure or the user's cancelling is raised in it at
that place, so that its ``finally`` blocks clean up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import qt

from unetseg.errors import CancelledError, UnetsegError
from unetseg.messages import Cancel, Cancelled, Epoch, Failed, Progress, Reply, Request

from .idle import IdleTasks
from .signal import Signal
from .state import JobStatus
from .wording import stageTitle

if TYPE_CHECKING:
    from .job import WorkerProcess

Steps = Generator[Request | None, Reply | None, Any]

SECONDS_TO_CANCEL = 3.0
"""A worker that has not given up a job by then is ended; the next job starts a new one."""
_KEY = "job"


class WorkerFailedError(UnetsegError):
    """The worker refused or failed a request; ``details`` are for the report."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure.rule, received=failure.received, remedy=failure.remedy)
        self.code = failure.code
        self.details = failure.details


class WorkerLostError(UnetsegError):
    """The worker's process ended or never started; ``details`` hold the end of its log."""

    code = "worker"

    def __init__(self, error: UnetsegError, details: str) -> None:
        super().__init__(error.rule, received=error.received, remedy=error.remedy)
        self.details = details


class JobRunner:
    """Runs jobs on ``worker`` and ``tasks``.

    Signals: ``changed()`` when ``status`` is another; ``epoch(Epoch)`` for every report of a training.
    """

    def __init__(self, worker: WorkerProcess, tasks: IdleTasks) -> None:
        self.changed = Signal()
        self.epoch = Signal()
        self.status: JobStatus | None = None
        self._worker = worker
        self._tasks = tasks
        self._steps: Steps | None = None
        self._request: Request | None = None
        self._cancelled = False
        self._onDone: Callable[[Any], None] | None = None
        self._onError: Callable[[Exception], None] | None = None
        self.cancelTimer = qt.QTimer()
        self.cancelTimer.setSingleShot(True)
        self.cancelTimer.setInterval(int(SECONDS_TO_CANCEL * 1000))
        self.cancelTimer.connect("timeout()", worker.kill)
        worker.replied.connect(self._onReply)
        worker.ended.connect(self._onWorkerEnded)

    def start(
        self, kind: str, stage: str, steps: Steps, onDone: Callable[[Any], None], onError: Callable[[Exception], None]
    ) -> None:
        """Begin a job. ``onError`` gets ``CancelledError`` where the user cancelled.

        Raises:
            RuntimeError: another job is on its way (the panel does not offer it then).
        """
        if self.status is not None:
            raise RuntimeError(f"a job of kind {self.status.kind} is on its way")
        self._steps, self._onDone, self._onError = steps, onDone, onError
        self._cancelled = False
        self._show(JobStatus(kind, stage))
        self._advance(lambda: steps.send(None))

    def update(self, stage: str | None = None, kind: str | None = None, fraction: float = 0.0) -> None:
        """Told by a job: what it is doing now. Nothing once it has ended."""
        if self.status is not None:
            status = dataclasses.replace(self.status, fraction=fraction, secondsLeft=None)
            self._show(dataclasses.replace(status, stage=stage or status.stage, kind=kind or status.kind))

    def cancel(self, *, keep: bool = False) -> None:
        """Ask the job to end; ``keep``: a training saves the best so far and ends as if it were finished."""
        if self.status is None or self._steps is None:
            return
        if self._request is None:
            self._tasks.cancel(_KEY)
            self._advance(lambda steps=self._steps: steps.throw(CancelledError()))
            return
        self._worker.send(Cancel(f"cancel-{self._request.id}", job=self._request.id, keep=keep))
        self._show(dataclasses.replace(self.status, stopping=True))
        if not keep:
            self._cancelled = True
            self.cancelTimer.start()

    def close(self) -> None:
        """End the job at once, without asking the worker; neither of its callbacks is called."""
        self.cancelTimer.stop()
        self._tasks.cancel(_KEY)
        steps, self._steps, self._request = self._steps, None, None
        if steps is not None:
            steps.close()
        self._show(None)

    def _advance(self, resume: Callable[[], Request | None]) -> None:
        """Go on with the job in idle time until it needs the worker, or ends."""
        self._request = None
        self._tasks.run(_KEY, self._untilRequest(resume), self._onWaiting, self._onFailed)

    def _untilRequest(self, resume: Callable[[], Request | None]) -> Generator[None, None, tuple[Request | None, Any]]:
        try:
            while (request := resume()) is None:
                yield
                resume = self._steps.__next__
            return request, None
        except StopIteration as finished:
            return None, finished.value

    def _onWaiting(self, outcome: tuple[Request | None, Any]) -> None:
        request, result = outcome
        if request is None:
            onDone, onError = self._onDone, self._onError
            self._finish()
            try:
                onDone(result)
            except Exception as error:  # nobody else would hear of it
                onError(error)
        else:
            self._request = request
            self._worker.send(request)

    def _onFailed(self, error: Exception) -> None:
        onError = self._onError
        self._finish()
        onError(error)

    def _finish(self) -> None:
        self.cancelTimer.stop()
        self._steps = self._request = None
        self._show(None)

    def _onReply(self, reply: Reply) -> None:
        if self._request is None or getattr(reply, "request", None) != self._request.id:
            return
        if isinstance(reply, Progress | Epoch):
            self._onProgress(reply)
            return
        self.cancelTimer.stop()
        steps = self._steps
        if isinstance(reply, Failed):
            self._advance(lambda: steps.throw(WorkerFailedError(reply)))
        elif isinstance(reply, Cancelled):
            self._advance(lambda: steps.throw(CancelledError()))
        else:
            self._advance(lambda: steps.send(reply))

    def _onProgress(self, reply: Progress | Epoch) -> None:
        status = dataclasses.replace(self.status, fraction=reply.fraction, secondsLeft=reply.seconds_left)
        if isinstance(reply, Progress) and not status.stopping:
            status = dataclasses.replace(status, stage=stageTitle(reply.stage))
        self._show(status)
        if isinstance(reply, Epoch):
            self.epoch.emit(reply)

    def _onWorkerEnded(self, error: UnetsegError, details: str) -> None:
        if self._request is None:
            return
        steps = self._steps
        failure = CancelledError() if self._cancelled else WorkerLostError(error, details)
        self._advance(lambda: steps.throw(failure))

    def _show(self, status: JobStatus | None) -> None:
        if status != self.status:
            self.status = status
            self.changed.emit()
