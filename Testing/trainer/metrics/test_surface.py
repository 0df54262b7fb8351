from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from unetseg.errors import ImageError
from unetseg.metrics.surface import SURFACE_METRICS, surface_distances

ISOTROPIC = (1.0, 1.0, 1.0)


def figures(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing_mm: tuple[float, float, float] = ISOTROPIC,
    tolerance_mm: float = 1.0,
) -> dict[str, float]:
    distances = surface_distances(prediction, reference, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm)
    return {name: metric(distances) for name, metric in SURFACE_METRICS.items()}


def points(shape: tuple[int, int, int], *indices: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for index in indices:
        mask[index] = True
    return mask


@pytest.mark.parametrize(
    ("target", "distance_mm"), [((3, 2, 2), 3.0), ((2, 3, 2), 0.7), ((2, 2, 4), 2.2), ((3, 3, 2), np.hypot(3.0, 0.7))]
)
def test_two_voxels_lie_apart_by_the_spacing_of_their_axes(target: tuple[int, int, int], distance_mm: float) -> None:
    shape, spacing = (5, 6, 7), (3.0, 0.7, 1.1)
    found = figures(points(shape, (2, 2, 2)), points(shape, target), spacing)
    for name in ("hausdorff_mm", "hd95_mm", "average_surface_distance_mm"):
        assert found[name] == pytest.approx(distance_mm)


def test_values_of_unequal_surfaces_by_hand() -> None:
    # Prediction: voxels at w = 0 and 4; reference: at w = 0. Distances 0 and 4·1.5 one way, 0 the other way.
    shape = (3, 3, 6)
    found = figures(points(shape, (1, 1, 0), (1, 1, 4)), points(shape, (1, 1, 0)), (1.0, 1.0, 1.5))
    assert found == {
        "hausdorff_mm": pytest.approx(6.0),
        "hd95_mm": pytest.approx(0.95 * 6.0),
        "average_surface_distance_mm": pytest.approx(2.0),
        "surface_dice": pytest.approx(2 / 3),
    }


def test_a_cube_inside_a_cube_by_hand() -> None:
    outer, inner = np.zeros((7, 7, 7), dtype=bool), np.zeros((7, 7, 7), dtype=bool)
    outer[1:6, 1:6, 1:6] = True  # 5³ - 3³ = 98 surface voxels
    inner[2:5, 2:5, 2:5] = True  # 26 surface voxels
    # Each inner one has an outer one at 1. Of the outer, 6·9 on the faces lie at 1, 12·3 on the edges at √2 and the
    # 8 corners at √3.
    found = figures(outer, inner)
    assert found["hausdorff_mm"] == pytest.approx(np.sqrt(3))
    total = 26 + 54 + 36 * np.sqrt(2) + 8 * np.sqrt(3)
    assert found["average_surface_distance_mm"] == pytest.approx(total / 124)
    assert found["surface_dice"] == pytest.approx(80 / 124)


def test_the_image_border_is_a_surface() -> None:
    full = np.ones((5, 5, 5), dtype=bool)
    centre = points((5, 5, 5), (2, 2, 2))
    distances = surface_distances(full, centre, spacing_mm=ISOTROPIC)
    assert distances.from_prediction.size == 5**3 - 3**3
    assert distances.from_reference.tolist() == [2.0]


def test_the_surface_of_a_2d_mask_is_its_outline() -> None:
    square = np.zeros((1, 9, 9), dtype=bool)
    square[0, 2:7, 2:7] = True
    distances = surface_distances(square, square, spacing_mm=(10.0, 1.0, 1.0))
    assert distances.from_prediction.tolist() == [0.0] * 16


def test_every_voxel_of_a_thin_plane_in_3d_is_surface() -> None:
    plane = np.zeros((5, 9, 9), dtype=bool)
    plane[2, 2:7, 2:7] = True
    assert surface_distances(plane, plane, spacing_mm=ISOTROPIC).from_prediction.size == 25


@pytest.mark.parametrize("seed", range(6))
def test_against_brute_force_on_random_masks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.integers(4, 12, 3))
    spacing = tuple(float(s) for s in generator.uniform(0.4, 3.0, 3))
    prediction, reference = (
        ndimage.gaussian_filter(generator.standard_normal(shape), 1.0) > threshold for threshold in (0.05, 0.15)
    )
    prediction[0, 0, 0] = reference[-1, -1, -1] = True

    def surface_mm(mask: np.ndarray) -> np.ndarray:
        return np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing

    table = cdist(surface_mm(prediction), surface_mm(reference))
    there, back = table.min(axis=1), table.min(axis=0)
    both = np.concatenate([there, back])
    assert figures(prediction, reference, spacing, tolerance_mm=0.9) == {  # type: ignore[arg-type]
        "hausdorff_mm": pytest.approx(both.max(), rel=1e-5),
        "hd95_mm": pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5),
        "average_surface_distance_mm": pytest.approx(both.mean(), rel=1e-5),
        "surface_dice": pytest.approx((both <= 0.9).mean()),
    }


def test_all_metrics_are_symmetric() -> None:
    generator = np.random.default_rng(3)
    prediction, reference = generator.random((2, 6, 7, 8)) > 0.7
    assert figures(prediction, reference, (2.0, 1.0, 0.5)) == pytest.approx(
        figures(reference, prediction, (2.0, 1.0, 0.5))
    )


def test_equal_masks_are_perfect() -> None:
    mask = np.random.default_rng(0).random((4, 5, 6)) > 0.5
    assert figures(mask, mask, tolerance_mm=0.0) == {
        "hausdorff_mm": 0.0,
        "hd95_mm": 0.0,
        "average_surface_distance_mm": 0.0,
        "surface_dice": 1.0,
    }


def test_two_empty_masks_are_perfect() -> None:
    empty = np.zeros((3, 4, 5), dtype=bool)
    assert figures(empty, empty) == {
        "hausdorff_mm": 0.0,
        "hd95_mm": 0.0,
        "average_surface_distance_mm": 0.0,
        "surface_dice": 1.0,
    }


@pytest.mark.parametrize("missed", [True, False])
def test_one_empty_mask_is_off_by_the_image_diagonal(missed: bool) -> None:
    empty, mask = np.zeros((3, 4, 6), dtype=bool), points((3, 4, 6), (1, 1, 1), (2, 2, 2))
    pair = (empty, mask) if missed else (mask, empty)
    # 3·1 by 4·3 by 6·2 mm, even where the tolerance is larger than the image.
    assert figures(*pair, (1.0, 3.0, 2.0), tolerance_mm=1000.0) == {
        "hausdorff_mm": pytest.approx(np.sqrt(9 + 144 + 144)),
        "hd95_mm": pytest.approx(np.sqrt(9 + 144 + 144)),
        "average_surface_distance_mm": pytest.approx(np.sqrt(9 + 144 + 144)),
        "surface_dice": 0.0,
    }


def test_a_distance_equal_to_the_tolerance_is_within() -> None:
    pair = points((3, 3, 5), (1, 1, 1)), points((3, 3, 5), (1, 1, 3))
    distances = surface_distances(*pair, spacing_mm=(1.0, 1.0, 0.1))
    assert distances.from_prediction[0] == pytest.approx(0.2, rel=1e-6)  # 0.20000002 with the present ITK
    assert figures(*pair, (1.0, 1.0, 0.1), tolerance_mm=0.2)["surface_dice"] == 1.0
    assert figures(*pair, (1.0, 1.0, 0.1), tolerance_mm=0.199)["surface_dice"] == 0.0


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ImageError, match="same shape"):
        surface_distances(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), spacing_mm=ISOTROPIC)


def test_only_the_surface_that_counts_is_measured_but_to_all_of_the_other() -> None:
    # Prediction: w = 0, 2 and 5; reference: w = 0 and 3. Counted are w ≥ 2: distances 1 and 2 one way, 1 the other.
    shape = (3, 3, 7)
    prediction, reference = points(shape, (1, 1, 0), (1, 1, 2), (1, 1, 5)), points(shape, (1, 1, 0), (1, 1, 3))
    counted = np.zeros(shape, dtype=bool)
    counted[..., 2:] = True
    distances = surface_distances(prediction, reference, spacing_mm=ISOTROPIC, counted=counted)
    assert distances.from_prediction.tolist() == [1.0, 2.0]
    assert distances.from_reference.tolist() == [1.0]
    # A surface may be near one that does not count itself.
    counted[..., 2:] = False
    counted[1, 1, 2] = True
    distances = surface_distances(prediction, points(shape, (1, 1, 1)), spacing_mm=ISOTROPIC, counted=counted)
    assert SURFACE_METRICS["hd95_mm"](distances) == 1.0
    assert SURFACE_METRICS["surface_dice"](distances) == 1.0


def test_a_structure_missed_altogether_is_off_by_the_diagonal_wherever_surfaces_count() -> None:
    mask, counted = points((3, 4, 6), (1, 1, 1)), points((3, 4, 6), (1, 1, 1), (1, 1, 2))
    missed = surface_distances(np.zeros_like(mask), mask, spacing_mm=ISOTROPIC, counted=counted)
    assert SURFACE_METRICS["hd95_mm"](missed) == pytest.approx(np.sqrt(9 + 16 + 36))
    assert SURFACE_METRICS["surface_dice"](missed) == 0.0
    elsewhere = surface_distances(mask, mask, spacing_mm=ISOTROPIC, counted=points((3, 4, 6), (0, 0, 0)))
    assert SURFACE_METRICS["hd95_mm"](elsewhere) == 0.0


def test_the_mask_of_what_counts_must_have_the_same_shape() -> None:
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(ImageError, match="same shape"):
        surface_distances(mask, mask, spacing_mm=ISOTROPIC, counted=np.ones((2, 2, 3), bool))
