"""Everything that a training carries from one step to the next, and how it goes into a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..config import TrainingSettings
from .progress import Dice, mean_dice

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Counters:
    """The numbers of a training state (the tensors stand beside them in the checkpoint).

    Attributes:
        iteration: steps done.
        seconds: training time so far, over all sessions.
        learning_rate_scale: halved each time that non-finite numbers forced a return to good weights.
        best_score: mean held-out Dice of the best averaged weights so far; -1 before the first validation.
        best_dice: per class of that validation.
        without_gain: validations since the best one.
        validations_done: how many of the planned validations have been made.
    """

    iteration: int = 0
    seconds: float = 0.0
    learning_rate_scale: float = 1.0
    best_score: float = -1.0
    best_dice: tuple[float | None, ...] = ()
    without_gain: int = 0
    validations_done: int = 0


class TrainingState:
    """Network, optimiser, averaged weights (EMA) and the best averaged weights so far.

    The exponential moving average starts as the plain mean of the first steps: its decay is
    min(ema_decay, (1 + t) / (10 + t)), so that short runs are not held back by the initial weights.
    Buffers (running statistics of batch norm) are averaged like weights.
    """

    def __init__(self, network: nn.Module, *, settings: TrainingSettings) -> None:
        self.network = network
        self.counters = Counters()
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average: Tensors = copied(network.state_dict())
        self.best: Tensors | None = None
        self._decay = settings.ema_decay

    def update_average(self) -> None:
        """Called after each optimiser step; ``counters.iteration`` counts the steps before this one."""
        step = self.counters.iteration
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                if tensor.is_floating_point():
                    self.average[name].lerp_(tensor, 1.0 - decay)
                else:
                    self.average[name].copy_(tensor)

    def set_best(self, dice: Dice) -> None:
        """The averaged weights are the best so far, with this held-out Dice."""
        self.best = copied(self.average)
        self.counters = replace(self.counters, best_score=mean_dice(dice), best_dice=dice)

    def tensors(self) -> Tensors:
        """All tensors under names that ``load_tensors`` understands; references, not copies."""
        named = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        named |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        named |= {f"best.{name}": tensor for name, tensor in (self.best or {}).items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                named[f"optimiser.{key}.{name}"] = torch.as_tensor(value)
        return named

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of ``tensors``; raises ``KeyError`` or ``RuntimeError`` where names or shapes differ."""
        self.network.load_state_dict(_under(tensors, "network."), strict=True)
        places = {name: tensor.device for name, tensor in self.network.state_dict().items()}
        self.average = {name: t.to(places[name]).clone() for name, t in _under(tensors, "average.").items()}
        best = {name: t.to(places[name]).clone() for name, t in _under(tensors, "best.").items()}
        self.best = best or None
        parameters = dict(self.network.named_parameters())
        self.optimiser.state.clear()
        for key in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in _under(tensors, f"optimiser.{key}.").items():
                parameter = parameters[name]
                # AdamW keeps its step count on the CPU, the moments beside the parameter.
                place = torch.device("cpu") if key == "step" else parameter.device
                self.optimiser.state[parameter][key] = value.to(place).clone()


def copied(tensors: Mapping[str, Tensor]) -> Tensors:
    """Independent copies, detached from any graph."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def norm_layers(network: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    """The layers that keep running statistics."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            yield module


def _under(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
