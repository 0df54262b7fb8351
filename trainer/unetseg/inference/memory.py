"""How much memory inference may take, and what it does when memory runs out after all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ..errors import MemoryLimitError, SettingsError
from .devices import GIB, free_bytes

CPU_BYTES = 4 * GIB
"""More than this makes inference on a CPU no faster."""
OUT_OF_MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "status_alloc_failed",
    "unable to find an engine to execute this computation",
)
"""Parts of messages, in lower case."""


def limit_bytes(memory_gb: float) -> int:
    """A limit that a user has set. Raises ``SettingsError`` where it is none."""
    if not 0 < memory_gb < math.inf:
        raise SettingsError("The memory limit must be positive and finite", received=f"{memory_gb} GB")
    return int(memory_gb * GIB)


@dataclass(frozen=True)
class Attempt:
    """One rung of the out-of-memory ladder.

    Attributes:
        budget_bytes: for everything on the device but the network.
        offload: maps wait between levels, and results gather, in main memory.
        precision: of the weights and of every map; uint8 for maps in the steps of ``quantised``.
    """

    device: torch.device
    budget_bytes: int
    offload: bool = False
    precision: torch.dtype = torch.float32

    @property
    def rounding(self) -> str:
        """What the user should know about the precision; empty for float32."""
        if self.precision == torch.float32:
            return ""
        return f"in {8 * self.precision.itemsize}-bit precision, which may move a class border by rounding"

    @property
    def storage(self) -> torch.device:
        """Where maps wait between levels."""
        return torch.device("cpu") if self.offload else self.device

    def __str__(self) -> str:
        parts = [f"in {self.budget_bytes / GIB:.2g} GB on {self.device}"]
        if self.offload:
            parts.append("with intermediate results in main memory")
        if self.rounding:
            parts.append(self.rounding)
        return ", ".join(parts)


def is_out_of_memory(error: BaseException) -> bool:
    """True for every form in which torch, its back ends and Python report that memory ran out.

    cuDNN's convolutions try one algorithm after another, and where none finds room for its workspace torch only tells
    that there is none (pytorch/pytorch#108645). cuDNN and cuBLAS say ALLOC_FAILED where they cannot begin at all.
    """
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in OUT_OF_MEMORY_SIGNS)


def default_budget(device: torch.device) -> int:
    """Bytes that inference may take unless the user states a limit: most of an accelerator's free memory, of
    the host's at most half, so that other programs stay in memory."""
    free = free_bytes(device)
    return min(free // 2, CPU_BYTES) if device.type == "cpu" else int(0.8 * free)


def ladder(first: Attempt, *, needed_bytes: int, least_bytes: int, allow_cpu: bool) -> Iterator[Attempt]:
    """What to try in turn when ``first`` was too much.

    Smaller slabs, maps kept in main memory, still smaller slabs and chunks, 16 bit, the CPU. Budgets fall from
    ``needed_bytes``, what the first attempt took, to ``least_bytes``, what the smallest pieces take.
    """
    accelerated = first.device.type != "cpu"
    budgets = [least_bytes + (needed_bytes - least_bytes) // share for share in (2, 4, 8, 16)] + [least_bytes]
    budgets = [min(each, first.budget_bytes) for each in budgets]
    yield replace(first, budget_bytes=budgets[0])
    for budget in budgets:
        yield replace(first, budget_bytes=budget, offload=accelerated)
    if first.device.type == "cuda":
        yield Attempt(first.device, budgets[-1], offload=True, precision=torch.bfloat16)
    if accelerated and allow_cpu:
        cpu = torch.device("cpu")
        yield Attempt(cpu, default_budget(cpu))


def too_little_memory(attempt: Attempt, needed_bytes: int) -> MemoryLimitError:
    """The error for work of which not even the smallest piece fits."""
    free = free_bytes(attempt.device)
    needed_gb = math.ceil(100 * needed_bytes / GIB) / 100  # never less than what suffices
    return MemoryLimitError(
        f"Segmenting this image needs at least {needed_gb:.2f} GB on {attempt.device}",
        received=f"{attempt.budget_bytes / GIB:.2f} GB allowed, {free / GIB:.2f} GB free",
        remedy="Allow more memory, close other programs, or choose another device or a smaller network",
    )
