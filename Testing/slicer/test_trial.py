"""Whose figures stand before those of a new version, on slices that neither has learned from."""

import numpy as np
import pytest

from unetseg.config import Label
from unetseg.labelled_slices import LabelledSlice, save_slices
from unetseg.messages import Train, Trained, TrainingCase
from UNetSegmentLib.trial import Trial, readTrial

LABELS = (Label(0, "Background", (0, 0, 0)), Label(1, "Liver", (200, 90, 60)))
SHAPE = (4, 2, 2)
RIGHT, HALF = np.array([[1, 1], [0, 0]], np.uint8), np.array([[1, 0], [0, 0]], np.uint8)
TRAINED = Trained("1", "ab" * 32, 9, 60.0, (0.5,), (0.875,), 2, 0.75, 0.7)


@pytest.fixture
def training(tmp_path):
    """Two volumes, with one held-out slice each; the version in use had found half of one and all of the other."""
    cases = []
    for name, before in (("a", HALF), ("b", RIGHT)):
        slices = [LabelledSlice(0, index, RIGHT, before, "used") for index in range(3)]
        save_slices(tmp_path / f"{name}.json", slices, SHAPE)
        cases.append(TrainingCase(name, (), f"{name}.json", held_out_slices=((0, 1),)))
    cases.append(TrainingCase("c", (), "missing.json"))
    return Train("1", str(tmp_path), tuple(cases), "model.safetensors", start_from="/models/base.safetensors")


def test_figures_of_the_start_are_those_of_the_version_in_use_where_it_is_the_start(training):
    trial = readTrial(training, TRAINED, "base", LABELS)
    assert trial == Trial(2, 2, (0.5,), (0.5,), (0.875,), 0.75, 0.7, True)


def test_another_version_in_use_is_measured_by_what_it_had_predicted(training):
    assert readTrial(training, TRAINED, "used", LABELS).before == (pytest.approx((2 / 3 + 1) / 2),)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("told", [(None, "used"), (HALF, "another")])
def test_one_slice_that_the_version_in_use_has_not_predicted_leaves_it_without_a_figure(
    training, tmp_path, index, told
):
    """Also one that is not held out: it was known when the others were predicted."""
    slices = [LabelledSlice(0, 1 - index, RIGHT, HALF, "used"), LabelledSlice(0, index, RIGHT, *told)]
    save_slices(tmp_path / "b.json", slices, SHAPE)
    trial = readTrial(training, TRAINED, "used", LABELS)
    assert (trial.start, trial.before, trial.after) == ((0.5,), (), (0.875,))


def test_nothing_held_out_is_nothing_measured(tmp_path):
    request = Train("1", str(tmp_path), (TrainingCase("a", (), "a.json"),), "model.safetensors", start_from="/b.x")
    trained = Trained("1", "ab" * 32, 9, 60.0, (), (), improved=False)
    assert readTrial(request, trained, "used", LABELS) == Trial(0, 0, (), (), (), None, None, False)


def test_a_new_network_has_nothing_before(training):
    new = Train("1", training.folder, training.cases, "model.safetensors")
    trained = Trained("1", "ab" * 32, 9, 60.0, (), (0.875,), 2)
    assert readTrial(new, trained, "", LABELS) == Trial(2, 2, (), (), (0.875,), None, None, True)
