"""A volume in, a segmentation on its own grid out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from small_models import DOCUMENT, network_of
from unetseg.config import Normalisation, Plan
from unetseg.errors import CancelledError, DeviceError, ImageError, SettingsError
from unetseg.inference import Engine, segment, segment_prepared
from unetseg.model_file import Model
from unetseg.preprocessing import axis_mapping, preprocess
from unetseg.volume import Geometry, Volume

OBLIQUE = ((0.0, -0.28, 0.96), (-1.0, 0.0, 0.0), (0.0, 0.96, 0.28))


def model(**plan) -> Model:
    return Model(dataclasses.replace(DOCUMENT, plan=dataclasses.replace(DOCUMENT.plan, **plan)), network_of(DOCUMENT))


@pytest.fixture
def volume() -> Volume:
    geometry = Geometry((9, 30, 26), (3.0, 0.9, 1.1), (-40.0, 12.0, 7.0), OBLIQUE)
    array = np.random.default_rng(0).normal(0, 80, (2, 9, 30, 26)).astype(np.float32)
    return Volume(array, geometry)


def test_results_lie_on_the_volume_s_own_grid(volume):
    before = volume.array.copy()
    result = segment(model(), volume, uncertainty=True, probabilities=True)
    assert result.label_map.geometry == volume.geometry
    assert result.label_map.array.dtype == np.uint8
    assert result.uncertainty is not None
    assert result.uncertainty.shape == volume.geometry.shape
    assert result.probabilities is not None
    assert result.probabilities.dtype == np.float16
    assert result.probabilities.shape == (3, *volume.geometry.shape)
    assert np.allclose(result.probabilities.sum(0, dtype=float), 1, atol=2e-3)
    assert np.array_equal(volume.array, before)
    top = np.sort(result.probabilities.astype(float), axis=0)
    clear = top[-1] - top[-2] > 0.01
    assert np.array_equal(result.probabilities.argmax(0)[clear], result.label_map.array[clear])
    assert result.device == "cpu"
    assert "no accelerator was found" in result.notes[0] or torch.cuda.is_available()


def test_on_the_network_s_own_grid_labels_are_the_plain_pass(volume):
    """Spacing as acquired: nothing but turning lies between the network and the result."""
    own = model(spacing_mm=(0.0, 0.9, 1.1), orientation="thickest_first")
    prepared = preprocess(volume, own.document.plan)
    mapping = axis_mapping(prepared)
    assert mapping.is_identity
    image = torch.from_numpy(prepared.image)[None]  # (1, 2, 9, 30, 26): even in H and W, the only axes that are pooled
    with torch.inference_mode():
        expected = own.network.eval()(image)[0].argmax(0).to(torch.uint8).numpy()
    result = segment(own, volume, device="cpu")
    assert np.array_equal(result.label_map.array, mapping.reorientation.invert(expected))


def test_what_is_not_asked_for_is_not_made(volume):
    result = segment(model(), volume)
    assert result.uncertainty is None
    assert result.probabilities is None


def test_a_prepared_volume_serves_again(volume):
    own = model()
    prepared = preprocess(volume, own.document.plan)
    first, second = (segment_prepared(Engine.of(own), prepared).label_map.array for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(first, segment(own, volume).label_map.array)


def test_memory_changes_nothing(volume):
    plenty = segment(model(), volume, memory_gb=4, probabilities=True)
    little = segment(model(), volume, memory_gb=0.126, probabilities=True)
    assert np.array_equal(plenty.label_map.array, little.label_map.array)


def test_slices_for_a_network_in_2d(volume):
    document = dataclasses.replace(
        DOCUMENT,
        network=dataclasses.replace(
            DOCUMENT.network,
            name="unet_2d",
            arguments={"base_channels": 1, "depth": 3, "norm": "instance", "padding": "same"},
        ),
        plan=Plan(2, "thickest_first", (0.0, 1.0, 1.0), (1, 32, 32), 4, "MR", (Normalisation("zscore"),) * 2),
    )
    result = segment(Model(document, network_of(document)), volume)
    assert result.label_map.geometry == volume.geometry


def test_progress_ends_at_1_and_cancelling_is_heard(volume):
    shares: list[float] = []
    segment(model(), volume, progress=shares.append)
    assert shares[-1] == pytest.approx(1)

    def check_cancel():
        raise CancelledError

    with pytest.raises(CancelledError):
        segment(model(), volume, check_cancel=check_cancel)


def test_wrong_requests_are_refused(volume):
    for limit in (0, -1, math.inf, math.nan):
        with pytest.raises(SettingsError, match=rf"must be positive and finite.*Received: {limit} GB"):
            segment(model(), volume, memory_gb=limit)
    with pytest.raises(DeviceError, match="Choose auto"):
        segment(model(), volume, device="cuda:99")
    with pytest.raises(ImageError):
        segment(model(), Volume(volume.array[:1], volume.geometry))


FLIPPED = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))
UPRIGHT = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def confirmed_labels(shape, places):
    """Random labels at each place, (axis, index) of a slice or an index of voxels; 255 elsewhere."""
    truth = np.random.default_rng(1).integers(0, 3, shape).astype(np.uint8)
    given = np.full(shape, 255, np.uint8)
    for axis, index in places:
        plane = (slice(None),) * axis + (index,)
        given[plane] = truth[plane]
    given[1, 2:4, 5:9] = truth[1, 2:4, 5:9]  # a scribble
    return given


@pytest.mark.parametrize("direction", [UPRIGHT, OBLIQUE, FLIPPED])
@pytest.mark.parametrize(
    ("spacing_mm", "target_mm"),
    [((3.0, 0.9, 1.1), (2.5, 1.0, 1.0)), ((1.0, 4.0, 0.7), (1.5, 1.5, 1.5)), ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))],
)
def test_confirmed_labels_come_back_exactly_whatever_grids_lie_between(direction, spacing_mm, target_mm):
    shape = (7, 18, 16)
    array = np.random.default_rng(0).normal(0, 80, (2, *shape)).astype(np.float32)
    volume = Volume(array, Geometry(shape, spacing_mm, (-40.0, 12.0, 7.0), direction))
    given = confirmed_labels(shape, [(0, 3), (1, 17), (2, 0), (2, 9)])
    before = given.copy()
    options = {"uncertainty": True, "probabilities": True}
    result = segment(model(spacing_mm=target_mm), volume, confirmed=given, **options)
    known = given != 255
    np.testing.assert_array_equal(given, before)
    np.testing.assert_array_equal(result.label_map.array[known], given[known])
    assert result.uncertainty is not None
    assert result.probabilities is not None
    assert not result.uncertainty[known].any()
    assert result.uncertainty[~known].any()
    np.testing.assert_array_equal(result.probabilities[:, known], np.eye(3)[given[known]].T)
    np.testing.assert_allclose(result.probabilities.sum(0, dtype=float), 1, atol=2e-3)
    assert result.probabilities.min() >= 0
    assert result.device == "cpu"
    alone = segment(model(spacing_mm=target_mm), volume, confirmed=given)
    np.testing.assert_array_equal(alone.label_map.array, result.label_map.array)


def test_labels_that_are_no_whole_slice_change_nothing_around_them(volume):
    given = np.full(volume.geometry.shape, 255, np.uint8)
    given[4, :29] = 2
    plain = segment(model(), volume).label_map.array
    np.testing.assert_array_equal(
        segment(model(), volume, confirmed=given).label_map.array, np.where(given == 255, plain, given)
    )


def test_a_whole_slice_changes_its_neighbours_and_those_far_away_hardly(volume):
    given = np.full(volume.geometry.shape, 255, np.uint8)
    given[4] = 2
    plain = segment(model(), volume, probabilities=True).probabilities
    carried = segment(model(), volume, probabilities=True, confirmed=given).probabilities
    change = (carried[2].astype(float) - plain[2]).mean(axis=(1, 2))
    assert (np.diff(change[:5]) > 0).all()
    assert (np.diff(change[4:]) < 0).all()
    assert change.min() > 0


@pytest.mark.parametrize("size", [(9, 30, 25), (30, 9, 26), (9, 30)])
def test_confirmed_labels_of_another_shape_are_refused(volume, size):
    with pytest.raises(ImageError, match=r"shape \(9, 30, 26\)"):
        segment(model(), volume, confirmed=np.zeros(size, np.uint8))


def test_confirmed_labels_that_the_model_does_not_know_are_refused(volume):
    given = np.full(volume.geometry.shape, 255, np.uint8)
    given[0, 0, :3] = (3, 254, 2)
    with pytest.raises(ImageError, match=r"0 to 2, or 255.*Received: 3, 254\..*Use the model"):
        segment(model(), volume, confirmed=given)


def test_the_precision_is_the_user_s_to_choose_and_is_told(volume):
    own = model()
    rounded = segment(own, volume, precision="bfloat16", probabilities=True)
    exact = segment(own, volume, probabilities=True)
    assert "Computed in 16-bit precision, which may move a class border by rounding" in rounded.notes
    assert not any("16-bit" in note for note in exact.notes)
    assert 0 < np.abs(rounded.probabilities - exact.probabilities).max() < 0.1
    with pytest.raises(SettingsError, match="precision must be one of"):
        segment(own, volume, precision="exact")
