"""Measuring a network: on which part of a case, and what counts."""

import numpy as np
import pytest

from unetseg.data import PreparedCase
from unetseg.training.validation import labelled_part
from unetseg.volume import UNLABELLED


def case_with(annotation: np.ndarray) -> PreparedCase:
    """The image counts the voxels, so that a part tells where it was taken."""
    image = np.arange(annotation.size, dtype=np.float32).reshape(1, *annotation.shape)
    return PreparedCase("case", image, annotation, None, (2.0, 1.0, 1.0))


def place_of(part: PreparedCase, case: PreparedCase) -> list[tuple[int, int]]:
    """First and last index along each axis."""
    shape = case.annotation.shape
    corners = [np.unravel_index(int(value), shape) for value in (part.image.min(), part.image.max())]
    return [(int(first), int(last)) for first, last in zip(*corners, strict=True)]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (20, (12, 27)),  # 8 before and 7 behind
        (21, (12, 27)),  # begins at a multiple of 4
        (22, (16, 31)),
        (0, (0, 15)),
        (39, (24, 39)),
    ],
)
def test_one_slice_takes_one_layer_of_patches_that_is_pooled_as_the_whole_case_is(index, expected):
    annotation = np.full((40, 64, 64), UNLABELLED, np.uint8)
    annotation[index] = 0
    annotation[index, 30:34, 10:21] = 1
    part = labelled_part(case := case_with(annotation), (16, 24, 8), (4, 4, 4))
    # Along H 4 and along W 11 voxels of structure, with about half a patch on either side.
    assert place_of(part, case) == [expected, (20, 46), (8, 25)]
    assert np.count_nonzero(part.annotation == 1) == 4 * 11


def test_where_an_odd_extent_ends_the_part_reaches_its_end():
    annotation = np.full((41, 8, 8), UNLABELLED, np.uint8)
    annotation[40] = 1
    part = labelled_part(case := case_with(annotation), (16, 8, 8), (4, 4, 4))
    assert place_of(part, case) == [(24, 40), (0, 7), (0, 7)]


def test_every_labelled_structure_is_inside_also_with_patches_as_short_as_the_pooling():
    for index in range(20):
        annotation = np.full((20, 8, 8), UNLABELLED, np.uint8)
        annotation[index, 2:6, 2:6] = 1
        part = labelled_part(case_with(annotation), (8, 8, 8), (8, 8, 8))
        assert np.count_nonzero(part.annotation == 1) == 16


def test_for_a_2d_network_no_other_slice_is_taken():
    annotation = np.full((9, 32, 32), UNLABELLED, np.uint8)
    annotation[6] = 1
    part = labelled_part(case := case_with(annotation), (1, 16, 16), (4, 4))
    assert place_of(part, case) == [(6, 6), (0, 31), (0, 31)]


def test_without_a_structure_the_part_lies_around_the_labelled_background():
    annotation = np.full((40, 8, 8), UNLABELLED, np.uint8)
    annotation[20] = 0
    part = labelled_part(case := case_with(annotation), (8, 8, 8), (2, 2, 2))
    assert place_of(part, case) == [(16, 23), (0, 7), (0, 7)]
    assert (
        labelled_part(unlabelled := case_with(np.full_like(annotation, UNLABELLED)), (8, 8, 8), (2, 2, 2)) is unlabelled
    )
