"""What memory is allowed, what is really taken, and the order of retreat."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from unetseg.errors import MemoryLimitError
from unetseg.inference import is_out_of_memory
from unetseg.inference.layout import plan_layout
from unetseg.inference.memory import CPU_BYTES, Attempt, default_budget, ladder, too_little_memory
from unetseg.inference.quantised import is_available
from unetseg.networks import build

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
GIB = 2**30

PEAK = """
import resource, sys, torch
from unetseg.inference import Engine, predict
from unetseg.inference.quantised import activation_names
from unetseg.networks import build
network = build("unet_3d", in_channels=1, classes=2, base_channels=8, depth=3, norm="batch").eval()
image = torch.zeros(1, 64, 128, 128)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
ranges = dict.fromkeys(activation_names(network), 1.0)
engine = Engine(network, patch_size=(8, 8, 8), ranges=ranges)
options = dict(device=torch.device("cpu"), precision=sys.argv[2])
list(predict(engine, image[:, :8, :8, :8], memory_bytes=2**29, **options))
before = peak()
for _ in predict(engine, image, memory_bytes=int(sys.argv[1]), **options): pass
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the standard library does not tell the peak memory on Windows")
@pytest.mark.parametrize(("precision", "share"), [("float32", 0.3), ("int8", 0.2)])
def test_the_peak_keeps_to_the_budget(precision, share):
    """A plain pass over this volume takes 0.51 GB more."""
    if precision == "int8" and not is_available():
        pytest.skip("no convolution in 8 bit here")
    budget = int(share * GIB)
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(budget), precision], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 1.1 * budget


def test_the_default_leaves_memory_to_others(monkeypatch):
    for free, expected in ((2 * GIB, GIB), (100 * GIB, CPU_BYTES)):
        monkeypatch.setattr("unetseg.inference.memory.free_bytes", lambda device, free=free: free)
        assert default_budget(CPU) == expected
    assert default_budget(GPU) == 80 * GIB


def test_what_counts_as_running_out_of_memory():
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"))
    assert is_out_of_memory(RuntimeError("XPU out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("GET was unable to find an engine to execute this computation"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_gpu_retreats_to_smaller_slabs_then_main_memory_then_16_bit_then_the_cpu(monkeypatch):
    monkeypatch.setattr("unetseg.inference.memory.free_bytes", lambda device: 8 * GIB)
    rungs = list(ladder(Attempt(GPU, 10 * GIB), needed_bytes=9 * GIB, least_bytes=GIB, allow_cpu=True))
    assert rungs == [
        Attempt(GPU, 5 * GIB),
        Attempt(GPU, 5 * GIB, offload=True),
        Attempt(GPU, 3 * GIB, offload=True),
        Attempt(GPU, 2 * GIB, offload=True),
        Attempt(GPU, 3 * GIB // 2, offload=True),
        Attempt(GPU, GIB, offload=True),
        Attempt(GPU, GIB, offload=True, precision=torch.bfloat16),
        Attempt(CPU, 4 * GIB),
    ]
    assert rungs[1].storage == CPU
    assert str(rungs[6]) == (
        "in 1 GB on cuda:0, with intermediate results in main memory, "
        "in 16-bit precision, which may move a class border by rounding"
    )


def test_the_cpu_is_left_out_where_it_is_not_allowed_and_never_computes_in_16_bit():
    gpu = list(ladder(Attempt(GPU, GIB), needed_bytes=GIB, least_bytes=GIB, allow_cpu=False))
    assert {attempt.device for attempt in gpu} == {GPU}
    cpu = list(ladder(Attempt(CPU, GIB), needed_bytes=GIB, least_bytes=GIB, allow_cpu=True))
    assert not any(attempt.precision != torch.float32 or attempt.offload for attempt in cpu)


def test_no_rung_exceeds_the_stated_budget():
    rungs = ladder(Attempt(GPU, GIB), needed_bytes=GIB, least_bytes=5 * GIB, allow_cpu=False)
    assert all(attempt.budget_bytes <= GIB for attempt in rungs)


def test_the_error_tells_device_need_allowance_and_free():
    error = too_little_memory(Attempt(CPU, GIB // 2), 3 * GIB)
    assert isinstance(error, MemoryLimitError)
    assert "at least 3.00 GB on cpu" in error.rule
    assert error.received.startswith("0.50 GB allowed, ")
    assert error.received.endswith("GB free")


def test_what_the_error_says_is_needed_suffices():
    network = build("unet_3d", in_channels=1, classes=12, base_channels=4, depth=2)
    with pytest.raises(MemoryLimitError) as refused:
        plan_layout(network, (256, 256, 256), Attempt(CPU, 0))
    stated = re.search(r"at least ([\d.]+) GB", refused.value.rule)
    budget = int(float(stated[1]) * GIB)
    assert plan_layout(network, (256, 256, 256), Attempt(CPU, budget)).needed_bytes <= budget


def test_the_need_is_not_rounded_down():
    assert "at least 0.14 GB" in too_little_memory(Attempt(CPU, 0), int(0.131 * GIB)).rule


def test_a_gpu_gets_thick_slabs_because_its_calls_are_dear():
    network = build("unet_3d", in_channels=1, classes=2, base_channels=16, depth=3)
    steps = [
        plan_layout(network, (128, 128, 128), Attempt(torch.device(kind), 40 * 2**30)).steps[0]
        for kind in ("cpu", "cuda")
    ]
    assert steps[0] <= 32 < 64 <= steps[1]


def test_what_a_network_in_2d_joins_to_slices_counts_where_it_is_stored():
    """Logits of whole slices, at the least: (4, 500, 512, 512) in float32."""
    network = build("unet_2d", in_channels=1, classes=4, base_channels=4, depth=3)
    joined = 4 * 500 * 512 * 512 * 4
    plan = plan_layout(network, (500, 512, 512), Attempt(GPU, 100 * GIB))
    assert plan.tile == (500, 512, 512)
    assert plan.steps[0] < 512
    assert plan.needed_bytes > 4 * joined
    tight = Attempt(GPU, 2 * GIB)
    assert plan_layout(network, (500, 512, 512), tight).tile[0] < 500
    assert plan_layout(network, (500, 512, 512), replace(tight, offload=True)).tile[0] == 500
