import numpy as np
import pytest
import torch

from unetseg.inference.carry import FADING, RANGE_SLICES, carry_corrections

SPACING = (2.0, 1.0, 0.5)
SHAPE = (9, 64, 96)


def wave(shape, spacing, *, periods):
    """A cosine along the last axis, and its angular frequency per mm."""
    length = shape[-1]
    frequency = 2 * np.pi * periods / (length * spacing[-1])
    return np.cos(2 * np.pi * periods * np.arange(length) / length), frequency


def annotated(shape, planes, value=1):
    annotation = np.full(shape, 255, np.uint8)
    for axis, index in planes:
        np.moveaxis(annotation, axis, 0)[index] = value
    return annotation


def wrong_by(error):
    """Two classes; class 1 has the probability 1 - error, so that the truth 1 is missed by ``error``."""
    foreground = torch.from_numpy(1.0 - error).float()
    return torch.stack([1.0 - foreground, foreground])


@pytest.fixture
def whole_plane(monkeypatch):
    """Without a margin the plane is taken as periodic, so that the closed form of a wave can be checked."""
    monkeypatch.setattr("unetseg.inference.carry.MARGIN_VOXELS", 0)


def test_nothing_is_carried_where_no_slice_is_labelled_all_over():
    probabilities = wrong_by(np.full(SHAPE, 0.4))
    before = probabilities.clone()
    annotation = np.full(SHAPE, 255, np.uint8)
    annotation[4, :63] = 1
    carry_corrections(probabilities, annotation, SPACING)
    assert torch.equal(probabilities, before)


def test_a_slice_without_errors_changes_no_other():
    probabilities = wrong_by(np.full(SHAPE, 0.4))
    probabilities[:, 4] = torch.tensor([0.0, 1.0])[:, None, None]
    before = probabilities.clone()
    carry_corrections(probabilities, annotated(SHAPE, [(0, 4)]), SPACING)
    assert torch.equal(probabilities, before)


@pytest.mark.parametrize("periods", [1, 3])
def test_a_detail_fades_exponentially_with_the_distance_in_mm(whole_plane, periods):
    detail, frequency = wave(SHAPE, SPACING, periods=periods)
    probabilities = wrong_by(np.broadcast_to(0.5 + 0.4 * detail, SHAPE).copy())
    before = probabilities.clone()
    carry_corrections(probabilities, annotated(SHAPE, [(0, 3)]), SPACING)
    flat = 1 / (RANGE_SLICES * SPACING[0])
    for index in (2, 5):
        distance = abs(index - 3) * SPACING[0]
        expected = 0.5 * np.exp(-flat * distance) + 0.4 * detail * np.exp(
            -distance * np.sqrt((FADING * frequency) ** 2 + flat**2)
        )
        change = (probabilities - before)[1, index].numpy()
        np.testing.assert_allclose(change, np.broadcast_to(expected, change.shape), atol=1e-5)


def test_between_two_slices_the_solution_joins_both(whole_plane):
    detail, frequency = wave(SHAPE, SPACING, periods=2)
    error = np.zeros(SHAPE)
    error[1], error[7] = 0.5 + 0.4 * detail, 0.2
    probabilities = wrong_by(error)
    before = probabilities.clone()
    carry_corrections(probabilities, annotated(SHAPE, [(0, 1), (0, 7)]), SPACING)
    flat = 1 / (RANGE_SLICES * SPACING[0])
    rate = np.sqrt((FADING * frequency) ** 2 + flat**2)

    def ratio(rate, part):
        return np.sinh(rate * part * SPACING[0]) / np.sinh(rate * 6 * SPACING[0])

    expected = 0.5 * ratio(flat, 3) + 0.2 * ratio(flat, 3) + 0.4 * detail * ratio(rate, 3)
    change = (probabilities - before)[1, 4].numpy()
    np.testing.assert_allclose(change, np.broadcast_to(expected, change.shape), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_confirmed_slices_are_certain_and_classes_sum_to_one(axis):
    generator = np.random.default_rng(axis)
    shape = (8, 10, 12)
    probabilities = torch.softmax(torch.from_numpy(generator.normal(size=(3, *shape))), 0)
    truth = generator.integers(0, 3, size=shape).astype(np.uint8)
    annotation = np.full(shape, 255, np.uint8)
    for index in (2, 6):
        np.moveaxis(annotation, axis, 0)[index] = np.moveaxis(truth, axis, 0)[index]
    carry_corrections(probabilities, annotation, (1.0, 1.0, 1.0))
    labelled = annotation != 255
    assert np.array_equal(probabilities.argmax(0).numpy()[labelled], truth[labelled])
    np.testing.assert_allclose(probabilities.sum(0).numpy(), 1.0, atol=1e-6)


def test_turning_the_volume_turns_the_result():
    generator = np.random.default_rng(0)
    probabilities = torch.softmax(torch.from_numpy(generator.normal(size=(2, 6, 8, 10))), 0)
    annotation = annotated((6, 8, 10), [(0, 1), (0, 4)])
    turned = probabilities.permute(0, 3, 1, 2).clone()
    carry_corrections(probabilities, annotation, SPACING)
    carry_corrections(turned, annotation.transpose(2, 0, 1), (SPACING[2], SPACING[0], SPACING[1]))
    np.testing.assert_allclose(turned.permute(0, 2, 3, 1).numpy(), probabilities.numpy(), atol=1e-6)


def test_an_error_repeated_in_all_slices_is_removed_around_the_corrected_one():
    truth = np.zeros((16, 48, 48), np.uint8)
    truth[:, 16:32, 16:32] = 1
    missed = truth.astype(float)
    missed[:, 26:] = 0.0  # the network stops too early, everywhere alike
    probabilities = torch.from_numpy(np.stack([1 - missed, missed])).float()
    carry_corrections(probabilities, np.where(np.arange(16) == 8, truth.T, 255).T.astype(np.uint8), (1.0, 1.0, 1.0))
    found = probabilities.argmax(0).numpy()
    wrong = (found != truth).sum(axis=(1, 2))
    assert wrong[8] == 0
    assert wrong[7] == wrong[9] <= 8
    assert (missed[0] != truth[0]).sum() == 96
    assert (np.diff(wrong[8:]) >= 0).all()  # ever less is known with the distance


def test_a_volume_labelled_all_over_becomes_its_labels():
    truth = np.random.default_rng(0).integers(0, 2, size=(4, 6, 5)).astype(np.uint8)
    probabilities = wrong_by(np.full(truth.shape, 0.5))
    carry_corrections(probabilities, truth, SPACING)
    assert np.array_equal(probabilities[1].numpy(), truth.astype(np.float32))


def test_a_single_slice_has_no_neighbours():
    probabilities = wrong_by(np.full((1, 8, 8), 0.6))
    carry_corrections(probabilities, annotated((1, 8, 8), [(0, 0)]), SPACING)
    assert bool((probabilities[1] == 1).all())
