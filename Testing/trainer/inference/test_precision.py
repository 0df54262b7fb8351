"""Which precision a device computes in."""

from __future__ import annotations

import pytest
import torch

from inference_networks import CPU, random_image, random_network
from unetseg.errors import SettingsError
from unetseg.inference import PRECISIONS, Engine, precision, predict, without_tf32
from unetseg.inference.precision import choose_precision


@pytest.fixture
def network():
    return random_network("unet_3d", norm="batch", pooling=((2, 2, 2),))


FASTEST, HAS_BFLOAT16 = precision._fastest, precision.has_bfloat16


@pytest.fixture(autouse=True)
def forgetful(float32, monkeypatch):
    """Measuring again, unlike all other tests."""
    FASTEST.cache_clear()
    monkeypatch.setattr(precision, "_fastest", FASTEST)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: device.type != "mps")
    yield
    FASTEST.cache_clear()


@pytest.mark.parametrize(("half", "expected"), [(1.0, torch.float32), (0.9, torch.float32), (0.5, torch.bfloat16)])
def test_auto_takes_16_bit_where_it_is_clearly_faster_and_measures_once(network, monkeypatch, half, expected):
    calls = []

    def convolution(kind, device, dimensions, channels):
        calls.append((kind, dimensions, channels))
        return lambda: half if kind == torch.bfloat16 else 1.0

    monkeypatch.setattr(precision, "_convolution", convolution)
    monkeypatch.setattr(precision, "_seconds", lambda run: run())
    assert choose_precision("auto", network, CPU) == expected
    assert choose_precision("auto", network, CPU) == expected
    assert calls == [(torch.float32, 3, 8), (torch.bfloat16, 3, 8)]


def test_what_else_the_machine_does_for_a_while_speaks_for_neither(network, monkeypatch):
    """Float32 is disturbed in every turn but the last."""
    order = []

    def seconds(kind):
        order.append(kind)
        return 5.0 if kind == torch.float32 and len(order) < 2 * precision.ROUNDS - 1 else 1.0

    monkeypatch.setattr(precision, "_convolution", lambda kind, *where: lambda: kind)
    monkeypatch.setattr(precision, "_seconds", lambda run: seconds(run()))
    assert choose_precision("auto", network, CPU) == torch.float32
    assert order == [torch.float32, torch.bfloat16] * precision.ROUNDS


def test_the_first_turn_in_which_16_bit_is_no_faster_decides(network, monkeypatch):
    order = []
    monkeypatch.setattr(precision, "_convolution", lambda kind, *where: lambda: kind)
    monkeypatch.setattr(precision, "_seconds", lambda run: order.append(run()) or 1.0)
    assert choose_precision("auto", network, CPU) == torch.float32
    assert order == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(("takes", "runs"), [(0.004, 3), (2.0, 1)])
def test_short_runs_are_repeated_and_long_ones_are_not(monkeypatch, takes, runs):
    now = [0.0]

    def run():
        now[0] += takes

    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])
    assert precision._seconds(run) == pytest.approx(takes)
    assert now[0] == pytest.approx(runs * takes)


@pytest.mark.parametrize(("capability", "has"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False)])
def test_a_processor_without_wide_instructions_is_not_asked(monkeypatch, capability, has):
    """There one convolution in bfloat16 takes seconds."""
    monkeypatch.setattr(precision, "has_bfloat16", HAS_BFLOAT16)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert HAS_BFLOAT16(CPU) == has
    if not has:
        assert precision.faster_precision(CPU, lambda kind: pytest.fail("was tried")) == torch.float32


@pytest.mark.parametrize("name", ["unet_2d", "unet_3d"])
def test_the_measurement_runs(name):
    pooling = ((2,) * int(name[-2]),)
    assert choose_precision("auto", random_network(name, norm="batch", pooling=pooling), CPU) in PRECISIONS.values()


def test_devices_that_may_lack_16_bit_compute_in_32(network):
    assert choose_precision("auto", network, torch.device("mps")) == torch.float32


def test_without_the_memory_to_measure_it_is_float32(network, monkeypatch):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory.")

    def seconds(*of_what):
        raise error

    monkeypatch.setattr(precision, "_convolution", seconds)
    assert choose_precision("auto", network, torch.device("cuda:0")) == torch.float32
    error = RuntimeError("misaligned address")
    with pytest.raises(RuntimeError, match="misaligned"):
        choose_precision("auto", network, torch.device("cuda:0"))


def test_float32_is_measured_as_it_is_computed(monkeypatch):
    rounded = []

    def measured(layer, *inputs):
        rounded.append(torch.backends.cudnn.allow_tf32)
        return torch.ones(1)

    monkeypatch.setattr(precision, "without_tf32", lambda device: without_tf32(torch.device("cuda:0")))
    monkeypatch.setattr(precision.Convolution, "forward", measured)
    precision._convolution(torch.float32, CPU, 3, 4)()
    assert rounded == [False]


@pytest.mark.parametrize(("device", "rounds"), [("cuda:1", False), ("cpu", True)])
def test_cudnn_may_round_again_afterwards(device, rounds):
    assert torch.backends.cudnn.allow_tf32
    with without_tf32(torch.device(device)):
        assert torch.backends.cudnn.allow_tf32 == rounds
    assert torch.backends.cudnn.allow_tf32


def test_an_unknown_precision_is_refused(network):
    with pytest.raises(SettingsError, match=r"must be one of auto, bfloat16, float32, int8. Received: float16"):
        choose_precision("float16", network, CPU)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_16_bit_rounds_the_probabilities_and_no_more(norm):
    network = random_network("unet_3d", norm=norm, pooling=((2, 2, 2),))
    image = random_image(20, 11, 13)
    engine = Engine(network, patch_size=(8, 8, 8))
    given, rounded = (
        torch.cat([slab for _, slab in predict(engine, image, device=CPU, precision=name)], 1) for name in PRECISIONS
    )
    assert rounded.dtype == torch.float32
    assert 0 < (given - rounded).abs().max() < 0.1
    assert (given.argmax(0) == rounded.argmax(0)).float().mean() > 0.98
