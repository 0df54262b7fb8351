"""Time and memory of work that runs in processes of its own, in turn with what it is compared to."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from speed_rows import Key, Row, Rows

STATUS = Path("/proc/self/status")
"""Where Linux tells what memory a process takes and has taken."""
MB = 2**20


class WorkError(Exception):
    """The process of a piece of work ended before it answered; the message is the last that it said."""


@dataclass(frozen=True)
class Work:
    """What a process does whenever it is asked.

    Attributes:
        run: is timed; it returns only when all is computed.
        judge: is not timed; it makes figures of what ``run`` has returned.
    """

    run: Callable[[], Any]
    device: torch.device
    judge: Callable[[Any], dict[str, float]] = lambda result: {}


class Worker:
    """A process that makes ready once and then works whenever asked; it begins at once to make ready.

    Args:
        target: ``module:function`` of this folder; called in the process, the function gives the ``Work``.
        arguments: of the function, as JSON.
        threads: of torch; None: as many as it chooses.
    """

    def __init__(self, target: str, arguments: Mapping[str, Any], *, threads: int | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        self._open = contextlib.ExitStack()
        self._said = self._open.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115 (closed with it)
        self._process = self._open.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", "import speed; speed.serve()", target, json.dumps(arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=environment,
                encoding="utf-8",
            )
        )
        self._asked = 0

    def wait(self) -> None:
        """Return when it is ready, or has ended."""
        self._process.stdout.readline()

    def measure(self, key: Key) -> Row:
        """Do the work once, after ``wait``. Raises ``WorkError`` where the process does not survive it."""
        with contextlib.suppress(BrokenPipeError):  # of a process that has ended, which has no answer either
            os.write(self._process.stdin.fileno(), b"\n")
        answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            self._said.seek(0)
            lines = self._said.read().strip().splitlines()
            raise WorkError(lines[-1] if lines else f"ended with status {status}")
        self._asked += 1
        return Row(key, cold=self._asked == 1, **json.loads(answer))

    def close(self) -> None:
        """End the process."""
        self._open.close()


def serve() -> None:
    """The worker's side: prepare, then one line of JSON for each line of standard input."""
    target, arguments = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what others print is no answer
    module, function = target.split(":")
    work = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    base = _memory(work.device, peak=False)
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        result = work.run()
        seconds = time.perf_counter() - began
        peak = _memory(work.device, peak=True)
        memory = None if base is None or peak is None else (peak - base) / MB
        figures = work.judge(result)
        print(json.dumps({"seconds": seconds, "memory_mb": memory, "figures": figures}), file=answers, flush=True)


def _memory(device: torch.device, *, peak: bool) -> int | None:
    """Bytes in use now, or the most that ever was; None where the system does not tell.

    On the CPU not ``ru_maxrss``: it starts at what the parent process had taken.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) if peak else torch.cuda.memory_allocated(device)
    if device.type != "cpu" or not STATUS.is_file():
        return None
    name = "VmHWM:" if peak else "VmRSS:"
    (line,) = (line for line in STATUS.read_text("utf-8").splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


class Clock:
    """Tells when nothing more is to be begun; ``minutes``: None is never."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end


def measure_in_turn(
    rows: Rows, contestants: Sequence[tuple[Key, int, Callable[[], Worker]]], clock: Clock
) -> dict[Key, str]:
    """One measurement of each, then the second of each, ….

    Args:
        contestants: the key, the number of turns and the worker of each. All workers make ready before the first turn,
            so that none disturbs a measurement, and end after their last.

    Returns:
        Those that failed, and what they said; of one that did nothing more is measured.
    """
    wanted = {key: turns for key, turns, _ in contestants}
    left = {key for key in wanted if any(replace(key, turn=turn) not in rows for turn in range(wanted[key]))}
    workers = {key: make() for key, _, make in contestants if key in left and not clock.is_over}
    failed: dict[Key, str] = {}
    try:
        for worker in workers.values():
            worker.wait()
        for turn in range(max(wanted.values(), default=0)):
            for key in list(workers):
                if turn < wanted[key] and replace(key, turn=turn) not in rows and not clock.is_over:
                    try:
                        rows.add(workers[key].measure(replace(key, turn=turn)))
                    except WorkError as error:
                        failed[key] = str(error)
                if turn + 1 >= wanted[key] or key in failed:
                    workers.pop(key).close()
    finally:
        for worker in workers.values():
            worker.close()
    return failed
