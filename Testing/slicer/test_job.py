import os
import shutil
import stat
import sys
import time

import pytest
import qt
import slicer

from unetseg.errors import ProtocolError
from unetseg.messages import Cancel, Capabilities, Describe, Release
from unetseg.protocol import MAX_LINE_BYTES, encode
from UNetSegmentLib import child_process, process_tree
from UNetSegmentLib.child_process import LaunchCommand
from UNetSegmentLib.install import explainFailure
from UNetSegmentLib.job import SECONDS_UNTIL_UNRESPONSIVE, WorkerProcess
from UNetSegmentLib.process_tree import descendants

SECONDS_TO_WAIT = 30.0
SPEAK = f"""
import os, signal, sys, time
sys.path.insert(0, {os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "trainer")!r})
from unetseg.messages import Capabilities, Failed, Progress
from unetseg.protocol import decode, encode
def say(message): sys.stdout.write(encode(message)); sys.stdout.flush()
def answer(line): return Capabilities(decode(line).id, (), (), (), (), (), {{}})
"""
ANSWER = SPEAK + "for line in sys.stdin:\n    say(answer(line)) if 'Describe' in line else None\n"


class Client:
    """A worker's other end, with what it has heard."""

    def __init__(self, program, **options):
        self.replies, self.ends, self.silences, self.times = [], [], [], [0.0]
        self.process = WorkerProcess(lambda: program, clock=lambda: self.times[0], **options)
        self.process.replied.connect(self.replies.append)
        self.process.ended.connect(lambda error, details: self.ends.append((error, details)))
        self.process.unresponsive.connect(self.silences.append)
        self.process.responsive.connect(lambda: self.silences.append("spoke"))
        self.process.timer.setInterval(3_600_000)

    def describe(self, name="r1"):
        self.process.send(Describe(name))

    def until(self, condition):
        end = time.monotonic() + SECONDS_TO_WAIT
        while not condition():
            slicer.app.processEvents()
            time.sleep(0.002)
            assert time.monotonic() < end, self.process.log()

    def tick(self, seconds):
        """A second of the watch at a time."""
        for _ in range(int(seconds)):
            self.times[0] += 1.0
            self.process.timer.timeout.emit()

    def processId(self):
        return self.process._run._process.processId()


@pytest.fixture
def client(slicerApp):
    clients = []

    def start(source, **options):
        program = source if isinstance(source, LaunchCommand) else python(source)
        clients.append(Client(program, **options))
        return clients[-1]

    yield start
    for one in clients:
        one.process.close()


def python(source):
    return LaunchCommand(sys.executable, ("-c", source), dict(os.environ))


def launched(source):
    """As ``PythonSlicer``: a program that only starts the real one and waits for it."""
    launcher = f"import subprocess, sys; sys.exit(subprocess.call([{sys.executable!r}, '-c', sys.argv[1]]))"
    return LaunchCommand(sys.executable, ("-c", launcher, source), dict(os.environ))


def gone(processId):
    try:
        os.kill(processId, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_request_starts_the_process_and_the_next_one_finds_it_warm(client):
    one = client(ANSWER)
    assert not one.process.running
    one.describe("r1")
    one.until(lambda: len(one.replies) == 1)
    first = one.processId()
    one.describe("r2")
    one.until(lambda: len(one.replies) == 2)
    assert one.replies == [Capabilities(name, (), (), (), (), (), {}) for name in ("r1", "r2")]
    assert (one.processId(), one.ends) == (first, [])


@pytest.mark.parametrize("request_", [Cancel("c", job="r1"), Release("r")])
def test_what_has_nothing_to_end_starts_no_process(client, request_):
    one = client(ANSWER)
    one.process.send(request_)
    assert not one.process.running


def test_a_program_that_is_not_there_is_named_with_a_way_out(client):
    one = client(LaunchCommand("/no/such/python", (), {}))
    one.describe()
    one.until(lambda: one.ends)
    ((error, _details),) = one.ends
    assert error.received == "/no/such/python"
    assert "Settings" in error.remedy
    assert not one.process.running


def test_a_file_that_is_no_program_cannot_be_started(client, tmp_path):
    file = tmp_path / "python"
    file.write_bytes(b"not a program")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    one = client(LaunchCommand(str(file), (), {}))
    one.describe()
    one.until(lambda: one.ends)
    ((error, details),) = one.ends
    assert "another kind of computer" in explainFailure(details, error).rule


def test_a_system_that_refuses_a_program_at_once_is_heard_too(client, monkeypatch):
    class Refused(qt.QProcess):
        """As QProcess on Windows: the error comes before ``start`` returns."""

        def start(self, program, arguments):
            self.errorOccurred.emit(qt.QProcess.FailedToStart)

    monkeypatch.setattr(child_process.qt, "QProcess", Refused)
    one = client(LaunchCommand("python", (), {}))
    one.describe()
    assert len(one.ends) == 1
    assert not one.process.running


def test_a_request_that_cannot_be_sent_is_not_waited_for(client):
    one = client(ANSWER)
    with pytest.raises(ProtocolError, match="at most"):
        one.process.send(Describe("r1", models=("x" * MAX_LINE_BYTES,)))
    one.describe("r2")
    one.until(lambda: one.replies)
    one.tick(SECONDS_UNTIL_UNRESPONSIVE + 1)
    assert one.silences == []


@pytest.mark.parametrize("death", ["os.kill(os.getpid(), 9)", "sys.exit(137)"])
def test_what_the_system_ends_has_most_often_run_out_of_memory(client, death):
    one = client(SPEAK + "sys.stdin.readline();" + death)
    one.describe()
    one.until(lambda: one.ends)
    assert "memory" in one.ends[0][0].rule


@pytest.mark.parametrize(
    "death",
    ["os.kill(os.getpid(), 9)", "sys.exit(0)", "sys.exit(3)", "raise ModuleNotFoundError('made up')", "os.abort()"],
)
def test_a_process_that_ends_without_an_answer_is_told_once_with_the_end_of_its_log(client, death):
    one = client(SPEAK + "print('the log – ü', file=sys.stderr); sys.stderr.flush(); sys.stdin.readline();" + death)
    one.describe()
    one.until(lambda: one.ends)
    ((error, details),) = one.ends
    assert "as they were" in error.rule
    assert "the log – ü" in details
    assert "exit code" in details
    assert not one.process.running


def test_after_a_death_the_next_request_starts_anew(client, tmp_path):
    flag = tmp_path / "flag"
    source = SPEAK + (
        f"line = sys.stdin.readline()\nif not os.path.exists({str(flag)!r}):\n"
        f"    open({str(flag)!r}, 'w').close(); os.kill(os.getpid(), 9)\nsay(answer(line)); sys.stdin.read()"
    )
    one = client(source)
    one.describe("r1")
    one.until(lambda: one.ends)
    one.describe("r2")
    one.until(lambda: one.replies)
    assert [reply.request for reply in one.replies] == ["r2"]


def test_the_end_of_a_process_that_nobody_waits_for_is_no_failure(client):
    one = client(SPEAK + "say(answer(sys.stdin.readline()))")
    one.describe()
    one.until(lambda: one.replies and not one.process.running)
    assert one.ends == []


def test_a_program_that_is_no_worker_is_told_at_once(client):
    one = client("print('Python 2.7'); import sys; sys.stdin.read()")
    one.describe()
    one.until(lambda: one.ends)
    ((error, details),) = one.ends
    assert "Python in which UNetSegment can run" in error.rule
    assert error.received == ""
    assert "JSON" in details


def test_a_stray_line_of_a_worker_goes_to_the_log_and_harms_nothing(client):
    one = client(
        SPEAK
        + "l=sys.stdin.readline(); say(Progress('r1','reading',0.0)); print('stray {')\n"
        + "say(answer(l)); sys.stdin.read()"
    )
    one.describe()
    one.until(lambda: len(one.replies) == 2)
    assert "JSON" in one.process.log()
    assert one.ends == []


def test_a_line_longer_than_any_message_is_dropped_in_bounded_memory(client):
    one = client(
        SPEAK
        + "l=sys.stdin.readline(); say(Progress('r1','reading',0.0))\n"
        + "for _ in range(50): sys.stdout.write('x'*1_000_000)\n"
        + "print(); say(answer(l)); sys.stdin.read()"
    )
    one.describe()
    one.until(lambda: len(one.replies) == 2)
    assert len(one.process._run._buffer) <= MAX_LINE_BYTES
    assert isinstance(one.replies[-1], Capabilities)


def test_a_message_may_come_in_pieces(client):
    one = client(
        SPEAK
        + "data=encode(answer(sys.stdin.readline())).encode()\n"
        + "for i in range(0,len(data),7): sys.stdout.buffer.write(data[i:i+7]); sys.stdout.flush(); time.sleep(0.001)\n"
        + "sys.stdin.read()"
    )
    one.describe()
    one.until(lambda: one.replies)
    assert one.replies[0].request == "r1"


def test_replies_to_unknown_requests_and_second_answers_are_dropped(client):
    one = client(
        SPEAK
        + "l=sys.stdin.readline(); say(Capabilities('other',(),(),(),(),(),{})); say(answer(l)); say(answer(l))\n"
        + "say(answer(sys.stdin.readline())); sys.stdin.read()"
    )
    one.describe("r1")
    one.until(lambda: one.replies)
    one.describe("r2")
    one.until(lambda: len(one.replies) == 2)
    assert [reply.request for reply in one.replies] == ["r1", "r2"]


def test_another_version_of_the_protocol_is_refused(client):
    line = encode(Capabilities("r1", (), (), (), (), (), {})).replace('"version": 1', '"version": 99')
    one = client(f"import sys; sys.stdin.readline(); sys.stdout.write({line!r}); sys.stdout.flush(); sys.stdin.read()")
    one.describe()
    one.until(lambda: one.ends)
    assert "99" in one.ends[0][1]


def test_a_refusal_of_the_line_itself_ends_the_wait(client):
    one = client(
        SPEAK + "sys.stdin.readline(); say(Failed(None,'protocol','The rule','this','The remedy')); sys.stdin.read()"
    )
    one.describe()
    one.until(lambda: one.ends)
    assert (one.ends[0][0].rule, one.ends[0][0].remedy) == ("The rule", "The remedy")


def test_a_silent_process_is_told_once_and_again_when_it_speaks(client):
    one = client(SPEAK + "l=sys.stdin.readline(); sys.stdin.readline(); say(answer(l)); sys.stdin.read()")
    one.describe()
    one.tick(SECONDS_UNTIL_UNRESPONSIVE - 1)
    assert one.silences == []
    one.tick(10)
    assert one.silences == [SECONDS_UNTIL_UNRESPONSIVE]
    one.process._run.write(b"\n")
    one.until(lambda: one.replies)
    assert one.silences[-1] == "spoke"


def test_hours_of_sleep_of_the_computer_are_no_silence_of_the_worker(client):
    one = client(SPEAK + "sys.stdin.read()")
    one.describe()
    one.tick(10)
    one.times[0] += 8 * 3600
    one.process.timer.timeout.emit()
    one.tick(10)
    assert one.silences == []


def test_nobody_is_told_of_silence_while_nothing_is_asked(client):
    one = client(ANSWER)
    one.describe()
    one.until(lambda: one.replies)
    one.tick(SECONDS_UNTIL_UNRESPONSIVE * 2)
    assert one.silences == []


def test_an_idle_process_is_released_and_the_next_request_starts_another(client):
    one = client(ANSWER, idleMinutes=2)
    one.describe("r1")
    one.until(lambda: one.replies)
    first = one.processId()
    one.tick(119)
    assert one.process.running
    one.tick(2)
    assert not one.process.running
    one.until(lambda: gone(first))
    one.describe("r2")
    one.until(lambda: len(one.replies) == 2)
    assert one.ends == []


def test_shutting_down_forgets_what_waits_and_a_deaf_process_is_killed(client, monkeypatch):
    monkeypatch.setattr(child_process, "SECONDS_TO_END", 0.05)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); say(Progress('r1','x',0.0)); time.sleep(600)"
    one = client(SPEAK + "sys.stdin.readline();" + deaf)
    one.describe()
    one.until(lambda: one.replies)
    process = one.processId()
    one.process.shutdown()
    assert not one.process.running
    one.until(lambda: gone(process))
    assert one.ends == []


def test_shutting_down_ends_also_a_frozen_child_of_a_launcher(client, monkeypatch):
    monkeypatch.setattr(child_process, "SECONDS_TO_END", 0.05)
    inner = SPEAK + "sys.stdin.readline(); say(Progress('r1','x',0.0)); os.kill(os.getpid(), signal.SIGSTOP)"
    one = client(launched(inner))
    one.describe()
    one.until(lambda: one.replies)
    tree = [one.processId(), *descendants(one.processId())]
    assert len(tree) == 2
    one.process.shutdown()
    one.until(lambda: all(gone(process) for process in tree))


def test_no_process_outlives_a_window_that_ends_without_a_word(client):
    one = client(launched(SPEAK + "sys.stdin.readline(); say(Progress('r1','x',0.0)); sys.stdin.read()"))
    one.describe()
    one.until(lambda: one.replies)
    tree = [one.processId(), *descendants(one.processId())]
    one.process._run._process.blockSignals(True)
    one.process._run._process.delete()
    one.until(lambda: all(gone(process) for process in tree))
    one.process._forget()


def test_killing_ends_also_what_a_launcher_has_started(client):
    one = client(launched(SPEAK + "sys.stdin.readline(); say(Progress('r1','x',0.0)); time.sleep(600)"))
    one.describe()
    one.until(lambda: one.replies)
    tree = [one.processId(), *descendants(one.processId())]
    assert len(tree) == 2
    one.process.kill()
    one.until(lambda: one.ends)
    assert "stopped" in one.ends[0][0].rule
    one.until(lambda: all(gone(process) for process in tree))


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ps is the only way")
def test_both_ways_to_look_find_this_process(client):
    for parents in (process_tree._parentsByProc(), process_tree._parentsByPs()):
        assert (os.getpid(), os.getppid()) in parents


def test_closing_waits_for_the_end_and_tells_nobody(client):
    one = client(SPEAK + "sys.stdin.read()")
    one.describe()
    process = one.processId()
    one.process.close()
    assert gone(process)
    assert one.ends == []


def test_the_log_is_bounded_and_keeps_its_end(client):
    shout = "sys.stderr.write('x'*1_000_000+'the end'); sys.stderr.flush()"
    one = client(SPEAK + f"l=sys.stdin.readline(); {shout}; say(answer(l)); sys.stdin.read()")
    one.describe()
    one.until(lambda: one.replies and one.process.log().endswith("the end"))
    assert len(one.process.log()) == child_process.LOG_BYTES
