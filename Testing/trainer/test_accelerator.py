"""Nothing that an accelerator computes with stays on the CPU.

Torch's device ``meta`` stands for the accelerator: its tensors have sizes but no values, so nothing can be read back.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from unetseg.config import TrainingSettings
from unetseg.data.batches import Batch
from unetseg.inference.fused import FusedUNet, fold
from unetseg.inference.layout import Layout
from unetseg.inference.memory import Attempt
from unetseg.inference.predict import _compute
from unetseg.inference.streaming import stream
from unetseg.inference.tiles import plan_tiles, run_tiles
from unetseg.losses import Loss
from unetseg.networks import build
from unetseg.training.gate import Candidate
from unetseg.training.rehearsal import frozen_teacher
from unetseg.training.state import TrainingState, copied
from unetseg.training.step import training_step

META = torch.device("meta")
NETWORKS = {"unet_2d": {"norm": "batch"}, "unet_3d": {"pooling": ((1, 2, 2), (2, 2, 2))}, "attention_unet": {}}
SHAPE = (12, 16, 16)
MOVES = ("aten::_to_copy", "aten::copy_", "aten::_has_compatible_shallow_copy_type")


class OneDevice(TorchDispatchMode):
    """Refuses operands on several devices as a GPU does; a single number may lie on the CPU."""

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        operands = [each for each in tree_flatten((arguments, named or {}))[0] if isinstance(each, Tensor)]
        devices = {tensor.device for tensor in operands if tensor.dim()}
        if len(devices) > 1 and operation._schema.name not in MOVES:
            raise RuntimeError(f"{operation} of tensors on {devices}")
        return operation(*arguments, **(named or {}))


@pytest.fixture(autouse=True)
def one_device():
    with OneDevice():
        yield


def network(name, **changes):
    return build(name, in_channels=1, classes=3, base_channels=2, depth=3, **(NETWORKS[name] | changes)).eval()


def computing(attempt, read_from):
    """As ``predict`` computes; where maps wait in main memory, zeros stand for those that come back."""

    def compute(function, *tensors):
        read_from.update(tensor.device for tensor in tensors)
        result = _compute(attempt, function, *tensors)
        assert (result.device, result.dtype) == (attempt.device, attempt.precision)
        return torch.zeros(result.shape, dtype=result.dtype) if attempt.offload else result

    return compute


def test_operands_on_two_devices_are_refused():
    with pytest.raises(RuntimeError, match="of tensors on"):
        torch.nn.functional.conv2d(torch.zeros(1, 1, 3, 3, device=META), torch.zeros(1, 1, 3, 3))


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_streaming_computes_on_the_device(name, precision, offload):
    attempt = Attempt(META, 2**30, offload=offload, precision=precision)
    read_from: set[torch.device] = set()
    slabs = stream(
        FusedUNet(network(name)).to(META, precision),
        torch.zeros(1, *SHAPE),
        Layout(SHAPE, (8, 4, 2), 1, 0),
        first_slice=0,
        storage=attempt.storage,
        compute=computing(attempt, read_from),
        progress=lambda share: None,
    )
    found = list(slabs)
    assert sum(slab.shape[1] for _, slab in found) == SHAPE[0]
    assert {slab.device for _, slab in found} == {attempt.storage}
    assert read_from == {attempt.storage}


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_tiles_compute_on_the_device(name, offload):
    attempt = Attempt(META, 2**30, offload=offload, precision=torch.bfloat16)
    given = network(name, norm="instance")
    plan = plan_tiles(given, SHAPE, attempt, patch_size=(8, 8, 8))
    slabs = run_tiles(
        fold(given).to(META, torch.bfloat16),
        torch.zeros(1, *SHAPE),
        plan,
        first_slice=0,
        storage=attempt.storage,
        compute=computing(attempt, set()),
        progress=lambda share: None,
    )
    assert {slab.device for _, slab in slabs} == {attempt.storage}


class Mean(Loss):
    """Reads no value of what it is given, as there is none."""

    def terms(self, logits, target, weight):
        return {"mean": (logits.float().sum(1) * weight * target).mean()}


@pytest.mark.parametrize("opinion", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_and_all_that_follows_stay_on_the_device(name, opinion, monkeypatch):
    monkeypatch.setattr(torch, "isfinite", lambda values: True)
    monkeypatch.setattr(Tensor, "__float__", lambda value: 0.0)
    trained = network(name).to(META)
    start = copied(trained.state_dict())
    state = TrainingState(trained, settings=TrainingSettings(iterations=1))
    sizes = SHAPE[-trained.dimensions :]
    weight = torch.zeros(2, *sizes)
    weight[1, 3] = 1
    image = torch.zeros(2, 1, *sizes)
    known = torch.softmax(frozen_teacher(trained)(image), 1) if opinion else None
    batch = Batch(image, torch.zeros(2, *sizes, dtype=torch.int64), weight, known)
    step = training_step(
        state,
        batch,
        Mean(),
        settings=TrainingSettings(iterations=1),
        learning_rate=1e-3,
        precision=torch.float32,
        freeze_statistics=True,
    )
    assert step.loss
    state.update_average()
    state.load_tensors({key: tensor.clone() for key, tensor in state.tensors().items()})
    weights = Candidate(0.5).weights(start, state)
    moments = [values["exp_avg"] for values in state.optimiser.state.values()]
    assert len(moments) == len(list(trained.parameters()))
    assert {tensor.device for tensor in [*weights.values(), *state.average.values(), *moments]} == {META}
