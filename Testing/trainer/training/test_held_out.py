import dataclasses

import numpy as np
import pytest

from unetseg.data import Case
from unetseg.training.held_out import choose_held_out
from unetseg.volume import UNLABELLED, Geometry, LabelMap, Volume

SHAPE = (8, 6, 6)


def case_with(slices, *, name="case"):
    """Labelled slices along D: of each index the structures that it shows."""
    annotation = np.full(SHAPE, UNLABELLED, np.uint8)
    for index, shown in slices.items():
        annotation[index] = 0
        for value in shown:
            annotation[index, value, 1:4] = value
    geometry = Geometry(SHAPE)
    return Case(name, Volume(np.zeros((1, *SHAPE), np.float32), geometry), LabelMap(annotation, geometry))


@pytest.mark.parametrize(("rotation", "index"), [(0, 1), (1, 4), (2, 6), (3, 1), (2**64 - 1, 1)])
def test_of_three_slices_another_one_is_held_out_each_time(rotation, index):
    assert choose_held_out([case_with({1: [1], 4: [1], 6: [1]})], rotation=rotation) == {"case": ((0, index),)}


def test_only_what_the_other_slices_show_as_well_is_spared():
    case = case_with({1: [1], 3: [], 4: [1, 2], 6: [1, 3], 7: [2]})  # structure 3 is on slice 6 only
    assert {choose_held_out([case], rotation=rotation)["case"] for rotation in range(6)} == {
        ((0, 1),),
        ((0, 4),),
        ((0, 7),),
    }


def test_each_case_gives_one_slice_unless_it_needs_all():
    cases = [
        case_with({1: [1], 4: [1], 6: [1]}, name="three"),
        case_with({1: [1], 4: [1]}, name="two"),
        case_with({1: [1], 4: [2], 6: [3]}, name="all different"),
        case_with({1: [], 4: [], 6: []}, name="background"),
        case_with({index: [1] for index in range(8)}, name="dense"),
        dataclasses.replace(case_with({}), name="unlabelled", annotation=None),
    ]
    assert choose_held_out(cases, rotation=1) == {"three": ((0, 4),)}


def test_a_slice_across_the_others_may_be_held_out():
    case = case_with({1: [1], 4: [1]})
    case.annotation.array[:, :, 2] = 0
    case.annotation.array[2:5, 1, 2] = 1
    assert [choose_held_out([case], rotation=rotation)["case"] for rotation in range(3)] == [
        ((0, 1),),
        ((0, 4),),
        ((2, 2),),
    ]


def test_a_structure_seen_only_on_the_crossing_line_is_not_spared():
    case = case_with({1: [], 4: [1]})
    case.annotation.array[:, :, 2] = 0
    case.annotation.array[1, 2, 2] = 2  # on slice 1 and on the crossing one: gone with either
    case.annotation.array[4, 1, 2] = 1  # structure 1 is gone without slice 4
    assert choose_held_out([case], rotation=0) == {}
