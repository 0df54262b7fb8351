"""One entrance for all networks: the same result in any memory, and after running out of it."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from torch import nn

from inference_networks import CPU, assert_same, random_image, random_network, single_pass
from unetseg.errors import CancelledError, ImageError, MemoryLimitError
from unetseg.inference import Engine, predict, predict_labels
from unetseg.inference.layout import least_layout_bytes, plan_layout
from unetseg.inference.memory import Attempt

PATCH = (8, 8, 8)
POOLING = ((2, 2, 2), (2, 2, 2))


@pytest.fixture(scope="module")
def network():
    return random_network("unet_3d", norm="batch", pooling=POOLING)


@pytest.fixture(scope="module")
def image():
    return random_image(70, 25, 19)


def predicted(network, image, **options):
    slabs = list(predict(Engine(network, patch_size=PATCH), image, device=CPU, **options))
    for (start, slab), (following, _) in itertools.pairwise(slabs):
        assert start + slab.shape[1] == following
    return torch.cat([slab for _, slab in slabs], 1)


def budget_at(network, image, share):
    """Between the smallest (0) and the fastest layout (1)."""
    shape, attempt = tuple(image.shape[1:]), Attempt(CPU, 2**40)
    least, most = least_layout_bytes(network, shape, attempt), plan_layout(network, shape, attempt).needed_bytes
    return least + int(share * (most - least))


def test_any_memory_gives_the_single_pass(network, image):
    expected = single_pass(network, image)
    layouts = set()
    for share in (1, 0.6, 0.4, 0.2, 0.1, 0):
        budget = budget_at(network, image, share)
        layouts.add(plan_layout(network, tuple(image.shape[1:]), Attempt(CPU, budget)))
        assert_same(predicted(network, image, memory_bytes=budget), expected)
    assert len(layouts) >= 5


def test_layouts_keep_within_the_budget_whatever_the_size(network):
    """From a small volume to one of 5·10^10 voxels."""
    budget = 4 * 2**30
    for shape in ((40, 40, 40), (500, 512, 512), (3000, 2048, 2048), (3000, 4096, 4096)):
        assert plan_layout(network, shape, Attempt(CPU, budget)).needed_bytes <= budget


def test_longer_volumes_take_no_more_memory(network):
    attempt = Attempt(CPU, 2**29)
    short, long = (plan_layout(network, (length, 200, 200), attempt) for length in (800, 80_000))
    assert short.tile[1:] == long.tile[1:] == (200, 200)
    assert short.steps == long.steps


def test_what_does_not_fit_is_refused_with_the_figures(network, image):
    with pytest.raises(MemoryLimitError, match=r"at least 0\.\d+ GB on cpu.*0\.01 GB allowed, .* GB free.*Allow more"):
        predicted(network, image, memory_bytes=10 * 2**20)


class RunsOut(nn.Module):
    """A layer that runs out of memory at its n-th call, counted over all copies."""

    def __init__(self, layer: nn.Module, calls: list[int], failing: set[int], error: Exception) -> None:
        super().__init__()
        self.layer, self.calls, self.failing, self.error = layer, calls, failing, error

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        self.calls.append(x.shape[2])
        if len(self.calls) in self.failing:
            raise self.error
        return self.layer(x)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("failing", [{1}, {2}, {4}, {1, 2}, {2, 3, 5}])
def test_running_out_of_memory_at_any_call_changes_nothing_but_the_notes(image, error, failing):
    network = random_network("unet_3d", norm="batch", pooling=POOLING)
    expected = single_pass(network, image)
    calls: list[int] = []
    notes: list[str] = []
    budget = budget_at(network, image, 0.3)
    network.head = RunsOut(network.head, calls, failing, error)
    shares: list[float] = []
    result = predicted(network, image, memory_bytes=budget, note=notes.append, progress=shares.append)
    assert_same(result, expected)
    assert len(notes) == len(failing)
    assert all(note.startswith("Memory did not suffice; continued in 0") for note in notes)
    assert shares[-1] == pytest.approx(1)


def test_running_out_of_memory_again_and_again_is_reported(network, image):
    network = random_network("unet_3d", norm="batch", pooling=POOLING)
    network.head = RunsOut(network.head, [], set(range(100)), MemoryError())
    with pytest.raises(MemoryLimitError, match="needs at least"):
        predicted(network, image)


def test_tiles_retreat_too(image):
    network = random_network("unet_2d", norm="instance", pooling=((2, 2),), padding="same")
    expected = torch.cat([s for _, s in predict(Engine(network, patch_size=(1, 26, 20)), image, device=CPU)], 1)
    network.head = RunsOut(network.head, calls := [], {1}, MemoryError())
    notes: list[str] = []
    slabs = predict(Engine(network, patch_size=(1, 26, 20)), image, device=CPU, note=notes.append)
    assert torch.allclose(torch.cat([s for _, s in slabs], 1), expected, atol=1e-6)
    assert len(notes) == 1
    assert len(calls) > 1


def test_what_an_earlier_attempt_gave_is_not_given_again(network, image, monkeypatch):
    """The second attempt begins two slices before the first one's end, where the pooling's windows begin."""
    logits = torch.zeros(3, 70, 25, 19)
    logits[0] = torch.arange(70.0)[:, None, None]

    def run(engine, image, plan, attempt, first_slice, progress, check_cancel):
        if first_slice == 0:
            yield 0, logits[:, :10]
            raise MemoryError
        for start, stop in ((first_slice - 2, first_slice), (first_slice - 1, 30), (30, 70)):
            yield start, logits[:, start:stop]

    monkeypatch.setattr(sys.modules["unetseg.inference.predict"], "_run", run)
    slabs = list(predict(Engine(network, patch_size=PATCH), image, device=CPU))
    assert [(start, slab.shape[1]) for start, slab in slabs] == [(0, 10), (10, 20), (30, 40)]
    assert torch.equal(torch.cat([slab for _, slab in slabs], 1), logits.softmax(0))


def test_other_errors_pass_through(image):
    network = random_network("unet_3d", norm="batch", pooling=POOLING)
    network.head = RunsOut(network.head, [], {1}, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        predicted(network, image)


def test_wrong_channels_are_refused(network):
    with pytest.raises(ImageError, match=r"2 channels.*Received: 3 channels"):
        predicted(network, torch.zeros(3, 8, 8, 8))


def test_cancelling_ends_the_prediction_at_the_next_layer(network, image):
    checks = 0

    def check_cancel():
        nonlocal checks
        checks += 1
        if checks == 5:
            raise CancelledError

    with pytest.raises(CancelledError):
        predicted(network, image, check_cancel=check_cancel)
    assert checks == 5


def test_the_network_is_left_as_it_was(image):
    """In training mode, each module of it, and without hooks."""
    network = random_network("unet_3d", norm="batch", pooling=POOLING).train()
    network.encoders[0].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    labels = predict_labels(Engine(network, patch_size=PATCH), image, check_cancel=lambda: None)
    assert network.training
    assert not network.encoders[0].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, single_pass(network.eval(), image).argmax(0).numpy())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 2), (3, 5, 70)])
@pytest.mark.parametrize(("norm", "padding"), [("batch", "same"), ("instance", "same"), ("none", "valid")])
def test_tiny_images_are_padded_by_themselves(shape, norm, padding):
    network = random_network("unet_3d", norm=norm, pooling=((2, 2, 2),), padding=padding)
    engine = Engine(network, patch_size=PATCH if padding == "same" else (20, 20, 20))
    assert predict_labels(engine, random_image(*shape)).shape == shape
