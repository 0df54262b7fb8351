"""Which weights are handed over, with networks of a single weight: start 2, averaged 6, student 10."""

import math

import pytest
import torch
from torch import nn

from unetseg.config import TrainingSettings
from unetseg.training.gate import AVERAGED, START, STUDENT, Candidate, Verdict, confirm, judge
from unetseg.training.state import TrainingState

BEGIN = {"weight": torch.tensor([[2.0]]), "steps": torch.tensor(3)}
HALF = Candidate(0.5)


class OneWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[10.0]]))
        self.register_buffer("steps", torch.tensor(3))


@pytest.fixture
def trained() -> TrainingState:
    state = TrainingState(OneWeight(), settings=TrainingSettings(iterations=1))
    state.average = {"weight": torch.tensor([[6.0]]), "steps": torch.tensor(3)}
    return state


def measure(**dice):
    """Dice by weight: w2 is the start model, w3, w4, w5 lie between, w6 are the averages, w10 the student."""
    return lambda weights: (dice[f"w{int(weights['weight'])}"], None)


def nothing(weights):
    """What is gained."""
    return 0.0


def unknown(weights):
    """What is gained where nothing says it."""
    return math.inf


EQUAL = {"w2": 0.5, "w3": 0.5, "w4": 0.5, "w5": 0.5, "w6": 0.5, "w10": 0.5}
RISING = {"w2": 0.5, "w3": 0.6, "w4": 0.7, "w5": 0.8, "w6": 0.85, "w10": 0.9}


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [(START, 2.0), (Candidate(0.25), 3.0), (HALF, 4.0), (Candidate(0.75), 5.0), (AVERAGED, 6.0), (STUDENT, 10.0)],
)
def test_weights_lie_on_the_line_from_the_start_model_to_the_trained_one(trained, candidate, expected):
    found = candidate.weights(BEGIN, trained)
    assert found["weight"].tolist() == [[expected]]
    assert found["steps"].item() == 3
    found["weight"].zero_()
    assert (BEGIN["weight"].item(), trained.average["weight"].item()) == (2.0, 6.0)
    assert trained.network.weight.item() == 10.0


@pytest.mark.parametrize(
    ("dice", "chosen"),
    [
        (RISING, STUDENT),
        (EQUAL | {"w6": 0.51}, AVERAGED),
        (EQUAL | {"w4": 0.51}, HALF),
        (EQUAL | {"w2": 0.51}, START),
        (EQUAL, START),
        (EQUAL | {"w5": 0.6, "w10": 0.6}, Candidate(0.75)),
    ],
)
def test_the_best_on_the_held_out_slices_wins_and_of_equals_the_earliest(trained, dice, chosen):
    verdict = judge(BEGIN, trained, measure(**dice))
    after = measure(**dice)(chosen.weights(BEGIN, trained))
    assert (verdict.candidate, verdict.before, verdict.after) == (chosen, (dice["w2"], None), after)


def test_what_forgets_more_than_a_point_is_not_handed_over(trained):
    remembered = {"w2": 0.9, "w3": 0.91, "w4": 0.8901, "w5": 0.8899, "w6": 0.5, "w10": 0.8}
    wanted = Verdict(STUDENT, (0.5,), (0.5,))
    verdict = confirm(BEGIN, trained, wanted, remembered=measure(**remembered), gained=nothing)
    assert verdict == Verdict(HALF, (0.5,), (0.5,), 0.9, 0.8901)


@pytest.mark.parametrize(("gain", "chosen"), [(0.24, AVERAGED), (0.04, Candidate(0.75)), (-0.2, HALF)])
def test_the_more_is_gained_the_more_may_be_forgotten(trained, gain, chosen):
    """A quarter of what the wanted weights gain, beside the point that is always allowed."""
    remembered = {"w2": 0.9, "w3": 0.9, "w4": 0.891, "w5": 0.881, "w6": 0.832}
    wanted = Verdict(AVERAGED, (0.5,), (0.4,))
    gained = {6.0: gain}
    verdict = confirm(
        BEGIN,
        trained,
        wanted,
        remembered=measure(**remembered),
        gained=lambda weights: gained[float(weights["weight"])],
    )
    assert verdict.candidate == chosen


def test_what_is_gained_is_measured_only_where_more_than_a_point_is_forgotten(trained):
    wanted = Verdict(AVERAGED, (0.5,), (0.6,))
    verdict = confirm(BEGIN, trained, wanted, remembered=measure(**(EQUAL | {"w6": 0.491})), gained=pytest.fail)
    assert verdict == Verdict(AVERAGED, (0.5,), (0.6,), 0.5, 0.491)


def test_without_held_out_slices_what_is_forgotten_is_told_and_stops_nothing(trained):
    remembered = EQUAL | {"w6": 0.1}
    verdict = confirm(BEGIN, trained, Verdict(AVERAGED), remembered=measure(**remembered), gained=unknown)
    assert verdict == Verdict(AVERAGED, (), (), 0.5, 0.1)


def test_where_the_start_model_is_best_it_remembers_what_it_knows(trained):
    verdict = confirm(BEGIN, trained, Verdict(START, (0.5,), (0.5,)), remembered=measure(**EQUAL), gained=unknown)
    assert verdict == Verdict(START, (0.5,), (0.5,), 0.5, 0.5)


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({"w4": 0.7, "w5": 0.696}, Candidate(0.75)),
        ({"w4": 0.7, "w5": 0.694}, HALF),  # half a point apart is told apart
        ({"w3": 0.7, "w5": 0.69, "w6": 0.697}, AVERAGED),
        ({"w6": 0.7, "w10": 0.7}, STUDENT),
    ],
)
def test_of_those_that_cannot_be_told_apart_the_farthest_wins(trained, changes, chosen):
    verdict = judge(BEGIN, trained, measure(**(EQUAL | changes)), tolerance=0.005)
    assert verdict.candidate == chosen


@pytest.mark.parametrize(
    ("wanted", "remembered", "confirmed", "left"),
    [
        (Candidate(0.75), EQUAL | {"w5": 0.496}, Candidate(0.75), 0.496),
        (STUDENT, EQUAL | {"w10": 0.6}, STUDENT, 0.6),
        (AVERAGED, EQUAL | {"w6": 0.4, "w5": 0.48}, HALF, 0.5),
        (STUDENT, EQUAL | {"w10": 0.4}, Candidate(0.75), 0.5),
        (HALF, {"w2": 0.5, "w4": 0.4, "w3": 0.4}, START, 0.5),
    ],
)
def test_the_final_weights_go_as_far_as_they_do_not_forget(trained, wanted, remembered, confirmed, left):
    found = Verdict(wanted, (0.6,), (0.61,))
    verdict = confirm(BEGIN, trained, found, remembered=measure(**remembered), gained=nothing)
    assert verdict.candidate == confirmed
    assert (verdict.remembered_before, verdict.remembered_after) == (0.5, left)
    assert verdict.before == (0.6,)
    assert verdict.after == ((0.6,) if confirmed == START else (0.61,))


def test_the_figure_of_what_is_handed_over_is_its_own(trained):
    """Half of the way is handed over, so what the whole way had reached on the held-out slices is not told."""
    wanted = judge(BEGIN, trained, measure(**(RISING | {"w10": 0.1})))
    assert (wanted.candidate, wanted.after[0]) == (AVERAGED, 0.85)
    assert [after[0] for after in wanted.of_steps] == [0.6, 0.7, 0.8, 0.85]
    remembered = measure(**(EQUAL | {"w6": 0.2, "w5": 0.3}))
    found = confirm(BEGIN, trained, wanted, remembered=remembered, gained=nothing)
    assert (found.candidate, found.after[0]) == (HALF, 0.7)


def test_without_earlier_cases_the_wanted_weights_are_the_final_ones(trained):
    wanted = Verdict(STUDENT, (0.6,), (0.8,))
    assert confirm(BEGIN, trained, wanted, remembered=None, gained=unknown) == wanted
