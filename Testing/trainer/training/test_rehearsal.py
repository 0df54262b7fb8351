"""What a step of retraining sees: corrected slices, pieces of earlier cases, or the start model's opinion."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from unetseg import losses
from unetseg.config import NO_AUGMENTATION, TrainingSettings
from unetseg.data import PreparedCase
from unetseg.data.batches import Batch, BatchSource
from unetseg.training.rehearsal import Distillation, Rehearsal, frozen_teacher
from unetseg.training.state import TrainingState
from unetseg.training.step import training_step
from unetseg.volume import UNLABELLED

SHAPE = (16, 6, 4)


def source(annotation, *, seed=0) -> BatchSource:
    """Patches of the whole case, as it is; the image counts the slices."""
    image = np.broadcast_to(np.arange(len(annotation), dtype=np.float32)[:, None, None], annotation.shape)
    return BatchSource(
        [PreparedCase("case", image[None].copy(), annotation, None, (1.0, 1.0, 1.0))],
        patch_size=annotation.shape,
        batch_size=2,
        classes=2,
        dimensions=3,
        augmentation=NO_AUGMENTATION,
        class_weights=(1.0, 1.0),
        edit_weight=3.0,
        seed=seed,
    )


def labelled_slice(index: int, *, shape=SHAPE):
    annotation = np.full(shape, UNLABELLED, np.uint8)
    annotation[index] = 1
    return annotation


@dataclasses.dataclass
class Marked:
    """Batches that say where they come from."""

    kind: str

    def batch(self, iteration: int):
        return self.kind, iteration


@pytest.mark.parametrize("share", [0.3, 0.0, 0.9])
def test_pieces_are_rehearsed_in_about_their_share_of_the_steps(share):
    batches = Rehearsal(Marked("corrected"), Marked("piece"), share=share, seed=5)
    drawn = [batches.batch(iteration) for iteration in range(2000)]
    assert [iteration for _, iteration in drawn] == list(range(2000))
    found = sum(kind == "piece" for kind, _ in drawn) / 2000
    assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 2000))
    assert [batches.batch(iteration) for iteration in range(2000)] == drawn
    other = Rehearsal(Marked("corrected"), Marked("piece"), share=share, seed=6)
    assert share == 0.0 or [other.batch(iteration) for iteration in range(2000)] != drawn


def distillation(annotation, *, weight=0.1):
    """The teacher says class 1 with the probability σ(image)."""
    return Distillation(
        source(annotation), lambda image: torch.cat([torch.zeros_like(image), image], 1), weight=weight, seed=0
    )


def kinds(batches, count=300):
    found = [batches.batch(iteration) for iteration in range(count)]
    distilled = [number for number, batch in enumerate(found) if batch.opinion is not None]
    return found, distilled


def test_in_a_fifth_of_the_steps_the_start_model_is_asked():
    annotation = labelled_slice(8)
    found, distilled = kinds(distillation(annotation))
    assert len(distilled) / 300 == pytest.approx(0.2, abs=0.08)
    plain = next(number for number in range(300) if number not in distilled)
    expected = source(annotation).batch(plain)
    assert torch.equal(found[plain].weight, expected.weight)
    assert torch.equal(found[plain].image, expected.image)


@pytest.mark.parametrize("index", [8, 0, 15])
def test_its_opinion_does_not_count_within_three_slices_of_a_labelled_one(index):
    found, distilled = kinds(distillation(labelled_slice(index)), count=20)
    batch = found[distilled[0]]
    far = np.abs(np.arange(16) - index) > 3
    expected = np.broadcast_to(np.where(far, np.float32(0.1), 0)[:, None, None], (2, *SHAPE))
    np.testing.assert_array_equal(batch.weight.numpy(), expected)
    assert not batch.target.any()
    sigmoid = 1 / (1 + np.exp(-np.arange(16.0)))
    np.testing.assert_allclose(batch.opinion[0, 1, :, 0, 0].numpy(), sigmoid, atol=1e-6)
    np.testing.assert_allclose(batch.opinion.sum(1).numpy(), 1.0, atol=1e-6)


def test_where_all_is_labelled_or_near_no_step_is_lost_on_an_opinion():
    for annotation in (np.ones(SHAPE, np.uint8), labelled_slice(3, shape=(7, 6, 4))):
        found, distilled = kinds(distillation(annotation), count=30)
        assert distilled == []
        assert all(bool(batch.weight.any()) for batch in found)


def test_the_teacher_stays_as_it_was():
    network = nn.Conv3d(1, 2, 1)
    teacher = frozen_teacher(network)
    image = torch.ones(1, 1, 2, 2, 2)
    before = teacher(image)
    assert torch.equal(before, network(image))
    assert not before.requires_grad
    nn.init.zeros_(network.weight)
    assert torch.equal(teacher(image), before)
    assert network.training


def test_the_term_is_the_divergence_from_the_opinion_over_the_voxels_that_have_one():
    network = nn.Conv3d(1, 2, 1)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    opinion = torch.tensor([1.0, 0.0])[:, None, None, None].repeat(1, 1, 2, 2, 2)
    opinion[0, :, 0, 0, 0] = 0.5  # here both agree
    weight = torch.full((1, 2, 2, 2), 0.1)
    weight[0, 1] = 0.0
    batch = Batch(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 2, 2, 2, dtype=torch.int64), weight, opinion)
    settings = TrainingSettings(iterations=1)
    result = training_step(
        TrainingState(network, settings=settings),
        batch,
        losses.build("dice_cross_entropy"),
        settings=settings,
        learning_rate=1e-2,
        precision=torch.float32,
        freeze_statistics=True,
    )
    # Of four voxels that count three differ by KL((1, 0) ‖ (½, ½)) = ln 2.
    assert result.loss == {"distillation": pytest.approx(0.1 * 3 * math.log(2) / 4)}
    assert network.bias[0] > network.bias[1]
