"""What every method is tried on: a ball of which three slices are labelled."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from methods.task import Task
from unetseg.config import Label
from unetseg.data import Case, keep_slices
from unetseg.volume import Geometry, LabelMap, Volume

SHAPE = (16, 16, 32)
SLICES = ((0, 4), (0, 8), (0, 12))


@pytest.fixture
def ball() -> Case:
    """A bright ellipsoid, in millimetres a ball."""
    d, h, w = np.indices(SHAPE)
    truth = (2 * (d - 8)) ** 2 + (h - 8) ** 2 + (w - 16) ** 2 <= 12**2
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    geometry = Geometry(SHAPE, (2.0, 1.0, 1.0))
    image = (100 * truth + 10 * noise).astype(np.float32)
    return Case("ball", Volume(image[None], geometry), LabelMap(truth.astype(np.uint8), geometry))


@pytest.fixture
def task(ball: Case, tmp_path: Path) -> Task:
    """To find the ball, from nothing but its slices."""
    assert ball.annotation is not None
    return Task(
        case=ball.name,
        volume=ball.volume,
        slices=SLICES,
        annotation=keep_slices(ball.annotation, SLICES),
        edited=None,
        start=None,
        start_file=None,
        prediction=None,
        labels=(Label(0, "background", (0, 0, 0)), Label(1, "ball", (255, 0, 0))),
        network="unet_3d",
        modality="MR",
        seconds=1.0,
        seed=0,
        folder=tmp_path,
        device="cpu",
    )


@pytest.fixture
def clock() -> SimpleNamespace:
    """Instead of ``time``: each look at it takes a second, so that what a test sees does not depend on the machine."""
    ticks = itertools.count()
    return SimpleNamespace(monotonic=lambda: float(next(ticks)))
