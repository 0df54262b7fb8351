"""The precision in which a network runs fastest on a device."""

from __future__ import annotations

import functools
import time

import torch

from ..errors import unknown_name
from ..networks import UNet
from .fused import Convolution

AUTO = "auto"
PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WORTH_IT = 1.2
"""How much faster 16 bit must be: it rounds, and moves the class border of about one voxel in 5,000."""
SLAB_VOXELS = (8, 48, 48)
ROUNDS = 3


def choose_precision(request: str, network: UNet, device: torch.device) -> torch.dtype:
    """The requested precision; ``auto`` is bfloat16 where a short measurement finds it faster, else float32.

    That a processor has bfloat16 does not say that it is faster: without its matrix unit (AMX) it can be slower.

    Raises:
        SettingsError: an unknown precision.
    """
    if request == AUTO:
        channels = max(tensor.shape[0] for tensor in network.encoders[0].parameters())
        return _fastest(device, network.dimensions, channels, torch.get_num_threads())
    if request not in PRECISIONS:
        raise unknown_name("precision", request, [AUTO, *PRECISIONS])
    return PRECISIONS[request]


@functools.cache
def _fastest(device: torch.device, dimensions: int, channels: int, threads: int) -> torch.dtype:
    """Measured once for a device, number of threads and width of network."""
    if device.type not in ("cpu", "cuda"):
        return torch.float32
    seconds = {precision: _seconds(precision, device, dimensions, channels) for precision in PRECISIONS.values()}
    faster = WORTH_IT * seconds[torch.bfloat16] < seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32


@torch.inference_mode()
def _seconds(precision: torch.dtype, device: torch.device, dimensions: int, channels: int) -> float:
    """Of a convolution as level 0 has them, the fastest of a few."""
    ones = [1] * dimensions
    layer = Convolution(torch.ones(channels, channels, *[3] * dimensions), None, padding=ones, stride=ones, relu=True)
    layer = layer.to(device, precision)
    size = (1, channels, *SLAB_VOXELS) if dimensions == 3 else (SLAB_VOXELS[0], channels, *SLAB_VOXELS[1:])
    image = torch.ones(size, dtype=precision, device=device)
    times = []
    for _ in range(ROUNDS + 1):  # the first one also chooses the kernel
        start = time.perf_counter()
        float(layer(image).flatten()[0])  # waits for an accelerator
        times.append(time.perf_counter() - start)
    return min(times[1:])
