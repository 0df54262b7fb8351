"""Which device is chosen, and what is said about it; accelerators are made up where there are none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from unetseg.errors import DeviceError
from unetseg.inference import available_devices, choose_device, devices
from unetseg.inference.devices import GIB, Device


def test_the_cpu_is_always_there_and_last():
    cpu = available_devices()[-1]
    assert cpu.name == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    assert "threads" in cpu.description


@pytest.fixture
def machine(monkeypatch):
    """A machine with two GPUs, the first nearly full, and 8 GB of main memory."""
    monkeypatch.setattr(
        devices,
        "_cuda",
        lambda: (Device("cuda:0", "Full", 24 * GIB, GIB), Device("cuda:1", "Free", 24 * GIB, 20 * GIB)),
    )
    monkeypatch.setattr(devices, "_xpu", tuple)
    monkeypatch.setattr(devices, "_mps", tuple)
    monkeypatch.setattr(devices, "_host_memory", lambda: (16 * GIB, 8 * GIB))
    broken: set[str] = set()
    monkeypatch.setattr(devices, "_computes_correctly", lambda name: name not in broken)
    return broken


def test_auto_takes_the_first_with_enough_memory_and_says_why(machine):
    choice = choose_device("auto", needed_bytes=2 * GIB)
    assert choice.device == torch.device("cuda:1")
    assert choice.reason == (
        "cuda:1 (Free): the fastest device with enough free memory; cuda:0 has only 1.0 GB free of the 2.0 GB needed"
    )
    assert choose_device(needed_bytes=GIB // 2).device == torch.device("cuda:0")


def test_auto_passes_over_what_computes_wrongly(machine):
    machine.update({"cuda:0", "cuda:1"})
    choice = choose_device()
    assert choice.device == torch.device("cpu")
    assert "the only device left; cuda:0 does not compute correctly; cuda:1 does not compute correctly" in choice.reason


def test_auto_falls_back_to_the_cpu_where_nothing_else_is_large_enough(machine):
    choice = choose_device(needed_bytes=100 * GIB)
    assert choice.device == torch.device("cpu")
    assert "cuda:1 has only 20.0 GB free of the 100.0 GB needed" in choice.reason


def test_a_kind_means_the_first_of_it(machine):
    assert choose_device("cuda").device == torch.device("cuda:0")
    assert choose_device("cuda:1").reason == "cuda:1 (Free), as requested"


@pytest.mark.parametrize("name", ["cuda:7", "gpu", "mps", ""])
def test_a_missing_device_is_refused_with_the_list(machine, name):
    with pytest.raises(DeviceError, match=r"Choose auto, cuda:0, cuda:1, cpu"):
        choose_device(name)


def test_a_device_that_computes_wrongly_is_refused(machine):
    machine.add("cuda:0")
    with pytest.raises(DeviceError, match=r"does not compute correctly.*Choose cpu"):
        choose_device("cuda")


class Gpus:
    """Of ``torch.cuda`` or ``torch.xpu``: two devices, the second so full that it tells nothing."""

    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)
    memory_allocated = staticmethod(lambda index: GIB)
    memory_reserved = staticmethod(lambda index: 3 * GIB)

    @staticmethod
    def get_device_properties(index):
        return SimpleNamespace(name=f"Card {index}", total_memory=24 * GIB)

    @staticmethod
    def mem_get_info(index):
        if index == 1:
            raise RuntimeError("CUDA error: out of memory")
        return 10 * GIB, 24 * GIB


def test_memory_kept_for_reuse_is_free_and_a_full_gpu_is_listed(monkeypatch):
    monkeypatch.setattr(torch, "cuda", Gpus)
    assert devices._cuda() == (
        Device("cuda:0", "Card 0", 24 * GIB, 12 * GIB),
        Device("cuda:1", "Card 1", 24 * GIB, 0),
    )


def test_a_full_gpu_is_passed_over_whatever_is_needed(machine, monkeypatch):
    monkeypatch.setattr(devices, "_cuda", lambda: (Device("cuda:0", "Full", 24 * GIB, 0),))
    assert choose_device().device == torch.device("cpu")


def test_what_an_xpu_keeps_for_reuse_is_free(monkeypatch):
    monkeypatch.setattr(torch, "xpu", Gpus, raising=False)
    assert [device.free_bytes for device in devices._xpu()] == [23 * GIB, 23 * GIB]
    monkeypatch.setattr(torch, "xpu", SimpleNamespace(is_available=lambda: True, device_count=lambda: 1))
    assert devices._xpu() == ()  # of a torch before 2.5


@pytest.mark.parametrize(
    ("error", "correct"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), False),
    ],
)
def test_a_full_device_is_not_taken_for_a_broken_one(monkeypatch, error, correct):
    def conv3d(*operands, **options):
        raise error

    monkeypatch.setattr(devices.functional, "conv3d", conv3d)
    assert devices._computes_correctly.__wrapped__("meta") == correct


def test_the_check_of_a_device_compares_with_the_cpu():
    assert devices._computes_correctly("cpu")
    assert not devices._computes_correctly("meta")  # has no values at all


def test_limits_of_a_container_count(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(f"{2 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB // 2}\n")
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    total, free = devices._host_memory()
    assert total == 2 * GIB
    assert free <= 1.5 * GIB
