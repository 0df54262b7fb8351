from __future__ import annotations

import numpy as np
import torch

from unetseg.augmentation.smooth import _basis, random_field


def test_weights_of_the_cubic_b_spline() -> None:
    basis = _basis(5, 4.0)
    assert basis.shape == (5, 5)
    np.testing.assert_allclose(basis[0], [1 / 6, 2 / 3, 1 / 6, 0, 0], atol=1e-6)
    np.testing.assert_allclose(basis[2], [1 / 48, 23 / 48, 23 / 48, 1 / 48, 0], atol=1e-6)
    np.testing.assert_allclose(basis.sum(dim=1), np.ones(5), atol=1e-6)


def test_every_voxel_is_covered_on_and_off_the_grid() -> None:
    for size in (1, 2, 31, 32, 33, 40):
        np.testing.assert_allclose(_basis(size, 32.0).sum(dim=1), np.ones(size), atol=1e-6)


def test_axes_come_out_in_order_and_vary_slowly() -> None:
    field = random_field(np.random.default_rng(0), count=200, shape=(3, 64, 5), grid_voxels=(32.0, 8.0, 32.0))
    assert field.shape == (200, 3, 64, 5)
    step = [field.diff(dim=axis).abs().mean() for axis in (1, 2, 3)]
    assert step[1] > 3 * step[0]
    assert step[1] > 3 * step[2]
    assert 0.30 < float(field.std()) < 0.37


def test_the_same_seed_gives_the_same_field() -> None:
    fields = [
        random_field(np.random.default_rng(5), count=1, shape=(4, 5, 6), grid_voxels=(8.0,) * 3) for _ in range(2)
    ]
    assert torch.equal(*fields)
