"""The worker's process, talked to as a client does; the jobs are those of fixtures/fake_worker.py."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from small_models import save_small_model
from unetseg.array_file import load_array, save_array
from unetseg.files import locked_folder
from unetseg.messages import (
    Cancel,
    Cancelled,
    Capabilities,
    Describe,
    Epoch,
    Failed,
    Message,
    Progress,
    Release,
    Segment,
    Segmented,
    Shutdown,
    Train,
    Trained,
)
from unetseg.protocol import decode, encode
from unetseg.volume import Geometry
from unetseg.worker import process

REPOSITORY = Path(__file__).resolve().parents[3]
TIMEOUT_SECONDS = 60.0
"""Only ever reached by a failing test."""


class Client:
    """A worker process, and its lines as they come."""

    def __init__(self, program: list[str], folder: Path) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY / "trainer"),
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
        }
        pipe = subprocess.PIPE
        self.folder = folder
        self.process = subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def send(self, message: Message) -> None:
        self.write(encode(message).encode())

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self) -> Message:
        return decode(self._lines.get(timeout=TIMEOUT_SECONDS))

    def final(self, request: str | None) -> Message:
        """The next message that ends a job; it must be the answer to ``request``."""
        while isinstance(message := self.receive(), (Progress, Epoch)):
            pass
        assert message.request == request
        return message

    def segment(self, request: str, model: str) -> None:
        self.send(Segment(request, str(self.folder), model, ("image.npz",), "labels.npz"))

    def train(self, request: str) -> None:
        self.send(Train(request, str(self.folder), (), "model.safetensors"))

    def end(self) -> tuple[int, str]:
        """Closes stdin; exit code and log."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        log = self.process.stderr.read()
        return self.process.wait(TIMEOUT_SECONDS), log.decode("utf-8")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


FAKE = [sys.executable, str(REPOSITORY / "Testing" / "fixtures" / "fake_worker.py")]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    clients = []

    def start(program: list[str] = FAKE) -> Client:
        clients.append(Client(program, tmp_path))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def worker(start: Callable[..., Client]) -> Client:
    return start()


def test_jobs_are_done_in_order_and_the_process_ends_with_its_stdin(worker: Client) -> None:
    worker.send(Describe("a"))
    worker.segment("b", "ok")
    assert isinstance(worker.final("a"), Capabilities)
    assert worker.receive() == Progress("b", "segmenting", 0.0)
    assert isinstance(worker.receive(), Segmented)
    assert worker.end() == (0, "")


def test_shutdown_ends_it_although_stdin_stays_open(worker: Client) -> None:
    worker.send(Shutdown("a"))
    assert worker.process.wait(TIMEOUT_SECONDS) == 0


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("wrong", Failed("a", "settings", "The rule", "ünïcode", "The remedy")),
        (
            "full",
            Failed(
                "a",
                "file",
                "A file could not be read or written",
                "/somewhere: No space left on device",
                "Free some space on that disk and try again",
            ),
        ),
    ],
)
def test_a_failed_job_is_answered_and_the_next_one_done(worker: Client, model: str, expected: Failed) -> None:
    worker.segment("a", model)
    worker.segment("b", "ok")
    assert worker.final("a") == expected
    assert isinstance(worker.final("b"), Segmented)


@pytest.mark.parametrize(
    ("model", "shown"), [("fault", "ZeroDivisionError: made up"), ("unsendable", ""), ("endless", "")]
)
def test_a_fault_of_the_program_comes_with_its_traceback(worker: Client, model: str, shown: str) -> None:
    worker.segment("a", model)
    failed = worker.final("a")
    worker.segment("b", "ok")
    assert isinstance(failed, Failed)
    assert isinstance(worker.final("b"), Segmented)
    if shown:
        assert (failed.code, failed.received) == ("internal", shown)
        assert "fake_worker.py" in failed.details
        assert shown in worker.end()[1]
    else:
        assert (failed.code, failed.rule) == ("protocol", "A message must hold finite numbers only")


def test_models_stay_warm_until_released_or_out_of_memory(worker: Client) -> None:
    told = []
    for number, model in enumerate(["ok", "ok", None, "ok", "wrong", "ok", "memory", "ok"]):
        if model is None:
            worker.send(Release(str(number)))
            continue
        worker.segment(str(number), model)
        answer = worker.final(str(number))
        told.append(answer.notes[0] if isinstance(answer, Segmented) else getattr(answer, "code", ""))
    assert told == ["loaded", "warm", "loaded", "settings", "warm", "memory", "loaded"]


def test_cancel_ends_the_running_job_and_leaves_the_others(worker: Client) -> None:
    worker.segment("a", "slow")
    worker.segment("b", "slow")
    worker.segment("c", "ok")
    assert worker.receive() == Progress("a", "segmenting", 0.0)
    worker.send(Cancel("x", job="b"))
    worker.send(Cancel("y", job="nobody"))
    worker.send(Cancel("z", job="a"))
    assert worker.final("a") == Cancelled("a")
    assert worker.receive() == Cancelled("b")  # it never began: no progress before
    assert isinstance(worker.final("c"), Segmented)


@pytest.mark.parametrize(("keep", "kind"), [(True, Trained), (False, Cancelled)])
def test_a_training_is_stopped_or_aborted(worker: Client, keep: bool, kind: type[Message]) -> None:
    worker.train("a")
    assert isinstance(worker.receive(), Epoch)
    worker.send(Cancel("b", job="a", keep=keep))
    assert isinstance(worker.final("a"), kind)


def test_a_stopped_training_can_still_be_aborted_and_keep_means_nothing_to_a_segmentation(worker: Client) -> None:
    worker.segment("a", "slow")
    worker.receive()
    worker.send(Cancel("b", job="a", keep=True))
    assert worker.final("a") == Cancelled("a")


def test_it_ends_with_its_parent_and_aborts_the_job(worker: Client) -> None:
    worker.segment("a", "slow")
    worker.segment("b", "slow")
    worker.receive()
    assert worker.end()[0] == 0
    assert worker.final("a") == Cancelled("a")
    assert worker.receive() == Cancelled("b")


def test_a_job_that_does_not_listen_ends_with_the_process(worker: Client) -> None:
    worker.segment("a", "deaf")
    worker.receive()
    assert worker.end()[0] == 1


@pytest.mark.skipif(os.name != "posix", reason="kills a process the POSIX way")
def test_it_ends_when_its_parent_is_killed(start: Callable[..., Client]) -> None:
    """The parent is a process that starts the worker, hands its stdout on and is killed without a word."""
    parent = start(
        [
            sys.executable,
            "-c",
            "import subprocess, sys\n"
            "worker = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
            "worker.stdin.write(sys.stdin.buffer.readline()); worker.stdin.flush()\n"
            "print(worker.pid, file=sys.stderr, flush=True)\n"
            "sys.stdin.read()",
            *FAKE,
        ]
    )
    parent.segment("a", "slow")
    assert parent.receive() == Progress("a", "segmenting", 0.0)
    parent.process.kill()
    # The worker holds the other end of stdout: its last words, then the end of the stream.
    assert parent.final("a") == Cancelled("a")
    parent._reader.join(TIMEOUT_SECONDS)
    assert not parent._reader.is_alive()


def test_stray_prints_go_to_the_log_and_libraries_read_nothing(worker: Client) -> None:
    worker.segment("a", "chatty")
    assert isinstance(worker.final("a"), Segmented)
    code, log = worker.end()
    assert code == 0
    assert sorted(log.splitlines()) == [
        "from C",
        "from the file descriptor",
        "reads ''",
        '{"type": "Segmented"} from Python – ü',
    ]


def test_garbage_is_answered_and_passed_over(worker: Client) -> None:
    for line in (
        b"\xff\xfe\n",
        b"hello\n",
        b"\n",
        b"[" * 3_000_000 + b"\n",
        b'{"type": "Fly", "version": 1, "id": "7"}\n',
    ):
        worker.write(line)
    worker.send(Cancelled("8"))
    worker.segment("b", "ok")
    answers = [worker.receive() for _ in range(5)]
    assert [(answer.request, answer.code) for answer in answers if isinstance(answer, Failed)] == [
        (None, "protocol"),
        (None, "protocol"),
        (None, "protocol"),
        ("7", "protocol"),
        (None, "protocol"),
    ]
    assert isinstance(worker.final("b"), Segmented)


def test_lines_may_arrive_in_pieces_in_the_middle_of_a_character(worker: Client) -> None:
    line = encode(Segment("ü", str(worker.folder), "ok", ("i.npz",), "l.npz")).encode()
    line = line.replace(rb"\u00fc", "ü".encode())
    middle = line.index("ü".encode()) + 1
    worker.write(line[:middle])
    worker.write(line[middle:])
    assert isinstance(worker.final("ü"), Segmented)


def test_an_id_in_use_is_refused(worker: Client) -> None:
    worker.segment("a", "slow")
    worker.receive()
    worker.segment("a", "ok")
    failed = worker.final("a")
    assert isinstance(failed, Failed)
    assert (failed.code, failed.received) == ("protocol", "a")


def test_reports_are_thinned_but_every_stage_is_told(worker: Client) -> None:
    worker.segment("a", "busy")
    reports = []
    while isinstance(message := worker.receive(), Progress):
        reports.append(message)
    assert len(reports) < 1000
    assert reports[0] == Progress("a", "segmenting", 0.0)
    assert reports[-1] == Progress("a", "writing", 1.0)


def test_a_long_step_keeps_telling_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HEARTBEAT_SECONDS", 0.01)
    told: queue.Queue[Message] = queue.Queue()
    worker = process.Worker(told.put)
    worker._report("a", Progress("", "segmenting", 0.5))
    thread = threading.Thread(target=worker.beat)
    thread.start()
    assert [told.get(timeout=TIMEOUT_SECONDS) for _ in range(3)] == [Progress("a", "segmenting", 0.5)] * 3
    worker._ended.set()
    thread.join()


def test_a_job_folder_serves_one_worker_at_a_time(worker: Client) -> None:
    with locked_folder(worker.folder) as held:
        assert held
        worker.segment("a", "ok")
        failed = worker.final("a")
    worker.segment("b", "ok")
    assert isinstance(failed, Failed)
    assert str(worker.folder) in failed.received
    assert isinstance(worker.final("b"), Segmented)


def test_a_job_folder_that_is_not_there_is_named(worker: Client) -> None:
    worker.send(Segment("a", str(worker.folder / "gone"), "ok", ("i.npz",), "l.npz"))
    failed = worker.final("a")
    assert isinstance(failed, Failed)
    assert failed.code == "file"
    assert "gone" in failed.received


def test_a_python_without_torch_is_told_in_a_message(start: Callable[..., Client]) -> None:
    program = "import sys; sys.modules['torch'] = None; from unetseg.worker import run_worker; run_worker()"
    worker = start([sys.executable, "-c", program])
    worker.send(Describe("a"))
    failed = worker.final("a")
    assert isinstance(failed, Failed)
    assert (failed.code, failed.remedy) == ("device", "Install it with: pip install torch")


def test_a_real_volume_goes_through_the_real_worker(start: Callable[..., Client], tmp_path: Path) -> None:
    save_small_model(tmp_path / "model.safetensors")
    geometry = Geometry((6, 12, 14), (2.5, 1.0, 1.0), (1.0, 2.0, 3.0))
    save_array(tmp_path / "image.npz", np.zeros(geometry.shape, np.float32), geometry)
    worker = start([sys.executable, "-m", "unetseg", "worker"])
    worker.segment("a", "model.safetensors")
    segmented = worker.final("a")
    assert isinstance(segmented, Segmented), segmented
    array, found = load_array(tmp_path / "labels.npz")
    assert found.matches(geometry)
    assert array.dtype == np.uint8
    assert worker.end()[0] == 0
