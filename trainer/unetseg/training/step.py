"""One optimiser step, guarded against numbers that are not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..config import TrainingSettings
from ..data.batches import Batch
from ..inference import CHANNELS_LAST, without_tf32
from ..losses import Loss
from .precision import rounded
from .state import TrainingState, norm_layers
from .targeted import targeted_logits

NORM_MOMENTUM = 0.1
"""Of the running statistics: how much the newest batch counts."""


@dataclass(frozen=True)
class StepResult:
    """Outcome of one step.

    Attributes:
        finite: False where the step was skipped because the loss or a gradient was not finite.
        loss: value of each of the loss's terms; empty where the step was skipped or had no labelled voxel.
    """

    finite: bool
    loss: Mapping[str, float] = field(default_factory=dict)


def training_step(
    state: TrainingState,
    batch: Batch,
    loss: Loss,
    *,
    settings: TrainingSettings,
    learning_rate: float,
    precision: torch.dtype,
    freeze_statistics: bool,
) -> StepResult:
    """Forward, backward, clip, AdamW.

    A batch without any labelled voxel (Σ w = 0) changes nothing: neither gradient, momentum nor weight decay.
    A non-finite loss or gradient norm skips the step and leaves weights and running statistics as they were.
    """
    if not bool(batch.weight.any()):
        return StepResult(finite=True)
    device = next(state.network.parameters()).device
    image = batch.image.to(device, memory_format=CHANNELS_LAST[batch.image.dim() - 2])
    target, weight = batch.target.to(device), batch.weight.to(device)
    with _buffers_restored_on_failure(state.network) as failed, without_tf32(device):
        set_training_mode(state.network, freeze_statistics=freeze_statistics)
        for layer in norm_layers(state.network):
            # Of the first batches the plain mean, so that short trainings are not held back by the initial values.
            layer.momentum = max(NORM_MOMENTUM, 1.0 / (1 + state.counters.iteration))
        state.optimiser.zero_grad(set_to_none=True)
        with rounded(precision, device):
            logits, region = targeted_logits(state.network, image, batch.weight)
        if batch.opinion is None:
            terms = loss.terms(logits, region.of(target), region.of(weight))
        else:
            opinion = torch.stack([region.of(each) for each in batch.opinion.to(device).unbind(1)], 1)
            terms = {"distillation": _distillation(logits, opinion, region.of(weight))}
        value = torch.stack(list(terms.values())).sum()
        if not bool(torch.isfinite(value)):
            failed()
            return StepResult(finite=False)
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip_norm)
        if not bool(torch.isfinite(norm)):
            failed()
            return StepResult(finite=False)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate
        state.optimiser.step()
    return StepResult(finite=True, loss={name: float(term.detach()) for name, term in terms.items()})


def _distillation(logits: Tensor, opinion: Tensor, weight: Tensor) -> Tensor:
    """Σ w·KL(opinion ‖ softmax(logits)) / voxels with a weight (Hinton 2015, arXiv 1503.02531, eq. 2, T = 1)."""
    divergence = (torch.special.xlogy(opinion, opinion) - opinion * torch.log_softmax(logits.float(), 1)).sum(1)
    value: Tensor = (weight * divergence).sum() / (weight > 0).sum().clamp_min(1)
    return value


def set_training_mode(network: nn.Module, *, freeze_statistics: bool) -> None:
    """Training mode; with ``freeze_statistics`` batch norm keeps using its running statistics.

    Those of a few patches drift, so that retraining freezes them from its start and a new network's training once they
    are known (``TrainingSettings.statistics_share``). Scale and shift stay trainable.
    """
    network.train()
    if freeze_statistics:
        for layer in norm_layers(network):
            layer.eval()


@contextlib.contextmanager
def _buffers_restored_on_failure(network: nn.Module) -> Iterator[Callable[[], None]]:
    """Running statistics change in the forward pass already: put them back where the step does not count.

    Yields a function that does so; it also happens on any exception (cancel, out of memory), so that a
    checkpoint written afterwards is exactly the state between two steps.
    """
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}

    def restore() -> None:
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])

    try:
        yield restore
    except BaseException:
        restore()
        raise
