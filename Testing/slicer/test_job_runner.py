import pytest
import slicer

from unetseg.errors import CancelledError, ProtocolError
from unetseg.messages import Cancel, Cancelled, Describe, Epoch, Failed, Progress, Segmented
from UNetSegmentLib.idle import IdleTasks
from UNetSegmentLib.job_runner import JobRunner, WorkerFailedError, WorkerLostError
from UNetSegmentLib.signal import Signal
from UNetSegmentLib.state import JobStatus


class ScriptedWorker:
    """Records what is sent; the test speaks for it."""

    def __init__(self):
        self.replied, self.ended = Signal(), Signal()
        self.sent, self.killed = [], 0

    def send(self, request):
        self.sent.append(request)

    def kill(self):
        self.killed += 1
        self.ended.emit(ProtocolError("killed"), "log")


@pytest.fixture
def worker():
    return ScriptedWorker()


@pytest.fixture
def runner(slicerApp, worker):
    tasks = IdleTasks()
    runner = JobRunner(worker, tasks)
    runner.tasks, runner.results, runner.errors = tasks, [], []
    runner.begin = lambda steps, kind="segment": runner.start(
        kind, "Preparing", steps, runner.results.append, runner.errors.append
    )
    yield runner
    runner.close()
    tasks.close()


def asking(events):
    """One request between two short steps."""
    try:
        yield
        reply = yield Describe("r1")
        events.append(reply)
        yield
        return "result"
    except Exception as error:
        events.append(error)
        raise
    finally:
        events.append("cleaned")


def reply(seconds=1.0, request="r1"):
    return Segmented(request, labels=(), device="cpu", seconds=seconds)


def test_a_job_goes_on_with_the_reply_to_its_request_and_hands_over_its_result(runner, worker):
    events = []
    runner.begin(asking(events))
    assert runner.status == JobStatus("segment", "Preparing")
    runner.tasks.drain()
    assert [request.id for request in worker.sent] == ["r1"]
    worker.replied.emit(reply())
    runner.tasks.drain()
    assert events == [reply(), "cleaned"]
    assert (runner.results, runner.errors, runner.status) == (["result"], [], None)


def test_replies_to_other_requests_and_after_the_end_are_not_listened_to(runner, worker):
    events = []
    runner.begin(asking(events))
    runner.tasks.drain()
    worker.replied.emit(reply(request="older"))
    runner.tasks.drain()
    assert events == []
    worker.replied.emit(reply())
    worker.replied.emit(reply(seconds=2.0))
    runner.tasks.drain()
    worker.replied.emit(reply(seconds=3.0))
    runner.tasks.drain()
    assert runner.results == ["result"]
    assert events[0].seconds == 1.0


def test_progress_and_epochs_are_shown(runner, worker):
    epochs = []
    runner.epoch.connect(epochs.append)
    runner.begin(asking([]), kind="train")
    runner.tasks.drain()
    worker.replied.emit(Progress("r1", "training", 0.25, 30.0))
    assert (runner.status.fraction, runner.status.secondsLeft) == (0.25, 30.0)
    assert runner.status.stage == "Learning from the slices"
    worker.replied.emit(Epoch("r1", 5, 0.5, {"dice": 0.3}, seconds_left=20.0))
    assert (runner.status.fraction, runner.status.secondsLeft, len(epochs)) == (0.5, 20.0, 1)


def test_a_failure_is_raised_inside_the_job_so_that_it_cleans_up(runner, worker):
    events = []
    runner.begin(asking(events))
    runner.tasks.drain()
    worker.replied.emit(Failed("r1", "memory", "The rule", "received", "The remedy", "details"))
    runner.tasks.drain()
    (error,) = runner.errors
    assert isinstance(error, WorkerFailedError)
    assert (error.rule, error.received, error.remedy, error.code) == ("The rule", "received", "The remedy", "memory")
    assert error.details == "details"
    assert events == [error, "cleaned"]


def test_the_workers_death_ends_the_job_and_the_next_job_can_start(runner, worker):
    runner.begin(asking([]))
    runner.tasks.drain()
    worker.ended.emit(ProtocolError("It ended"), "the log")
    runner.tasks.drain()
    (error,) = runner.errors
    assert isinstance(error, WorkerLostError)
    assert error.details == "the log"
    runner.begin(asking([]))
    runner.tasks.drain()
    worker.replied.emit(reply())
    runner.tasks.drain()
    assert runner.results == ["result"]


def test_the_workers_end_between_jobs_is_no_failure(runner, worker):
    worker.ended.emit(ProtocolError("It ended"), "the log")
    assert runner.errors == []


def test_cancelling_asks_the_worker_and_waits_for_its_word(runner, worker):
    events = []
    runner.begin(asking(events))
    runner.tasks.drain()
    runner.cancel()
    assert isinstance(worker.sent[-1], Cancel)
    assert (worker.sent[-1].job, worker.sent[-1].keep) == ("r1", False)
    assert runner.status.stopping
    worker.replied.emit(Cancelled("r1"))
    runner.tasks.drain()
    assert isinstance(runner.errors[0], CancelledError)
    assert (events[-1], runner.status, worker.killed) == ("cleaned", None, 0)


def test_a_worker_deaf_to_cancelling_is_ended_and_that_counts_as_cancelled(runner, worker):
    runner.begin(asking([]))
    runner.tasks.drain()
    runner.cancelTimer.setInterval(1)
    runner.cancel()
    while runner.status is not None:
        slicer.app.processEvents()
    assert worker.killed == 1
    assert isinstance(runner.errors[0], CancelledError)


def test_stopping_a_training_keeps_it_and_never_kills_it(runner, worker):
    runner.begin(asking([]), kind="train")
    runner.tasks.drain()
    runner.cancel(keep=True)
    assert worker.sent[-1].keep
    assert not runner.cancelTimer.isActive()
    worker.replied.emit(reply())
    runner.tasks.drain()
    assert runner.results == ["result"]


def test_a_job_between_requests_is_cancelled_at_once(runner, worker):
    events = []
    runner.begin(asking(events))
    runner.cancel()
    runner.tasks.drain()
    assert worker.sent == []
    assert isinstance(runner.errors[0], CancelledError)


def test_closing_cleans_up_without_calling_anybody(runner, worker):
    events = []
    runner.begin(asking(events))
    runner.tasks.drain()
    runner.close()
    assert events[-1] == "cleaned"
    assert (runner.results, runner.errors, runner.status) == ([], [], None)
    worker.replied.emit(reply())
    runner.tasks.drain()
    assert runner.results == []


def test_two_jobs_at_a_time_are_a_fault_of_the_caller(runner):
    runner.begin(asking([]))
    with pytest.raises(RuntimeError, match="segment"):
        runner.begin(asking([]))
