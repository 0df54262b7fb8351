"""Inverted contrast, recognised with a network that takes for the structure what is bright in each channel."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from small_models import DOCUMENT
from unetseg.config import Normalisation
from unetseg.data import PreparedCase
from unetseg.training import contrast
from unetseg.training.contrast import inverted_case, with_contrast
from unetseg.volume import UNLABELLED

NETWORK = SimpleNamespace(size_multiple=(2, 2, 2), state_dict=dict)


def plan(*inverted: bool):
    normalisation = tuple(Normalisation("zscore", inverted=each) for each in inverted)
    return dataclasses.replace(DOCUMENT.plan, patch_size=(4, 8, 8), normalisation=normalisation)


def case_with(*signs: int) -> PreparedCase:
    """A box that is bright (1) or dark (-1) in each channel, or does not show (0), of which every slice is labelled."""
    annotation = np.zeros((12, 16, 16), np.uint8)
    annotation[3:9, 4:12, 4:12] = 1
    annotation[5, 3:13, 3:13] = 1
    shown = annotation * 2.0 - 1.0
    image = np.stack([sign * shown for sign in signs]).astype(np.float32)
    return PreparedCase("box", image, annotation, None, (1.0, 1.0, 1.0))


def only_slice(case: PreparedCase, *indices: int) -> PreparedCase:
    annotation = np.full_like(case.annotation, UNLABELLED)
    annotation[list(indices)] = case.annotation[list(indices)]
    return dataclasses.replace(case, annotation=annotation)


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """The cases of each measurement; its result is the mean over channels of the Dice of "bright"."""
    seen = []

    def validator(network, cases, *, plan, classes):
        seen.append(cases)
        dice = []
        for case in cases:
            labelled = case.annotation != UNLABELLED
            truth = (case.annotation == 1)[labelled]
            for channel in case.image:
                bright = channel[labelled] > 0
                dice.append(2 * np.count_nonzero(bright & truth) / (bright.sum() + truth.sum()))
        return lambda weights: (float(np.mean(dice)),) if dice else ()

    monkeypatch.setattr(contrast, "validator", validator)
    return seen


@pytest.mark.parametrize("signs", [(1,), (-1,), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, -1)])
def test_each_channel_is_inverted_where_it_shows_dark_what_was_bright(signs):
    before = plan(*(False for _ in signs))
    after, inverted = with_contrast(NETWORK, [case_with(*signs)], before, classes=2)
    assert inverted == tuple(sign == -1 for sign in signs)
    assert after == plan(*inverted)


def test_what_a_model_inverts_already_is_turned_back():
    after, inverted = with_contrast(NETWORK, [case_with(-1, 1)], plan(True, True), classes=2)
    assert inverted == (True, False)
    assert after == plan(False, True)


@pytest.mark.parametrize(("bright", "inverted"), [(46, False), (40, True)])
def test_only_what_is_clearly_better_counts(bright, inverted):
    """Of the 100 voxels so many are bright and the others dark: Dice 0.63 against 0.70, and 0.57 against 0.75."""
    case = only_slice(case_with(0), 5)
    case.image[0, 5][case.annotation[5] == 1] = np.where(np.arange(100) < bright, 1, -1)
    assert with_contrast(NETWORK, [case], plan(False), classes=2) == (plan(inverted), (inverted,))


@pytest.mark.parametrize(("cases", "slices_of_each"), [(1, 4), (2, 2), (3, 1), (6, 1)])
def test_only_the_clearest_slices_of_a_few_cases_that_show_a_structure_are_looked_at(measured, cases, slices_of_each):
    empty = dataclasses.replace(case_with(1), annotation=np.zeros((12, 16, 16), np.uint8))
    with_contrast(NETWORK, [empty] * 5 + [case_with(-1)] * cases, plan(False), classes=2)
    assert [len(parts) for parts in measured] == [min(4, cases) * slices_of_each] * 2
    part = measured[0][0].annotation
    labelled = part != UNLABELLED
    assert np.count_nonzero(labelled.any(axis=(1, 2))) == 1
    assert np.count_nonzero(part == 1) == 100  # slice 5
    assert part.shape[0] == 4


def test_a_large_slice_that_means_nothing_either_way_is_outvoted():
    case = only_slice(case_with(-1), 4, 5)
    case.image[0, 5] = 0
    assert with_contrast(NETWORK, [only_slice(case, 5)], plan(False), classes=2)[1] == (False,)
    assert with_contrast(NETWORK, [case], plan(False), classes=2)[1] == (True,)


def test_without_any_structure_nothing_is_inverted():
    empty = dataclasses.replace(case_with(-1), annotation=np.zeros((12, 16, 16), np.uint8))
    assert with_contrast(NETWORK, [empty], plan(False), classes=2) == (plan(False), (False,))


def test_scribbles_are_looked_at_where_no_slice_is_labelled():
    case = case_with(-1)
    scribbles = np.full_like(case.annotation, UNLABELLED)
    scribbles[3:9, 3:9, 8] = case.annotation[3:9, 3:9, 8]
    _, inverted = with_contrast(NETWORK, [dataclasses.replace(case, annotation=scribbles)], plan(False), classes=2)
    assert inverted == (True,)


def test_the_sign_of_the_channels_named_is_changed_in_a_copy():
    case = case_with(1, 1)
    turned = inverted_case(case, (False, True))
    np.testing.assert_array_equal(turned.image[0], case.image[0])
    np.testing.assert_array_equal(turned.image[1], -case.image[1])
    assert turned.image.dtype == np.float32
    assert not np.shares_memory(turned.image, case.image)
    assert inverted_case(case, (False, False)) is case
