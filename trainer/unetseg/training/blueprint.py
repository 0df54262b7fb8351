"""Which network is trained, and how volumes are brought to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .. import networks
from ..config import NetworkConfig, Plan
from ..inference import available_devices, limit_bytes
from ..networks import UNet
from ..planning import fingerprint, guess_modality, make_plan
from ..volume import Shape
from .checkpoint import checkpoint_path, stored_header
from .request import TrainingRequest


@dataclass(frozen=True)
class Blueprint:
    """The two parts of a model document that are decided before training."""

    network: NetworkConfig
    plan: Plan


def make_blueprint(request: TrainingRequest, device: torch.device) -> Blueprint:
    """The network and plan of the start model, or new ones from the fingerprint of the training cases.

    Arguments of the request go before the plan's, and those before the preset's.
    """
    if request.start is not None:
        return Blueprint(request.start.document.network, request.start.document.plan)
    arguments = {**networks.preset_arguments(request.network, request.preset), **request.network_arguments}
    trained = [case for case in request.cases if case.name not in request.validation]
    prints = fingerprint((case.volume, case.annotation) for case in trained if case.annotation is not None)
    depth = None if "pooling" in arguments else arguments.pop("depth", None)
    planned = make_plan(
        prints,
        dimensions=2 if request.network == "unet_2d" else arguments.get("dimensions", 3),
        modality=request.modality or guess_modality(prints),
        memory_bytes=_memory_bytes(request, device),
        max_depth=depth,
    )
    arguments = {**planned.network_arguments, **arguments}
    channels = trained[0].volume.array.shape[0]
    config = NetworkConfig(request.network, channels, len(request.labels), arguments)
    with torch.device("meta"):
        multiple = build_network(config).size_multiple
    plan = replace(planned.plan, patch_size=_rounded_up(planned.plan.patch_size, multiple))
    if request.resume:  # these follow the device's free memory, which may be another today
        stored = stored_header(checkpoint_path(request.output)).plan
        plan = replace(plan, patch_size=stored.patch_size, batch_size=stored.batch_size)
    return Blueprint(config, plan)


def _memory_bytes(request: TrainingRequest, device: torch.device) -> int | None:
    """For planning the patch: what the user allows, else on a GPU what is free; on a CPU small patches are quicker."""
    if request.memory_gb is not None:
        return limit_bytes(request.memory_gb)
    if device.type == "cpu":
        return None
    return next(known.free_bytes for known in available_devices() if known.name == str(device))


def _rounded_up(patch_size: Shape, multiple: tuple[int, ...]) -> Shape:
    """The patch that a network of this size multiple takes; a 2D network leaves the first axis alone."""
    d, h, w = (-(-size // m) * m for size, m in zip(patch_size, (1, *multiple)[-3:], strict=True))
    return d, h, w


def build_network(config: NetworkConfig) -> UNet:
    """With random weights from torch's global generator."""
    return networks.build(config.name, in_channels=config.in_channels, classes=config.classes, **config.arguments)
