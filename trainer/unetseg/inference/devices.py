"""The devices of this machine, and which one to use."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ..allocator import give_back_memory
from ..errors import DeviceError

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells the limits of a container (version 2)."""


@dataclass(frozen=True)
class Device:
    """One device that torch can compute on.

    Attributes:
        name: torch's name: ``cuda:0``, ``xpu:0``, ``mps`` or ``cpu``.
        description: for people, for example "NVIDIA H200".
        total_bytes, free_bytes: its memory; free is what another program or an earlier job left over.
    """

    name: str
    description: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class DeviceChoice:
    """The device to compute on and, in one sentence, why."""

    device: torch.device
    reason: str


def available_devices() -> tuple[Device, ...]:
    """All devices, the fastest kind first; the last is always the CPU."""
    return (*_cuda(), *_xpu(), *_mps(), _cpu())


def choose_device(request: str = "auto", *, needed_bytes: int = 0) -> DeviceChoice:
    """The requested device; ``auto`` takes the fastest that works and has ``needed_bytes`` free, else the CPU.

    ``cuda`` and ``xpu`` mean the first of their kind.

    Raises:
        DeviceError: an unknown or missing device, or one whose results are wrong.
    """
    devices = available_devices()
    if request != "auto":
        names = [device.name for device in devices]
        match = next((device for device in devices if request in (device.name, device.name.split(":")[0])), None)
        if match is None:
            raise DeviceError(
                "The device must be one of this machine's",
                received=request,
                remedy=f"Choose auto, {', '.join(names)}",
            )
        if not _computes_correctly(match.name):
            raise DeviceError("The device does not compute correctly", received=match.name, remedy="Choose cpu")
        return DeviceChoice(torch.device(match.name), f"{match.name} ({match.description}), as requested")
    passed_over = []
    for device in devices[:-1]:
        if device.free_bytes < max(1, needed_bytes):
            needed = f" of the {needed_bytes / GIB:.1f} GB needed" if needed_bytes else ""
            passed_over.append(f"{device.name} has only {device.free_bytes / GIB:.1f} GB free{needed}")
        elif not _computes_correctly(device.name):
            passed_over.append(f"{device.name} does not compute correctly")
        else:
            reason = f"{device.name} ({device.description}): the fastest device with enough free memory"
            return DeviceChoice(torch.device(device.name), _with(reason, passed_over))
    cpu = devices[-1]
    reason = f"cpu ({cpu.description}): " + ("the only device left" if passed_over else "no accelerator was found")
    return DeviceChoice(torch.device("cpu"), _with(reason, passed_over))


def free_bytes(device: torch.device) -> int:
    """The device's free memory now; 0 for a device that has gone."""
    return next((each.free_bytes for each in available_devices() if torch.device(each.name) == device), 0)


def _with(reason: str, passed_over: list[str]) -> str:
    return "; ".join([reason, *passed_over])


def _cuda() -> tuple[Device, ...]:
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        cached = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
        try:
            free = torch.cuda.mem_get_info(index)[0] + cached
        except RuntimeError:  # so full that the driver finds no room even for what it keeps for a program
            free = 0
        found.append(Device(f"cuda:{index}", properties.name, properties.total_memory, free))
    return tuple(found)


def _xpu() -> tuple[Device, ...]:
    found = []
    # torch's first versions with this back end do not tell what of its memory they have taken.
    known = hasattr(torch, "xpu") and hasattr(torch.xpu, "memory_allocated") and torch.xpu.is_available()
    for index in range(torch.xpu.device_count() if known else 0):
        properties = torch.xpu.get_device_properties(index)
        free = properties.total_memory - torch.xpu.memory_allocated(index)
        found.append(Device(f"xpu:{index}", properties.name, properties.total_memory, free))
    return tuple(found)


def _mps() -> tuple[Device, ...]:
    if not torch.backends.mps.is_available():
        return ()
    total, free = _host_memory()
    return (Device("mps", "Apple GPU", total, free),)  # unified: the host's memory is the GPU's


def _cpu() -> Device:
    give_back_memory()  # what this process keeps for itself is free to it
    total, free = _host_memory()
    description = f"{_processor_name()}, {torch.get_num_threads()} threads"
    return Device("cpu", description, total, free)


@functools.cache
def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _host_memory() -> tuple[int, int]:
    """Total and free bytes of main memory that this process may use; the limits of a container count."""
    readers: dict[str, Callable[[], tuple[int, int]]] = {"linux": _linux_memory, "win32": _windows_memory}
    total, free = readers.get(sys.platform, _posix_memory)()
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
        free = min(free, int(text) - int(used.read_text()))
    return total, max(0, free)


def _linux_memory() -> tuple[int, int]:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {words[0].rstrip(":"): int(words[1]) for words in lines}
    return kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024


def _posix_memory() -> tuple[int, int]:
    """macOS has no portable figure for free memory; half of all is taken for it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return total, total // 2


def _windows_memory() -> tuple[int, int]:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = [
            ("length", ctypes.c_ulong),
            ("load_percent", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "c", "d", "e", "f", "g")),
        ]

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.total), int(status.free)


@functools.cache
def _computes_correctly(name: str) -> bool:
    """What networks do in 3D agrees with the CPU's: a driver or build that does not fit the device is found here.

    Some builds for Apple GPUs have convolutions in 3D, but no pooling or no interpolation.
    """
    if name == "cpu":
        return True
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 4, 8, 8, 8, generator=generator)
    weight = torch.randn(4, 4, 2, 2, 2, generator=generator)

    def there_and_back(on: torch.device) -> Tensor:
        x = image.to(on, memory_format=torch.channels_last_3d)
        small = functional.max_pool3d(functional.conv3d(x, weight.to(on), padding=1), 2)
        large = functional.interpolate(small, scale_factor=2, mode="trilinear", align_corners=False)
        return functional.conv_transpose3d(large, weight.to(on), stride=2).cpu()

    try:
        result = there_and_back(torch.device(name))
    except RuntimeError as error:
        return "out of memory" in str(error).lower()  # full, not broken
    return bool(torch.allclose(result, there_and_back(torch.device("cpu")), rtol=0.01, atol=0.1))
