from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unetseg.config import Modality, Plan
from unetseg.errors import ImageError, MemoryLimitError, SettingsError, TrainingDataError
from unetseg.image_io import read_label_map, read_volume
from unetseg.planning import Fingerprint, Intensities, fingerprint, guess_modality, make_plan, plan_pooling
from unetseg.records import dumps, from_json, loads
from unetseg.volume import UNLABELLED, Geometry, LabelMap, Shape, Vector, Volume

VALUES = Intensities(mean=100.0, std=20.0, percentile_00_5=50.0, percentile_99_5=160.0, air_share=0.0)


def print_of(*cases: tuple[Shape, Vector], channels: int = 1) -> Fingerprint:
    """A fingerprint of cases with these canonical shapes and spacings."""
    return Fingerprint(
        tuple(shape for shape, _ in cases), tuple(spacing for _, spacing in cases), (VALUES,) * channels, "foreground"
    )


def case(values: np.ndarray, labels: np.ndarray, geometry: Geometry | None = None) -> tuple[Volume, LabelMap]:
    array = values.astype(np.float32)
    array = array[None] if array.ndim == 3 else array
    geometry = geometry or Geometry(labels.shape)
    return Volume(array, geometry), LabelMap(labels.astype(np.uint8), geometry)


# --- fingerprint -------------------------------------------------------------------------------------------------


def test_intensities_are_those_of_the_foreground() -> None:
    values = np.arange(1000.0).reshape(10, 10, 10)
    labels = np.zeros((10, 10, 10))
    labels[2] = 1  # 200 … 299
    labels[3] = 2  # 300 … 399
    labels[9] = UNLABELLED
    found = fingerprint([case(values, labels)])
    assert found.intensities_from == "foreground"
    (channel,) = found.intensities
    assert channel.mean == pytest.approx(299.5)
    assert channel.std == pytest.approx(np.arange(200).std())
    assert channel.percentile_00_5 == pytest.approx(200 + 0.005 * 199)
    assert channel.percentile_99_5 == pytest.approx(200 + 0.995 * 199)


def test_without_foreground_all_that_is_labelled_counts() -> None:
    values = np.arange(1000.0).reshape(10, 10, 10)
    labels = np.full((10, 10, 10), UNLABELLED)
    labels[4] = 0
    found = fingerprint([case(values, labels)])
    assert found.intensities_from == "labelled"
    assert found.intensities[0].mean == pytest.approx(449.5)


def test_cases_without_foreground_add_none_to_the_others() -> None:
    labels = np.ones((4, 4, 4))
    found = fingerprint([case(np.full((4, 4, 4), 7.0), labels), case(np.full((4, 4, 4), 900.0), np.zeros((4, 4, 4)))])
    assert found.intensities[0].mean == 7


def test_no_case_rules_by_its_size() -> None:
    large, small = np.ones((100, 100, 50)), np.ones((50, 50, 40))
    found = fingerprint([case(large * 0, large), case(small * 10, small)])
    assert found.intensities[0].mean == pytest.approx(5.0)  # by voxels it would be 1.7


def test_channels_are_kept_apart_and_shapes_are_canonical() -> None:
    geometry = Geometry((3, 4, 5), (3.0, 4.0, 5.0), direction=((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))
    found = fingerprint([case(np.stack([np.zeros((3, 4, 5)), np.ones((3, 4, 5))]), np.ones((3, 4, 5)), geometry)])
    assert [channel.mean for channel in found.intensities] == [0, 1]
    assert found.shapes == ((4, 5, 3),)  # superior is H, posterior W, left D
    assert found.spacings_mm == ((4.0, 5.0, 3.0),)


def test_fingerprint_and_plan_print_as_json() -> None:
    found = fingerprint([case(np.random.default_rng(0).random((4, 5, 6)), np.ones((4, 5, 6)))])
    assert from_json(Fingerprint, loads(dumps(found))) == found
    planned = make_plan(found, dimensions=3, modality="CT")
    assert from_json(Plan, loads(dumps(planned.plan))) == planned.plan
    assert loads(dumps(planned.network_arguments)) == planned.network_arguments


def test_unusable_cases_are_refused() -> None:
    one, two = np.zeros((2, 2, 2)), np.zeros((2, 2, 2, 2))
    with pytest.raises(TrainingDataError, match="at least one case"):
        fingerprint([])
    with pytest.raises(TrainingDataError, match=r"same channels in all\. Received: \[1, 2\]"):
        fingerprint([case(one, one), case(two, one)])
    with pytest.raises(TrainingDataError, match="labelled voxels"):
        fingerprint([case(one, np.full((2, 2, 2), UNLABELLED))])
    volume, _ = case(one, one)
    with pytest.raises(ImageError, match="its image's shape"):
        fingerprint([(volume, case(np.zeros((2, 2, 3)), np.zeros((2, 2, 3)))[1])])


@pytest.mark.parametrize(("share", "modality"), [(0.0, "MR"), (0.009, "MR"), (0.011, "CT"), (0.5, "CT")])
def test_air_tells_ct(share: float, modality: Modality) -> None:
    values = np.zeros(1000)
    values[: round(share * 1000)] = -1000
    found = fingerprint([case(values.reshape(10, 10, 10), np.ones((10, 10, 10)))])
    assert guess_modality(found) == modality


# --- pooling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spacing_mm", "patch", "depth", "expected"),
    [
        ((1, 1, 1), (40, 56, 40), 4, [(2, 2, 2)] * 3),
        ((1, 1, 1), (40, 56, 40), 5, [(2, 2, 2)] * 3),
        # 10 mm against 1.5, 3, 6: only the third step finds them within a factor of 2.
        ((10, 1.5, 1.5), (10, 96, 96), 4, [(1, 2, 2), (1, 2, 2), (2, 2, 2)]),
        ((2, 1, 1), (32, 32, 32), 3, [(2, 2, 2), (2, 2, 2)]),
        ((2.1, 1, 1), (32, 32, 32), 3, [(1, 2, 2), (2, 2, 2)]),
        # Three voxels are not pooled, nor do they hold up the others.
        ((1, 1, 1), (3, 64, 64), 4, [(1, 2, 2)] * 3),
        ((1, 1, 1), (16, 64, 32), 5, [(2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 1)]),
        # No axis to pool: levels that keep their size, as every network has three.
        ((1, 1, 1), (7, 7, 7), 4, [(1, 1, 1)] * 2),
        ((1, 1, 1), (8, 7, 7), 4, [(2, 1, 1), (1, 1, 1)]),
    ],
)
def test_pooling_by_hand(spacing_mm: Vector, patch: Shape, depth: int, expected: list[Shape]) -> None:
    assert plan_pooling(spacing_mm, patch, depth) == tuple(expected)


# --- plans -------------------------------------------------------------------------------------------------------


def test_hippocampus_like() -> None:
    cases = [((36, 50, 35), (1.0, 1.0, 1.0)), ((30, 44, 31), (1.0, 1.0, 1.0)), ((43, 59, 47), (1.0, 1.0, 1.0))]
    planned = make_plan(print_of(*cases), dimensions=3, modality="MR")
    assert planned.plan.orientation == "canonical"
    assert planned.plan.spacing_mm == (1.0, 1.0, 1.0)
    assert planned.plan.patch_size == (40, 56, 40)
    assert planned.plan.batch_size == 2
    assert planned.network_arguments == {"depth": 4, "pooling": [[2, 2, 2]] * 3}


def test_cine_like() -> None:
    sizes = [(10, 256, 216), (9, 240, 200), (10, 256, 232)]
    found = print_of(*((shape, (10.0, 1.5, 1.5)) for shape in sizes))
    planned = make_plan(found, dimensions=3, modality="MR")
    assert planned.plan.orientation == "thickest_first"
    assert planned.plan.patch_size == (10, 96, 96)
    assert planned.network_arguments["pooling"] == [[1, 2, 2], [1, 2, 2], [2, 2, 2]]
    flat = make_plan(found, dimensions=2, modality="MR")
    assert flat.plan.spacing_mm == (0.0, 1.5, 1.5)
    assert flat.plan.patch_size == (1, 256, 224)
    assert flat.plan.batch_size == 4
    assert flat.network_arguments == {"depth": 5, "pooling": [[2, 2]] * 4}


def test_slices_from_different_directions_share_one_plan() -> None:
    cases = [((20, 200, 200), (5.0, 1.0, 1.0)), ((200, 200, 20), (1.0, 1.0, 5.0)), ((200, 20, 200), (1.0, 5.0, 1.0))]
    plan = make_plan(print_of(*cases), dimensions=3, modality="MR", memory_bytes=10**12).plan
    assert plan.orientation == "thickest_first"
    assert plan.spacing_mm == (5.0, 1.0, 1.0)
    assert plan.patch_size == (20, 200, 200)


def test_the_slice_spacing_of_anisotropic_cases_is_their_10th_percentile_but_not_finer_than_the_plane() -> None:
    # 10th percentile of 4, 6, 6, 6, 8: 4 + 0.4 · 2 = 4.8.
    cases = [((20, 100, 100), (d, 1.0, 1.0)) for d in (4.0, 6.0, 6.0, 6.0, 8.0)]
    assert make_plan(print_of(*cases), dimensions=3, modality="MR").plan.spacing_mm == pytest.approx((4.8, 1, 1))
    cases = [((20, 100, 100), (d, 1.0, 2.0)) for d in (2.0, 6.0, 6.0, 6.0, 6.0)]
    assert make_plan(print_of(*cases), dimensions=3, modality="MR").plan.spacing_mm == (3.6, 1.0, 2.0)
    cases = [((20, 100, 100), (d, 0.3, 1.0)) for d in (1.0, 1.0, 1.2, 1.2, 1.2)]
    assert make_plan(print_of(*cases), dimensions=3, modality="MR").plan.spacing_mm == (1.0, 0.3, 1.0)


def test_mildly_anisotropic_cases_get_the_median() -> None:
    cases = [((50, 100, 100), (d, 1.0, 1.0)) for d in (1.0, 2.0, 2.9)]
    plan = make_plan(print_of(*cases), dimensions=3, modality="MR").plan
    assert plan.orientation == "canonical"
    assert plan.spacing_mm == (2.0, 1.0, 1.0)


def test_the_patch_is_no_larger_than_the_image_rounded_up_nor_than_the_memory() -> None:
    found = print_of(((100, 512, 500), (1.0, 0.8, 0.8)))
    assert make_plan(found, dimensions=3, modality="CT", memory_bytes=10**12).plan.patch_size == (104, 136, 144)
    small = make_plan(found, dimensions=3, modality="CT", memory_bytes=3 * 10**9).plan.patch_size
    assert np.prod(small) <= 500_000
    assert all(size % 8 == 0 for size in small)
    tiny = print_of(((12, 20, 9), (1.0, 1.0, 1.0)))
    assert make_plan(tiny, dimensions=3, modality="CT", memory_bytes=10**12).plan.patch_size == (12, 20, 10)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_nanometres_are_planned_like_millimetres(dimensions: int) -> None:
    spacing_mm = (2.5e-6, 2.5e-7, 2.5e-7)
    found = make_plan(print_of(((20, 64, 64), spacing_mm)), dimensions=dimensions, modality="microscopy").plan
    assert found.spacing_mm == (spacing_mm if dimensions == 3 else (0.0, *spacing_mm[1:]))
    assert found.patch_size[1:] == (64, 64)


@pytest.mark.parametrize(("shape", "dimensions"), [((1, 80, 700), 2), ((4, 640, 640), 3)])
def test_no_patch_is_longer_than_a_model_may_have(shape: Shape, dimensions: int) -> None:
    found = make_plan(print_of((shape, (5.0, 1.0, 1.0))), dimensions=dimensions, modality="MR", memory_bytes=2**36)
    assert max(found.plan.patch_size) == 512


def test_memory_that_holds_no_patch_is_an_error() -> None:
    with pytest.raises(MemoryLimitError, match=r"Received: 0.00 GB allowed, at least 0.18 GB needed"):
        make_plan(print_of(((99, 99, 99), (1.0, 1.0, 1.0))), dimensions=3, modality="MR", memory_bytes=10**6)


def test_pictures_are_planned_as_slices_of_256() -> None:
    planned = make_plan(print_of(((1, 512, 512), (1.0, 1.0, 1.0))), dimensions=2, modality="microscopy")
    assert planned.plan.patch_size == (1, 256, 256)
    assert planned.plan.batch_size == 4
    assert planned.network_arguments == {"depth": 5, "pooling": [[2, 2]] * 4}
    small = make_plan(print_of(((1, 64, 50), (1.0, 1.0, 1.0))), dimensions=2, modality="microscopy").plan
    assert small.patch_size == (1, 64, 56)
    assert small.batch_size == 8


def test_a_single_slice_in_3d_pools_in_its_plane_only() -> None:
    planned = make_plan(print_of(((128, 1, 128), (1.0, 1.0, 1.0))), dimensions=3, modality="MR")
    assert planned.plan.orientation == "thickest_first"
    assert planned.plan.patch_size == (1, 128, 128)
    assert planned.network_arguments["pooling"] == [[1, 2, 2]] * 3


@pytest.mark.parametrize(
    ("modality", "expected"),
    [
        ("CT", ("ct", 50.0, 160.0, 100.0, 20.0)),
        ("MR", ("zscore", 0.0, 0.0, 0.0, 1.0)),
        ("microscopy", ("percentile", 0.5, 99.9, 0.0, 1.0)),
        ("ultrasound", ("percentile", 0.5, 99.9, 0.0, 1.0)),
    ],
)
def test_the_modality_decides_the_normalisation(modality: Modality, expected: tuple[object, ...]) -> None:
    plan = make_plan(print_of(((9, 9, 9), (1.0, 1.0, 1.0)), channels=2), dimensions=3, modality=modality).plan
    assert plan.modality == modality
    for entry in plan.normalisation:
        assert (entry.scheme, entry.lower, entry.upper, entry.mean, entry.std) == expected
    assert len(plan.normalisation) == 2


def test_a_ct_with_structures_of_one_value_has_no_window() -> None:
    constant = Intensities(mean=100.0, std=0.0, percentile_00_5=100.0, percentile_99_5=100.0, air_share=0.5)
    cases = Fingerprint(((40, 40, 40),), ((1.0, 1.0, 1.0),), (constant,), "foreground")
    (entry,) = make_plan(cases, dimensions=3, modality="CT").plan.normalisation
    assert (entry.scheme, entry.lower, entry.upper) == ("percentile", 0.5, 99.9)


def test_wrong_settings_are_refused() -> None:
    found = print_of(((9, 9, 9), (1.0, 1.0, 1.0)))
    with pytest.raises(SettingsError, match=r"2 or 3 dimensions\. Received: 4"):
        make_plan(found, dimensions=4, modality="MR")
    with pytest.raises(SettingsError, match="Did you mean ultrasound"):
        make_plan(found, dimensions=3, modality="ultra-sound")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folder", "names", "dimensions", "modality", "patch"),
    [
        ("hippocampus", "hippocampus_0[0-5]*", 3, "MR", (40, 56, 40)),
        ("acdc_cine", "patient00*", 3, "MR", (10, 96, 96)),
        ("acdc_cine", "patient00*", 2, "MR", (1, 256, 240)),
        ("ct_totalseg_small", "example_ct*", 3, "CT", (32, 48, 56)),
    ],
)
def test_real_cases(data_dir: Path, folder: str, names: str, dimensions: int, modality: Modality, patch: Shape) -> None:
    def cases() -> list[tuple[Volume, LabelMap]]:
        pairs = []
        for image in sorted((data_dir / folder / "images").glob(names)):
            volume, label = read_volume(image), data_dir / folder / "labels" / image.name
            background = LabelMap(np.zeros(volume.geometry.shape, dtype=np.uint8), volume.geometry)
            pairs.append((volume, read_label_map(label) if label.exists() else background))
        return pairs

    found = fingerprint(cases())
    assert guess_modality(found) == modality
    assert make_plan(found, dimensions=dimensions, modality=modality).plan.patch_size == patch
