"""The way back to the source grid, by values: interpolated, reduced and turned exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from unetseg.config import Normalisation, Plan
from unetseg.inference.restore import normalised_entropy, restore
from unetseg.preprocessing import Prepared, axis_mapping, preprocess
from unetseg.volume import Geometry, Volume

AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def prepared_volume(shape, spacing_mm, target_mm, direction=AXES) -> Prepared:
    geometry = Geometry(shape, spacing_mm, (5.0, -3.0, 40.0), direction)
    plan = Plan(3, "canonical", target_mm, (8, 8, 8), 1, "MR", (Normalisation("zscore"),))
    array = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    return preprocess(Volume(array, geometry), plan)


def random_probabilities(shape, classes=3):
    return torch.randn(classes, *shape, generator=torch.Generator().manual_seed(0)).mul(2).softmax(0)


def slabs_of(probabilities, size):
    for start in range(0, probabilities.shape[1], size):
        yield start, probabilities[:, start : start + size]


TURNED = ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 0.0))


@pytest.mark.parametrize("slab", [1, 3, 8, 100])
@pytest.mark.parametrize("direction", [AXES, TURNED])
@pytest.mark.parametrize("target_mm", [(1.0, 1.0, 1.0), (5.0, 0.7, 2.2), (0.5, 3.0, 1.0)])
def test_results_equal_interpolation_by_another_library(slab, direction, target_mm):
    prepared = prepared_volume((9, 14, 11), (2.5, 1.0, 1.3), target_mm, direction)
    probabilities = random_probabilities(prepared.geometry.shape)
    result = restore(slabs_of(probabilities, slab), prepared, uncertainty=True, probabilities=True)
    mapping = axis_mapping(prepared)
    positions = np.meshgrid(*mapping.positions, indexing="ij")
    oriented = np.stack([map_coordinates(p.numpy(), positions, order=1, mode="nearest") for p in probabilities])
    expected = mapping.reorientation.invert(oriented)
    assert result.probabilities is not None
    assert result.uncertainty is not None
    assert np.abs(result.probabilities - expected).max() < 1e-3  # float16
    assert (result.labels == expected.argmax(0)).mean() > 0.999
    entropy = -(expected * np.log(expected)).sum(0) / math.log(3) * 255
    assert np.abs(result.uncertainty - entropy).max() < 0.51


def test_the_same_grid_is_not_interpolated():
    prepared = prepared_volume((6, 7, 8), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert axis_mapping(prepared).is_identity
    labels = np.random.default_rng(1).integers(0, 3, (6, 7, 8))
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).permute(3, 0, 1, 2).float()
    result = restore(slabs_of(one_hot, 4), prepared, uncertainty=False, probabilities=False)
    turned = axis_mapping(prepared).reorientation.invert(labels)
    assert np.array_equal(result.labels, turned)
    assert result.labels.dtype == np.uint8
    assert result.uncertainty is None
    assert result.probabilities is None


def test_entropy_is_0_for_certain_and_255_for_all_equal():
    probabilities = torch.tensor([[1.0, 0.25, 0.5], [0.0, 0.25, 0.5], [0.0, 0.25, 0.0], [0.0, 0.25, 0.0]])
    assert normalised_entropy(probabilities).tolist() == [0, 255, 128]  # ln 2 / ln 4 is one half


def test_slices_coarser_than_the_slabs_are_skipped_over():
    prepared = prepared_volume((3, 4, 4), (10.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert prepared.geometry.shape[0] == 30
    ramp = torch.linspace(0, 1, 30)[None, :, None, None].expand(1, 30, 4, 4)
    probabilities = torch.cat([ramp, 1 - ramp])
    result = restore(slabs_of(probabilities, 2), prepared, uncertainty=False, probabilities=True)
    assert result.probabilities is not None
    along = result.probabilities[0, :, 0, 0].astype(float)
    assert sorted(along) == pytest.approx([4.5 / 29, 14.5 / 29, 24.5 / 29], abs=1e-3)
