from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from unetseg.data import keep_slices
from unetseg.data.scribbles import with_background_beyond_lines
from unetseg.volume import Geometry, LabelMap

SHAPE = (3, 40, 50)


def ring(first: int = 10, last: int = 20) -> NDArray[np.uint8]:
    """A slice with a square line of background around a cross of structures."""
    plane = np.full(SHAPE[1:], 255, dtype=np.uint8)
    plane[first : last + 1, first : last + 1] = 0
    plane[first + 1 : last, first + 1 : last] = 255
    plane[15, 13:18] = 1
    plane[13:15, 15] = 2
    return plane


def volume(**slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``z1=plane`` on its slice, nothing on the others."""
    array = np.full(SHAPE, 255, dtype=np.uint8)
    for name, plane in slices.items():
        array[int(name[1:])] = plane
    return array


def test_beyond_a_closed_line_is_background_as_densely_as_the_rest_is_labelled() -> None:
    given = volume(z1=ring())
    made = with_background_beyond_lines(given)
    beyond = np.ones(SHAPE[1:], dtype=bool)
    beyond[10:21, 10:21] = False
    assert (made[[0, 2]] == 255).all()
    assert (made[1][~beyond] == given[1][~beyond]).all()
    assert set(np.unique(made[1][beyond])) == {0, 255}
    # 40 voxels of the line and 7 of the structures in a square of 121.
    expected = beyond.sum() * 47 / 121
    assert np.count_nonzero(made[1][beyond] == 0) == pytest.approx(expected, rel=0.1)
    assert (given == volume(z1=ring())).all()


def test_the_same_scribbles_give_the_same_labels() -> None:
    first, second = (with_background_beyond_lines(volume(z0=ring(), z2=ring(9, 21))) for _ in range(2))
    assert (first == second).all()


def test_a_line_with_a_gap_says_nothing() -> None:
    plane = ring()
    plane[10, 15] = 255
    assert (with_background_beyond_lines(volume(z1=plane)) == volume(z1=plane)).all()


def test_a_line_whose_voxels_touch_by_corners_is_closed() -> None:
    plane = np.full(SHAPE[1:], 255, dtype=np.uint8)
    h, w = np.indices(plane.shape)
    distance = np.abs(h - 15) + np.abs(w - 20)
    plane[distance == 6] = 0
    plane[15, 20] = 1
    made = with_background_beyond_lines(volume(z1=plane))[1]
    assert (made[(distance < 6) & (distance > 0)] == 255).all()
    assert (made[distance > 6] == 0).any()


def test_a_slice_without_a_structure_says_nothing() -> None:
    only_background = np.where(ring() == 0, np.uint8(0), np.uint8(255))
    given = volume(z0=only_background, z1=ring())
    assert (with_background_beyond_lines(given)[0] == only_background).all()


def test_a_structure_beyond_the_line_keeps_its_surroundings_unlabelled() -> None:
    plane = ring()
    plane[30, 40:45] = 1
    assert (with_background_beyond_lines(volume(z1=plane)) == volume(z1=plane)).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_slices_lie_in_the_direction_that_was_scribbled_in(axis: int) -> None:
    given = np.ascontiguousarray(np.moveaxis(volume(z1=ring()), 0, axis))
    made = np.moveaxis(with_background_beyond_lines(given), axis, 0)
    assert (made[[0, 2]] == 255).all()
    assert (made[1, 10:21, 10:21] == ring()[10:21, 10:21]).all()
    assert (made[1, :10] == 0).any()


def test_labelled_slices_and_dense_labels_stay_as_they_are() -> None:
    truth = np.zeros((12, 14, 16), dtype=np.uint8)
    truth[4:8, 2:6, 2:6] = 1
    # Two crossing slices bound quadrants that only background touches.
    crossing = keep_slices(LabelMap(truth, Geometry((12, 14, 16))), [(1, 4), (2, 10)]).array
    for annotation in (truth, crossing):
        assert with_background_beyond_lines(annotation) is annotation


def test_it_loads_without_torch() -> None:
    code = "import sys, unetseg.data.scribbles; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
