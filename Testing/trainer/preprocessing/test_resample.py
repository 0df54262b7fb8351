from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unetseg.errors import ImageError
from unetseg.preprocessing.resample import network_grid, positions, resample_image
from unetseg.volume import Geometry


def test_positions_have_coinciding_outer_faces() -> None:
    assert positions(4, 1.0, 2.0).tolist() == [-0.25, 0.25, 0.75, 1.25]
    assert positions(2, 2.0, 1.0).tolist() == [0.5, 2.5]
    assert positions(3, 1.0, 1.0).tolist() == [0, 1, 2]


def test_an_axis_is_kept_where_the_spacing_is_the_same_or_zero() -> None:
    geometry = Geometry((10, 20, 30), (5.0, 1.0, 1.0005))
    assert network_grid(geometry, (0.0, 1.0, 1.0)) == geometry
    grid = network_grid(geometry, (0.0, 2.0, 1.0))
    assert grid.shape == (10, 10, 30)
    assert grid.spacing_mm == (5.0, 2.0, 1.0005)


def test_a_grid_too_large_to_compute_is_refused_with_a_way_out() -> None:
    with pytest.raises(ImageError, match=r"2³¹ voxels.*Received: shape \(100, 100, 100\).*Check the spacing"):
        network_grid(Geometry((100, 100, 100), (10.0, 10.0, 10.0)), (0.1, 0.1, 0.1))


def test_the_same_grid_is_not_touched() -> None:
    geometry = Geometry((2, 3, 4))
    image = np.ones((1, 2, 3, 4), dtype=np.float32)
    assert resample_image(image, geometry, geometry) is image


def test_a_ramp_in_millimetres_stays_a_ramp() -> None:
    source = Geometry((1, 1, 6), (1.0, 1.0, 2.0))
    target = source.with_spacing((1.0, 1.0, 1.0))
    ramp = np.array([1, 3, 5, 7, 9, 11], dtype=np.float32).reshape(1, 1, 1, 6)  # millimetres from the left face
    result = resample_image(ramp, source, target)
    # The centres of the new voxels lie at 0.5, 1.5, …; beyond the outermost old centres the value stays.
    expected = [1, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11]
    assert result.ravel().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("target_mm", [(1.7, 0.9, 2.0), (5.0, 0.3, 0.31), (2.0, 2.0, 2.0)])
def test_it_is_linear_interpolation_whatever_the_direction(target_mm: tuple[float, float, float]) -> None:
    direction = ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (-1.0, 0.0, 0.0))
    source = Geometry((5, 8, 9), (2.0, 0.7, 0.6), (3.0, -70.0, 1e5), direction)
    target = source.with_spacing(target_mm)
    image = np.random.default_rng(0).normal(size=(2, 5, 8, 9)).astype(np.float32)
    at = np.meshgrid(
        *(positions(target.shape[a], target.spacing_mm[a], source.spacing_mm[a]) for a in range(3)), indexing="ij"
    )
    expected = [ndimage.map_coordinates(channel, at, order=1, mode="nearest") for channel in image]
    assert np.abs(resample_image(image, source, target) - np.stack(expected)).max() < 1e-5
