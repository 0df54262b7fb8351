from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from unetseg.errors import ImageError
from unetseg.image_io import geometry_of, image_of
from unetseg.volume import Geometry

# x, y, z axes as columns: 90° about z, and z turned round (left-handed).
DIRECTION_XYZ = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def image() -> sitk.Image:
    image = sitk.Image([4, 5, 6], sitk.sitkInt16)
    image.SetSpacing((0.4, 0.5, 6.0))
    image.SetOrigin((-10.0, 20.0, 30.0))
    image.SetDirection(DIRECTION_XYZ)
    return image


def test_geometry_by_hand() -> None:
    assert geometry_of(image()) == Geometry(
        shape=(6, 5, 4),
        spacing_mm=(6.0, 0.5, 0.4),
        origin_mm=(-10.0, 20.0, 30.0),
        direction=((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 0.0)),
    )


@pytest.mark.parametrize("index_xyz", [(0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5), (1, 2, 3)])
def test_every_index_lies_where_itk_says(index_xyz: tuple[int, int, int]) -> None:
    world = geometry_of(image()).index_to_world @ [*index_xyz[::-1], 1]
    assert world[:3] == pytest.approx(image().TransformIndexToPhysicalPoint(index_xyz))


def test_there_and_back() -> None:
    geometry = geometry_of(image())
    array = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    back = image_of(array, geometry)
    assert geometry_of(back) == geometry
    assert back[3, 2, 1] == array[1, 2, 3]
    vector = image_of(np.stack([array, -array]), geometry)
    assert geometry_of(vector) == geometry
    assert vector[3, 2, 1] == (array[1, 2, 3], -array[1, 2, 3])


def test_a_2d_image_is_one_slice() -> None:
    flat = sitk.Image([4, 5], sitk.sitkUInt8)
    flat.SetSpacing((0.25, 0.5))
    flat.SetOrigin((1.0, 2.0))
    assert geometry_of(flat) == Geometry((1, 5, 4), (0.5, 0.5, 0.25), (1.0, 2.0, 0.0))


def test_a_sheared_grid_is_refused() -> None:
    sheared = image()
    sheared.SetDirection((1.0, 0.2, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    with pytest.raises(ImageError, match="Resample a sheared"):
        geometry_of(sheared)
