from UNetSegmentLib.effort import LONGEST_PAUSE_SECONDS, EffortClock


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_time_between_signs_of_work_adds_up_until_it_is_credited():
    clock = Clock()
    effort = EffortClock(clock)
    effort.touch()
    clock.now += 5
    effort.touch()
    clock.now += 7
    assert effort.take() == 12
    clock.now += 3
    assert effort.take() == 3


def test_a_long_pause_counts_only_up_to_its_limit():
    clock = Clock()
    effort = EffortClock(clock)
    effort.touch()
    clock.now += 3600
    effort.touch()
    clock.now += 1
    assert effort.take() == LONGEST_PAUSE_SECONDS + 1


def test_nothing_is_credited_before_the_first_sign_of_work():
    clock = Clock()
    effort = EffortClock(clock)
    clock.now += 50
    assert effort.take() == 0
