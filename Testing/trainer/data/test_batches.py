from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from unetseg.config import NO_AUGMENTATION, AugmentationSettings
from unetseg.data import PreparedCase, keep_slices
from unetseg.data.batches import BatchSource
from unetseg.errors import TrainingDataError
from unetseg.volume import Geometry, LabelMap

FULL = AugmentationSettings(spatial_probability=1.0, elastic_probability=1.0)
MOVING = replace(NO_AUGMENTATION, spatial_probability=1.0, elastic_probability=1.0)


def source(cases: list[PreparedCase], **changes: Any) -> BatchSource:
    arguments: dict[str, Any] = {
        "patch_size": (6, 8, 10),
        "batch_size": 2,
        "classes": 3,
        "dimensions": 3,
        "augmentation": NO_AUGMENTATION,
        "class_weights": (0.5, 2.0, 4.0),
        "edit_weight": 3.0,
        "seed": 0,
    }
    return BatchSource(cases, **(arguments | changes))


def indices_image(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Three channels that hold each voxel's own d, h and w."""
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float32)


def make_case(
    annotation: NDArray[np.uint8], *, edited: NDArray[np.bool_] | None = None, name: str = "a"
) -> PreparedCase:
    return PreparedCase(name, indices_image(annotation.shape), annotation, edited, (1.0, 1.0, 1.0))


def crop_like(sample: torch.Tensor, array: NDArray[Any], outside: float) -> NDArray[Any]:
    """The part of ``array`` that a sample (3, d, h, w) of ``indices_image`` shows; beyond the image ``outside``."""
    patch_size = sample.shape[1:]
    starts = []
    for axis, length in enumerate(array.shape):
        line = sample[axis].movedim(axis, 0)[:, 0, 0].numpy()
        steps = np.flatnonzero(np.diff(line))
        no_step = 1 - len(line) if line[0] == 0 else length - 1
        starts.append(int(line[steps[0]] - steps[0]) if steps.size else no_step)
    padded = np.pad(array, [(size, size) for size in patch_size], constant_values=outside)
    return padded[tuple(slice(start + size, start + 2 * size) for start, size in zip(starts, patch_size, strict=True))]


def planes(shape: tuple[int, int, int], *slices: tuple[int, int], value: int = 1) -> NDArray[np.uint8]:
    truth = np.zeros(shape, dtype=np.uint8)
    truth[tuple(slice(size // 4, 3 * size // 4) for size in shape)] = value
    return keep_slices(LabelMap(truth, Geometry(shape)), slices).array


@pytest.fixture(scope="module")
def hippocampus(data_dir: Path) -> NDArray[np.uint8]:
    image = sitk.ReadImage(str(data_dir / "hippocampus" / "labels" / "hippocampus_001.nii.gz"))
    return np.asarray(sitk.GetArrayFromImage(image), dtype=np.uint8)


def three_slices(labels: NDArray[np.uint8], axis: int) -> list[int]:
    return [labels.shape[axis] * quarter // 4 for quarter in (1, 2, 3)]


def test_without_augmentation_a_batch_is_a_crop_with_its_weights() -> None:
    annotation = planes((12, 14, 16), (0, 5))
    batch = source([make_case(annotation)]).batch(0)
    assert (batch.image.shape, batch.image.dtype) == ((2, 3, 6, 8, 10), torch.float32)
    assert (batch.target.shape, batch.target.dtype) == ((2, 6, 8, 10), torch.int64)
    assert (batch.weight.shape, batch.weight.dtype) == ((2, 6, 8, 10), torch.float32)
    for image, target, weight in zip(batch.image, batch.target, batch.weight, strict=True):
        expected = crop_like(image, annotation, 255)
        assert (target.numpy() == np.where(expected == 255, 0, expected)).all()
        assert (weight.numpy() == np.select([expected == 0, expected == 1], [0.5, 2.0], 0.0)).all()


def test_the_same_iteration_is_bitwise_the_same_batch_in_any_order() -> None:
    cases = [make_case(planes((12, 14, 16), (0, 5))), make_case(planes((12, 14, 16), (1, 7)))]
    settings = replace(FULL, noise_probability=1.0, blur_probability=1.0, bias_field_probability=1.0)
    straight = source(cases, augmentation=settings)
    batches = [straight.batch(iteration) for iteration in range(4)]
    resumed = source(cases, augmentation=settings)
    for iteration in (3, 1):
        again = resumed.batch(iteration)
        for name in ("image", "target", "weight"):
            assert torch.equal(getattr(again, name), getattr(batches[iteration], name))
    assert not torch.equal(batches[0].image, batches[1].image)
    alike = source(cases[:1], augmentation=settings, batch_size=3).batch(0)
    assert not torch.equal(alike.image[0], alike.image[2])
    assert not torch.equal(source(cases, augmentation=settings, seed=1).batch(0).image, batches[0].image)


def test_cases_are_not_changed() -> None:
    case = make_case(planes((12, 14, 16), (0, 5)), edited=np.ones((12, 14, 16), dtype=bool))
    for array in (case.image, case.annotation, case.edited):
        assert array is not None
        array.setflags(write=False)
    source([case], augmentation=FULL).batch(0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_in_plane_augmentation_keeps_real_labelled_slices_whole(hippocampus: NDArray[np.uint8], axis: int) -> None:
    kept = three_slices(hippocampus, axis)
    truth = LabelMap(hippocampus, Geometry(hippocampus.shape))  # type: ignore[arg-type]
    annotation = keep_slices(truth, [(axis, index) for index in kept]).array
    case = make_case(annotation)
    moving = source([case], augmentation=replace(MOVING, plane_probability=1.0), patch_size=(24, 32, 24))
    for iteration in range(8):
        batch = moving.batch(iteration)
        for image, target, weight in zip(batch.image, batch.target, batch.weight, strict=True):
            across = image[axis]
            assert torch.equal(across, across.round())
            size = torch.tensor(annotation.shape).reshape(3, 1, 1, 1)
            # Outside, the image repeats its border, so that a coordinate strictly inside was not clamped.
            strictly = (image > 0) & (image < size - 1)
            inside = torch.stack([strictly[other] for other in range(3) if other != axis]).all(dim=0)
            on_kept_slice = torch.isin(across, torch.tensor(kept, dtype=torch.float32))
            assert bool(on_kept_slice.any())
            assert torch.equal(weight[inside] > 0, on_kept_slice[inside])
            assert not bool((weight[~on_kept_slice] > 0).any())
            nearest = tuple((image + 0.5).floor().long())
            seen = torch.from_numpy(annotation.astype(np.int64))[nearest]
            assert torch.equal(target[inside & on_kept_slice], seen[inside & on_kept_slice])


@pytest.mark.parametrize("plane_probability", [1.0, 0.0])
def test_augmentation_keeps_the_number_of_real_labelled_voxels(
    hippocampus: NDArray[np.uint8], plane_probability: float
) -> None:
    truth = LabelMap(hippocampus, Geometry(hippocampus.shape))  # type: ignore[arg-type]
    case = make_case(keep_slices(truth, [(0, index) for index in three_slices(hippocampus, 0)]).array)

    def labelled(settings: AugmentationSettings) -> NDArray[np.float64]:
        batches = source([case], augmentation=settings, patch_size=(24, 32, 24))
        counts = [
            (int((batch.weight > 0).sum()), int((batch.target > 0).sum())) for batch in map(batches.batch, range(40))
        ]
        return np.mean(counts, axis=0)

    before = labelled(NO_AUGMENTATION)
    after = labelled(replace(MOVING, plane_probability=plane_probability))
    # Scaling is fair on average; a little leaves the patch or comes from outside of the image.
    assert (after > 0.9 * before).all()
    assert (after < 1.1 * before).all()


def test_at_least_half_of_the_samples_of_a_sparse_case_move_in_their_plane_only() -> None:
    moving = source([make_case(planes((20, 22, 24), (1, 11)))], augmentation=MOVING, batch_size=1)
    in_plane = [torch.equal(image[0, 1], image[0, 1].round()) for image in (moving.batch(i).image for i in range(100))]
    assert 38 <= sum(in_plane) <= 62


def test_slices_in_three_directions_are_each_kept_whole() -> None:
    annotation = planes((20, 22, 24), (0, 10), (1, 11), (2, 12))
    moving = source([make_case(annotation)], augmentation=replace(MOVING, plane_probability=1.0), batch_size=1)
    exact = []
    for iteration in range(60):
        image = moving.batch(iteration).image[0]
        still = [axis for axis in range(3) if torch.equal(image[axis], image[axis].round())]
        assert len(still) == 1
        assert (image[still[0]] == (10, 11, 12)[still[0]]).any()
        exact += still
    assert set(exact) == {0, 1, 2}


def test_slices_that_a_held_out_slice_crosses_are_still_kept_whole() -> None:
    annotation = planes((24, 24, 24), (0, 8), (2, 12))
    annotation[:, 10, :] = 255  # held out: an empty line through both
    only_planes = replace(MOVING, plane_probability=1.0)
    made = source([make_case(annotation)], augmentation=only_planes, patch_size=(12, 12, 12))
    for iteration in range(20):
        for image in made.batch(iteration).image.numpy():
            constant = [all(np.ptp(image[axis].take(i, axis)) == 0 for i in range(12)) for axis in range(3)]
            assert constant[0] or constant[2]


def test_dense_cases_move_in_all_axes() -> None:
    annotation = planes((20, 22, 24), *((0, index) for index in range(20)))
    moving = source([make_case(annotation)], augmentation=replace(MOVING, plane_probability=1.0))
    image = moving.batch(0).image
    assert not any(torch.equal(image[:, axis], image[:, axis].round()) for axis in range(3))


def test_the_anchor_is_labelled_in_every_sample_even_a_single_voxel_on_the_border() -> None:
    annotation = np.full((12, 14, 16), 255, dtype=np.uint8)
    annotation[11, 0, 15] = 2
    for plane_probability in (0.0, 1.0):
        settings = replace(MOVING, plane_probability=plane_probability)
        batches = source([make_case(annotation)], augmentation=settings)
        for iteration in range(20):
            batch = batches.batch(iteration)
            assert (batch.target == 2).flatten(1).any(dim=1).all()
            assert set(batch.weight.unique().tolist()) == {0.0, 4.0}


def test_a_slice_that_is_empty_on_purpose_trains_background() -> None:
    annotation = np.full((12, 14, 16), 255, dtype=np.uint8)
    annotation[0] = 0
    batch = source([make_case(annotation)], augmentation=replace(MOVING, plane_probability=1.0)).batch(0)
    assert not batch.target.any()
    assert (batch.weight.flatten(1) == 0.5).any(dim=1).all()


def test_edits_weigh_more_with_a_margin_of_two_voxels_in_the_slice_only() -> None:
    annotation = planes((9, 11, 11), (0, 3), (0, 4), value=2)
    edited = np.zeros(annotation.shape, dtype=bool)
    edited[4, 5, 5] = True
    expected = np.select([annotation == 0, annotation == 2], [0.5, 4.0], 0.0)
    expected[4, 3:8, 3:8] *= 3
    batch = source([make_case(annotation, edited=edited)], patch_size=(9, 11, 11), batch_size=20).batch(0)
    for image, weight in zip(batch.image, batch.weight, strict=True):
        assert (weight.numpy() == crop_like(image, expected, 0)).all()


def test_edits_on_slices_of_two_directions_have_the_margin_in_both() -> None:
    annotation = planes((11, 11, 11), (0, 5), (1, 5), value=2)
    edited = np.zeros(annotation.shape, dtype=bool)
    edited[5, 5, 5] = True
    margin = np.zeros(annotation.shape, dtype=bool)
    margin[5, 3:8, 3:8] = margin[3:8, 5, 3:8] = True
    expected = np.select([annotation == 0, annotation == 2], [0.5, 4.0], 0.0) * np.where(margin, 3, 1)
    batch = source([make_case(annotation, edited=edited)], patch_size=(11, 11, 11), batch_size=20).batch(0)
    for image, weight in zip(batch.image, batch.weight, strict=True):
        assert (weight.numpy() == crop_like(image, expected, 0)).all()


def test_cases_are_drawn_equally_often_however_much_is_labelled() -> None:
    dense = np.zeros((12, 14, 16), dtype=np.uint8)
    one_voxel = np.full((12, 14, 16), 255, dtype=np.uint8)
    one_voxel[3, 3, 3] = 1
    batches = source([make_case(dense), make_case(one_voxel)])
    few = sum(int(((batch.weight > 0).flatten(1).sum(dim=1) == 1).sum()) for batch in map(batches.batch, range(100)))
    assert 80 <= few <= 120


def test_every_other_sample_is_class_balanced() -> None:
    annotation = np.zeros((12, 14, 16), dtype=np.uint8)
    annotation[6, 7, 8] = 1
    batches = source([make_case(annotation)], batch_size=1, patch_size=(1, 1, 1))
    shown = [int(batches.batch(iteration).target.max()) for iteration in range(120)]
    assert 30 <= sum(shown[0::2]) <= 50  # foreground at twice the share of background: 40
    assert sum(shown[1::2]) <= 2


def test_two_dimensions_take_whole_slices_that_have_labels() -> None:
    annotation = planes((7, 10, 12), (0, 2), (0, 6))
    batches = source([make_case(annotation)], dimensions=2, patch_size=(1, 10, 12), batch_size=4)
    for iteration in range(5):
        batch = batches.batch(iteration)
        assert batch.image.shape == (4, 3, 10, 12)
        assert (batch.target.shape, batch.weight.shape) == ((4, 10, 12), (4, 10, 12))
        for image, target, weight in zip(batch.image, batch.target, batch.weight, strict=True):
            index = int(image[0, 0, 0])
            assert index in (2, 6)
            assert (image.numpy() == indices_image((7, 10, 12))[:, index]).all()
            assert (target.numpy() == annotation[index]).all()
            assert (weight > 0).all()


def test_two_dimensions_never_leave_the_slice() -> None:
    dense = np.zeros((7, 10, 12), dtype=np.uint8)
    batches = source([make_case(dense)], dimensions=2, patch_size=(1, 8, 8), augmentation=MOVING, batch_size=4)
    depth = batches.batch(0).image[:, 0]
    assert torch.equal(depth, depth[:, :1, :1].expand(4, 8, 8).round())


def test_a_volume_of_one_slice_in_a_3d_patch() -> None:
    annotation = np.zeros((1, 10, 12), dtype=np.uint8)
    annotation[0, 4:6, 4:6] = 1
    settings = replace(MOVING, plane_probability=0.0)
    batches = source([make_case(annotation)], patch_size=(4, 8, 8), augmentation=settings, batch_size=4)
    for iteration in range(5):
        labelled = (batches.batch(iteration).weight > 0).flatten(2).sum(dim=2)
        assert ((labelled > 0).sum(dim=1) == 1).all()
        assert (labelled.max(dim=1).values > 30).all()


def test_a_patch_larger_than_the_image_holds_all_of_it_and_weighs_nothing_outside() -> None:
    annotation = np.zeros((3, 4, 5), dtype=np.uint8)
    annotation[1, 1, 1] = 1
    batches = source([make_case(annotation)], patch_size=(6, 8, 10))
    for iteration in range(5):
        batch = batches.batch(iteration)
        assert ((batch.weight > 0).flatten(1).sum(dim=1) == 60).all()
        assert (batch.target.flatten(1).sum(dim=1) == 1).all()
        assert batch.image[:, 0].max() == 2


def test_no_labelled_voxel_in_any_case_is_refused_and_in_some_is_passed_over() -> None:
    nothing = make_case(np.full((4, 4, 4), 255, dtype=np.uint8))
    with pytest.raises(TrainingDataError, match=r"needs labelled voxels.*none in 2 case"):
        source([nothing, nothing])
    batches = source([nothing, make_case(np.ones((4, 4, 4), dtype=np.uint8))])
    assert all((batches.batch(i).weight > 0).flatten(1).any(dim=1).all() for i in range(10))


def test_scribbles_on_all_slices_stay_in_the_image_where_those_on_few_move_across_it() -> None:
    """A patch as deep as the image: it shows all of a volume that is scribbled on all over."""
    everywhere = np.full((10, 14, 16), 255, dtype=np.uint8)
    everywhere[:, 2:13, 4:15] = 0  # more slices along the other axes
    everywhere[:, 3:12, 5:14] = 255
    few = everywhere.copy()
    few[[0, 1, 9]] = 255  # labels on 7 of 10 slices
    for annotation, moves in ((everywhere, False), (few, True)):
        made = source([make_case(annotation)], patch_size=(10, 8, 10))
        depths = torch.stack([image[0, :, 0, 0] for i in range(10) for image in made.batch(i).image])
        assert torch.equal(depths, torch.arange(10.0).expand(20, 10)) is not moves
