import pytest
import qt
import slicer

from UNetSegmentLib import idle
from UNetSegmentLib.idle import IdleTasks


@pytest.fixture
def tasks(slicerApp):
    tasks = IdleTasks()
    yield tasks
    tasks.close()


def counting(seen, upTo, result=None):
    for number in range(upTo):
        seen.append(number)
        yield
    return result


def untilIdle(tasks, key):
    while tasks.busy(key):
        slicer.app.processEvents()


def test_a_task_is_done_by_the_event_loop_and_hands_over_what_it_returns(tasks):
    seen, results = [], []
    tasks.run("count", counting(seen, 3, "done"), results.append)
    assert seen == []
    untilIdle(tasks, "count")
    assert (seen, results) == ([0, 1, 2], ["done"])


def test_a_turn_ends_after_its_share_of_time_so_that_other_events_come_through(tasks, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(idle.time, "perf_counter", lambda: next(clock) * idle.SECONDS_PER_TURN / 2)
    seen, others = [], []
    timer = qt.QTimer()
    timer.setInterval(0)
    timer.connect("timeout()", lambda: others.append(len(seen)))
    timer.start()
    tasks.run("count", counting(seen, 6))
    untilIdle(tasks, "count")
    timer.stop()
    assert len(set(others)) >= 3


def test_a_task_of_the_same_key_takes_the_place_of_the_earlier(tasks):
    first, second, results = [], [], []
    tasks.run("scan", counting(first, 5), results.append)
    tasks.run("scan", counting(second, 2, "second"), results.append)
    tasks.drain()
    assert (first, second, results) == ([], [0, 1], ["second"])


def test_a_cancelled_task_cleans_up_and_calls_nobody(tasks):
    events = []

    def steps():
        try:
            yield
            yield
        finally:
            events.append("cleaned")

    tasks.run("job", steps(), lambda result: events.append("done"), lambda error: events.append("failed"))
    slicer.app.processEvents()
    tasks.cancel("job")
    tasks.cancel("job")
    assert "done" not in events[:-1]
    assert not tasks.busy("job")


def test_a_failure_goes_to_its_handler_and_leaves_the_others_running(tasks):
    errors, results = [], []

    def failing():
        yield
        raise ValueError("made up")

    tasks.run("bad", failing(), onError=errors.append)
    tasks.run("good", counting([], 3, "good"), results.append)
    tasks.drain()
    assert [str(error) for error in errors] == ["made up"]
    assert results == ["good"]


def test_without_a_handler_a_failure_is_not_swallowed(tasks):
    def failing():
        raise ValueError("made up")
        yield

    tasks.run("bad", failing())
    with pytest.raises(ValueError, match="made up"):
        tasks.drain()
    assert not tasks.busy("bad")


def test_a_task_may_start_the_next_one_under_its_own_key(tasks):
    results = []

    def again(result):
        results.append(result)
        if len(results) < 3:
            tasks.run("scan", counting([], 1, len(results)), again)

    tasks.run("scan", counting([], 1, 0), again)
    tasks.drain("scan")
    assert results == [0, 1, 2]


def test_draining_one_key_leaves_the_other_where_it_is(tasks):
    first, second = [], []
    tasks.run("first", counting(first, 3))
    tasks.run("second", counting(second, 3))
    tasks.drain("second")
    assert (first, second) == ([], [0, 1, 2])


def test_a_failure_of_the_receiver_goes_to_the_same_handler(tasks):
    errors = []

    def receive(result):
        raise ValueError(f"cannot use {result}")

    tasks.run("count", counting([], 1, "this"), receive, errors.append)
    tasks.drain()
    assert [str(error) for error in errors] == ["cannot use this"]


def test_tasks_take_turns_so_that_a_long_one_keeps_no_other_waiting(tasks):
    order = []

    def noting(name, count):
        for _ in range(count):
            order.append(name)
            yield

    tasks.run("long", noting("long", 100))
    tasks.run("short", noting("short", 2))
    untilIdle(tasks, "short")
    assert order.index("short") == 1
    assert order[:4].count("short") == 2
