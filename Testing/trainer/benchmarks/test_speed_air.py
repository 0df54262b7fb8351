"""The count of what would not need to be computed."""

from __future__ import annotations

import numpy as np

from speed_air import inner, shares, surrounded


def test_a_voxel_is_surrounded_where_nothing_else_is_within_reach() -> None:
    mask = np.ones((7, 5, 5), bool)
    mask[3, 2, 2] = False
    expected = np.ones_like(mask)
    expected[2:5, 2, 1:4] = False
    assert (surrounded(mask, (1, 0, 1)) == expected).all()


def test_the_border_is_what_the_field_crosses() -> None:
    assert np.zeros((10, 4, 6))[inner((10, 4, 6), (2, 2, 1))].shape == (6, 0, 4)


def test_the_shares_are_counted() -> None:
    dark = np.ones((10, 10, 10), bool)
    assert shares(dark, (4, 4, 4)) == ["100.0%", "100.0%", "100.0%", "0.8%"]
    dark[5, 5, 5] = False  # 5³ voxels have it in the first level's field, 9³ in the whole one, with the inner 2³
    assert shares(dark, (4, 4, 4)) == ["99.9%", "87.5%", "27.1%", "0.0%"]
