"""The precision in which a network runs fastest on a device, and that float32 is what it says."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping

import torch

from ..errors import SettingsError, unknown_name
from ..networks import UNet
from .fused import Convolution, is_fusible
from .memory import is_out_of_memory
from .quantised import activation_names, is_available

AUTO = "auto"
PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INT8 = "int8"
"""Its torch type is uint8, that of the maps between levels; see ``quantised``."""
WORTH_IT = 1.2
"""How much faster 16 bit must be: it rounds, and moves the class border of about one voxel in 5,000."""
SLAB_VOXELS = {"cpu": (8, 48, 48), "cuda": (32, 128, 128)}
"""What is measured: on a GPU so much that it takes longer than the call itself."""
ROUNDS = 5
LEAST_SECONDS = 0.01
"""A run that takes less is repeated: below a thousandth of a second, threads that wake up late decide."""


def choose_precision(
    request: str, network: UNet, device: torch.device, ranges: Mapping[str, float] | None = None
) -> torch.dtype:
    """The requested precision; ``auto`` is bfloat16 where a short measurement finds it faster, else float32.

    Also float32 where memory does not suffice for the measurement: the ladder then finds what does. That a processor
    has bfloat16 does not say that it is faster: without its matrix unit (AMX) it can be slower.

    Args:
        ranges: for ``int8``, see ``predict``.

    Raises:
        SettingsError: an unknown precision, or ``int8`` where it cannot be had.
    """
    if request == AUTO:
        channels = max(tensor.shape[0] for tensor in network.encoders[0].parameters())
        try:
            return _fastest(device, network.dimensions, channels, torch.get_num_threads())
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return torch.float32
    if request == INT8:
        check_int8(network, device)
        if ranges is None or set(ranges) != set(activation_names(network)):
            raise SettingsError(
                "int8 needs a model that was calibrated for it",
                remedy="Run unetseg calibrate on the model first, or choose another precision",
            )
        return torch.uint8
    if request not in PRECISIONS:
        raise unknown_name("precision", request, [AUTO, *PRECISIONS, INT8])
    return PRECISIONS[request]


def without_tf32(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """While it is open, convolutions in float32 keep all their bits on the device.

    On a CUDA device cuDNN may round their factors to 10 bits (TF32), and torch lets it unless it is told otherwise.
    """
    if device.type != "cuda":
        return contextlib.nullcontext()
    cudnn = torch.backends.cudnn
    return cudnn.flags(  # which else sets all that it is not told
        enabled=True, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )


def check_int8(network: UNet, device: torch.device) -> None:
    """Raises ``SettingsError`` where the network cannot compute in 8 bit, whatever the ranges."""
    other = "Choose another precision"
    if device.type != "cpu":
        raise SettingsError("int8 is for the CPU", received=device, remedy=f"{other}, or the device cpu")
    if not is_available():
        raise SettingsError("This torch has no int8 for this processor", remedy=other)
    if not is_fusible(network):
        raise SettingsError("int8 is for networks with padding, and with batch norm or none", remedy=other)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device may have instructions for it."""
    if device.type == "cpu":
        return torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    # Not is_bf16_supported: it is true as well of older devices, which only emulate it, slowly.
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


@functools.cache
def _fastest(device: torch.device, dimensions: int, channels: int, threads: int) -> torch.dtype:
    """Measured once for a device, number of threads and width of network."""
    return faster_precision(device, lambda precision: _convolution(precision, device, dimensions, channels))


def faster_precision(device: torch.device, run_in: Callable[[torch.dtype], Callable[[], object]]) -> torch.dtype:
    """Bfloat16 where a run in it takes clearly less time than one in float32, else float32.

    It is not tried where it cannot be: a processor without its instructions computes it number by number, and a single
    convolution can take seconds.
    """
    if not has_bfloat16(device):
        return torch.float32
    runs = {precision: run_in(precision) for precision in PRECISIONS.values()}
    for run in runs.values():
        run()  # the first time also chooses the kernel
    turns = ({precision: _seconds(run) for precision, run in runs.items()} for _ in range(ROUNDS))
    # In every turn: what else the machine does slows now this one and now that one. The first that it loses decides.
    faster = all(WORTH_IT * turn[torch.bfloat16] < turn[torch.float32] for turn in turns)
    return torch.bfloat16 if faster else torch.float32


def _convolution(precision: torch.dtype, device: torch.device, dimensions: int, channels: int) -> Callable[[], object]:
    """One as level 0 has them, to be called."""
    ones = [1] * dimensions
    layer = Convolution(torch.ones(channels, channels, *[3] * dimensions), None, padding=ones, stride=ones, relu=True)
    layer = layer.to(device, precision)
    slab = SLAB_VOXELS[device.type]
    size = (1, channels, *slab) if dimensions == 3 else (slab[0], channels, *slab[1:])
    image = torch.ones(size, dtype=precision, device=device)

    @torch.inference_mode()
    def run() -> float:
        with without_tf32(device):
            return float(layer(image).flatten()[0])  # waits for an accelerator

    return run


def _seconds(run: Callable[[], object]) -> float:
    """Of one run, the mean of as many as ``LEAST_SECONDS`` take."""
    start, runs = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < LEAST_SECONDS:
        run()
        runs += 1
    return elapsed / runs
