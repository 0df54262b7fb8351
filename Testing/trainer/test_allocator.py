"""What a process of ours does with freed memory; asked of processes of their own, since the setting stays."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ON_GLIBC = platform.libc_ver()[0] == "glibc"
ALLOCATE_TWICE = """
import resource, torch
from unetseg.allocator import give_back_memory, keep_freed_memory
{setting}
def faults_of_filling(values):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(values)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
faults_of_filling(2**24 + 2**12)
again = faults_of_filling(2**24)
held = resident()
give_back_memory()
print(again, held - resident())
"""


def measured(setting: str) -> tuple[int, int]:
    """Page faults of filling 64 MiB a second time, and kB that were given back."""
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE_TWICE.format(setting=setting)], capture_output=True, text=True, check=True
    )
    again, returned = map(int, done.stdout.split())
    return again, returned


@pytest.mark.skipif(not ON_GLIBC, reason="only glibc can be told to keep freed memory")
def test_freed_memory_is_used_again_and_can_be_given_back():
    again, returned = measured("keep_freed_memory()")
    assert again < 100
    assert returned > 60_000
    assert measured("")[0] > 10_000  # what glibc does by itself


def test_elsewhere_nothing_happens(monkeypatch):
    from unetseg import allocator

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("nothing to be told"))
    allocator.keep_freed_memory()
    allocator.give_back_memory()


def test_the_program_keeps_memory_and_the_question_for_free_memory_gives_it_back(monkeypatch):
    import unetseg.__main__ as program
    from unetseg.inference import available_devices, devices

    done = []
    monkeypatch.setattr(program, "keep_freed_memory", lambda: done.append("kept"))
    monkeypatch.setattr(program.cli, "main", lambda *, serve: done.append("served") or 0)
    monkeypatch.setattr(devices, "give_back_memory", lambda: done.append("given back"))
    assert program.main() == 0
    assert done == ["kept", "served"]
    available_devices()
    assert done[2:] == ["given back"]
