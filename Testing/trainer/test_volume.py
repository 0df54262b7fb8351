from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from unetseg.errors import ImageError
from unetseg.volume import Geometry, LabelMap, Volume

OBLIQUE = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (1.0, 0.0, 0.0))
GEOMETRY = Geometry((4, 5, 6), (2.0, 0.5, 0.25), (10.0, 20.0, 30.0), OBLIQUE)


def test_index_to_world_by_hand() -> None:
    # D: 2 mm along z; H: 0.5 mm along (0.6, -0.8, 0); W: 0.25 mm along (0.8, 0.6, 0).
    world = GEOMETRY.index_to_world @ [3, 2, 4, 1]
    assert world == pytest.approx([10 + 0.6 + 0.8, 20 - 0.8 + 0.6, 30 + 6, 1])
    assert GEOMETRY.voxel_volume_mm3 == 0.25


def test_the_default_axes_are_those_of_simpleitk() -> None:
    assert Geometry((1, 1, 1)).index_to_world @ [1, 2, 3, 1] == pytest.approx([3, 2, 1, 1])


def test_a_crop_starts_where_its_first_voxel_lay() -> None:
    crop = GEOMETRY.cropped((1, -2, 3), (2, 9, 1))
    assert crop.shape == (2, 9, 1)
    assert crop.index_to_world @ [0, 0, 0, 1] == pytest.approx(GEOMETRY.index_to_world @ [1, -2, 3, 1])
    assert crop.index_to_world @ [1, 2, -3, 1] == pytest.approx(GEOMETRY.index_to_world @ [2, 0, 0, 1])


def test_another_spacing_keeps_the_outer_faces() -> None:
    other = GEOMETRY.with_spacing((1.0, 0.25, 0.75))
    assert other.shape == (8, 10, 2)
    first_face, last_face = [-0.5] * 3, [size - 0.5 for size in GEOMETRY.shape]
    assert other.index_to_world @ [-0.5, -0.5, -0.5, 1] == pytest.approx(GEOMETRY.index_to_world @ [*first_face, 1])
    assert other.index_to_world @ [7.5, 9.5, 1.5, 1] == pytest.approx(GEOMETRY.index_to_world @ [*last_face, 1])
    assert GEOMETRY.with_spacing(GEOMETRY.spacing_mm) == GEOMETRY
    assert Geometry((1, 1, 1)).with_spacing((9.0, 0.5, 1.0)).shape == (1, 2, 1)


def test_grids_match_within_a_tenth_of_a_voxel() -> None:
    near = Geometry((4, 5, 6), (2.0, 0.5, 0.25), (10.02, 20.0, 30.0), OBLIQUE)
    far = Geometry((4, 5, 6), (2.0, 0.5, 0.25), (10.03, 20.0, 30.0), OBLIQUE)
    stretched = Geometry((4, 5, 6), (2.01, 0.5, 0.25), (10.0, 20.0, 30.0), OBLIQUE)
    assert GEOMETRY.matches(near)
    assert not GEOMETRY.matches(far)
    assert not GEOMETRY.matches(stretched)  # 3 × 0.01 mm at the last slice
    assert GEOMETRY.matches(far, tolerance_voxel=0.2)
    assert not GEOMETRY.matches(GEOMETRY.cropped((0, 0, 0), (4, 5, 5)))
    mirrored = Geometry(
        (4, 5, 6), (2.0, 0.5, 0.25), (10.0, 20.0, 30.0), ((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0, 0))
    )
    assert not GEOMETRY.matches(mirrored)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (4, 0, 6)}, r"at least one voxel.*\(4, 0, 6\)"),
        ({"shape": (4, 5)}, "three axes"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "three positive numbers.*header"),
        ({"spacing_mm": (1.0, -1.0, 1.0)}, "three positive numbers"),
        ({"spacing_mm": (1.0, math.nan, 1.0)}, "three positive numbers"),
        ({"spacing_mm": (1.0, 1.0)}, "three positive numbers"),
        ({"origin_mm": (0.0, math.inf, 0.0)}, "origin must be finite"),
        ({"direction": ((1.0, 0.2, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "orthogonal.*Resample"),
        ({"direction": ((2.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "orthogonal unit vectors"),
        ({"direction": ((0.0, 0.0, 0.0),) * 3}, "orthogonal unit vectors"),
        ({"direction": ((math.nan, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "orthogonal unit vectors"),
    ],
)
def test_impossible_grids_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Geometry(**{"shape": (4, 5, 6), **arguments})


def test_left_handed_and_slightly_rough_axes_are_allowed() -> None:
    assert np.linalg.det(np.asarray(Geometry((1, 1, 1)).direction)) == pytest.approx(-1)
    Geometry((1, 1, 1), direction=((1.0, 1e-4, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def test_a_volume_is_finite_float32_on_its_grid() -> None:
    good = np.zeros((2, 4, 5, 6), dtype=np.float32)
    Volume(good, GEOMETRY)
    for array in (good[0], good[:0], np.zeros((1, 6, 5, 4), dtype=np.float32)):
        with pytest.raises(ImageError, match=r"\(4, 5, 6\)\. Received: shape"):
            Volume(array, GEOMETRY)
    with pytest.raises(ImageError, match=r"float32\. Received: float64"):
        Volume(good.astype(np.float64), GEOMETRY)  # type: ignore[arg-type]
    bad = good.copy()
    bad[0, 0, 0, :2] = np.nan, np.inf
    with pytest.raises(ImageError, match=r"NaN or infinite.*2 such voxels.*Replace them"):
        Volume(bad, GEOMETRY)


def test_a_label_map_is_uint8_on_its_grid() -> None:
    LabelMap(np.zeros((4, 5, 6), dtype=np.uint8), GEOMETRY)
    with pytest.raises(ImageError, match=r"grid \(4, 5, 6\)"):
        LabelMap(np.zeros((1, 4, 5, 6), dtype=np.uint8), GEOMETRY)
    with pytest.raises(ImageError, match=r"uint8\. Received: int16"):
        LabelMap(np.zeros((4, 5, 6), dtype=np.int16), GEOMETRY)  # type: ignore[arg-type]


def test_a_geometry_describes_itself_in_words() -> None:
    turned = ((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0.0, 0.0))
    geometry = Geometry((3, 4, 5), (2.5, 1.0 / 3, 1.0), (-1.0, 2.0, 30.0), turned)
    assert str(geometry) == (
        "shape (3, 4, 5), spacing (2.5, 0.3333, 1.0) mm, origin (-1.0, 2.0, 30.0) mm, "
        "direction ((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0.0, 0.0))"
    )
