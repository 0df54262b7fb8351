from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from unetseg.data import Case, PreparedCase, annotated_slices, check_annotations, class_counts, keep_slices
from unetseg.data.annotations import labelled_planes, plane_axis
from unetseg.errors import SettingsError, TrainingDataError
from unetseg.volume import Geometry, LabelMap, Volume

SHAPE = (8, 9, 10)


def label_map(array: NDArray[np.uint8]) -> LabelMap:
    return LabelMap(array, Geometry(array.shape))  # type: ignore[arg-type]


def dense() -> NDArray[np.uint8]:
    array = np.zeros(SHAPE, dtype=np.uint8)
    array[2:6, 3:6, 3:7] = 1
    array[4:6, 3:6, 3:7] = 2
    return array


def case(array: NDArray[np.uint8] | None, name: str = "case_1") -> Case:
    shape = SHAPE if array is None else array.shape
    volume = Volume(np.zeros((1, *shape), dtype=np.float32), Geometry(shape))  # type: ignore[arg-type]
    return Case(name, volume, None if array is None else label_map(array))


def test_kept_slices_are_the_annotated_ones_and_keep_their_labels() -> None:
    truth = label_map(dense())
    sparse = keep_slices(truth, [(0, 4), (2, 9), (1, 0)])
    assert annotated_slices(sparse) == ((0, 4), (1, 0), (2, 9))
    labelled = sparse.array != 255
    assert np.count_nonzero(labelled) == 90 + 80 + 72 - 10 - 9 - 8 + 1
    assert (sparse.array[labelled] == truth.array[labelled]).all()
    assert (truth.array == dense()).all()


def test_no_slice_one_slice_and_the_same_slice_twice() -> None:
    truth = label_map(dense())
    assert annotated_slices(keep_slices(truth, [])) == ()
    assert annotated_slices(keep_slices(truth, [(0, 7)])) == ((0, 7),)
    assert annotated_slices(keep_slices(truth, [(0, 7), (0, 7)])) == ((0, 7),)


def test_a_fully_labelled_map_has_its_slices_along_d() -> None:
    assert annotated_slices(label_map(dense())) == tuple((0, index) for index in range(8))


def test_a_slice_with_a_hole_is_not_fully_labelled() -> None:
    sparse = keep_slices(label_map(dense()), [(0, 4), (0, 5)]).array
    sparse[5, 0, 0] = 255
    assert labelled_planes(sparse) == ((0, 4),)


@pytest.mark.parametrize("wrong", [(3, 0), (0, 8), (0, -1), (-1, 0)])
def test_a_slice_outside_is_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(SettingsError, match="in the image of shape"):
        keep_slices(label_map(dense()), [wrong])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_plane_axis_of_single_slices(axis: int) -> None:
    for indices in ([0], [3], [1, 6], [3, 4], [SHAPE[axis] - 1]):
        assert plane_axis(keep_slices(label_map(dense()), [(axis, index) for index in indices]).array) == axis


def test_plane_axis_of_every_other_slice_is_still_sparse() -> None:
    assert plane_axis(keep_slices(label_map(dense()), [(0, index) for index in range(0, 8, 2)]).array) == 0


def test_a_slab_is_sparse_until_most_of_it_lies_inside() -> None:
    truth = label_map(dense())
    assert plane_axis(keep_slices(truth, [(0, 3), (0, 4), (0, 5)]).array) == 0
    assert plane_axis(keep_slices(truth, [(0, index) for index in range(2, 7)]).array) is None


def test_slices_in_three_directions_are_sparse_and_the_axis_with_fewest_is_named() -> None:
    assert plane_axis(keep_slices(label_map(dense()), [(0, 2), (1, 4), (2, 5)]).array) is not None
    mostly_axial = keep_slices(label_map(dense()), [(0, 2), (0, 5)]).array
    mostly_axial[3, 4, 4] = 1
    assert plane_axis(mostly_axial) == 0


def test_plane_axis_of_dense_labels() -> None:
    assert plane_axis(dense()) is None
    ignored_corner = dense()
    ignored_corner[:2, :2, :2] = 255
    assert plane_axis(ignored_corner) is None
    block = np.full((20, 20, 20), 255, dtype=np.uint8)
    block[4:16, 4:16, 4:16] = 0
    assert plane_axis(block) is None


def test_plane_axis_of_one_slice_and_one_voxel() -> None:
    assert plane_axis(np.zeros((9, 1, 9), dtype=np.uint8)) == 1
    voxel = np.full(SHAPE, 255, dtype=np.uint8)
    voxel[3, 3, 3] = 1
    assert plane_axis(voxel) == 0


def test_class_counts_over_cases_leave_out_the_unlabelled() -> None:
    sparse = keep_slices(label_map(dense()), [(0, 2), (0, 4)]).array
    image = np.zeros((1, *SHAPE), dtype=np.float32)
    cases = [PreparedCase("a", image, sparse, None, (1.0, 1.0, 1.0))] * 2
    assert class_counts(cases, 4).tolist() == [2 * 156, 2 * 12, 2 * 12, 0]


def test_good_annotations_give_no_warning() -> None:
    assert check_annotations([case(dense()), case(None, "unlabelled")], 3) == ()


@pytest.mark.parametrize("cases", [[], [case(None)], [case(np.full(SHAPE, 255, dtype=np.uint8))]])
def test_nothing_labelled_is_an_error(cases: list[Case]) -> None:
    with pytest.raises(TrainingDataError, match=r"needs labelled voxels\. Received: none"):
        check_annotations(cases, 3)


def test_only_background_is_an_error_but_an_empty_slice_beside_others_is_not() -> None:
    empty = case(keep_slices(label_map(dense()), [(0, index) for index in (0, 1, 7)]).array)
    with pytest.raises(TrainingDataError, match="only background"):
        check_annotations([empty], 3)
    assert check_annotations([empty, case(dense(), "case_2")], 3) == ()


def test_a_value_outside_the_table_is_named_with_its_case() -> None:
    with pytest.raises(TrainingDataError, match=r"0 \(background\) … 1, or 255.*Received: 2 in case_1"):
        check_annotations([case(dense())], 2)


def test_warnings() -> None:
    one_slice = case(keep_slices(label_map(dense()), [(0, 3)]).array)
    assert check_annotations([one_slice], 3) == (
        "Only 1 slice(s) labelled: 3 or more give a much better network.",
        "No labelled voxel shows class 2: the network will unlearn or never learn it.",
    )
    no_background = case(np.ones(SHAPE, dtype=np.uint8))
    assert check_annotations([no_background], 2) == (
        "No labelled voxel is background: the network cannot learn where structures end.",
    )
    without = case(np.full(SHAPE, 255, dtype=np.uint8), "empty")
    assert check_annotations([case(dense()), without], 3) == ("empty has no labelled voxel and is not trained on.",)
    drowned = np.zeros(SHAPE, dtype=np.uint8)
    drowned[0, 0, :2] = 1
    assert check_annotations([case(drowned)], 2) == (
        "Background outweighs the structures 359 to 1: add slices that show more of them.",
    )
