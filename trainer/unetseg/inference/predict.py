"""The one entrance to every network: class probabilities of a prepared image, slab by slab, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError, MemoryLimitError
from ..networks import UNet
from ..volume import LabelArray, Shape
from .engine import Engine
from .fused import CHANNELS_LAST, FusedUNet, is_fusible
from .interrupt import interruptible
from .layout import Layout, least_layout_bytes, plan_layout
from .memory import Attempt, default_budget, is_out_of_memory, ladder, too_little_memory
from .precision import AUTO, choose_precision, without_tf32
from .streaming import Slab, stream
from .tiles import TilePlan, least_tile_bytes, plan_tiles, run_tiles


@torch.inference_mode()
def predict(
    engine: Engine,
    image: Tensor,
    *,
    device: torch.device,
    memory_bytes: int | None = None,
    precision: str = AUTO,
    allow_cpu: bool = False,
    progress: Callable[[float], None] = lambda share: None,
    check_cancel: Callable[[], None] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Generator[Slab, None, None]:
    """Probabilities float32 (K, s, h, w), with their first slice, in order along D and without gaps.

    The network runs in eval mode, in a copy: the one given is left as it is. Local networks (no norm, or batch
    norm) are streamed and give what one pass over the whole image gives, padded by edge replication;
    others run in tiles of the patch size (see ``tiles``). Which of both never depends on the memory.

    Args:
        image: float32 (C, d, h, w), as ``preprocess`` prepares it.
        device: slabs come on it, unless memory ran out there.
        memory_bytes: for everything on the device but the network; None: ``default_budget``.
        precision: a name of ``PRECISIONS``, ``auto`` for the fastest of them there, or ``int8``.
        allow_cpu: whether to go on on the CPU when the device's memory does not suffice.
        progress: is told the share of the work that is done, 0 … 1; less than before where memory ran out.
        check_cancel: is called before each layer; what it raises ends the prediction.
        note: is told, in a sentence, when memory ran out and how the work goes on.

    Raises:
        ImageError: the image has other channels than the network.
        MemoryLimitError: nothing fits.
        SettingsError: an unknown precision, or ``int8`` where it cannot be had.
    """
    network = engine.network
    if image.shape[0] != network.in_channels:
        raise ImageError(
            f"The network takes images of {network.in_channels} channels", received=f"{image.shape[0]} channels"
        )
    shape = (image.shape[1], image.shape[2], image.shape[3])
    first = Attempt(
        device,
        default_budget(device) if memory_bytes is None else memory_bytes,
        precision=choose_precision(precision, network, device, engine.ranges),
    )
    if first.rounding:
        note(f"Computed {first.rounding}")
    done = 0
    for attempt, plan in _attempts(engine, shape, first, allow_cpu=allow_cpu):
        if attempt is not first:
            note(f"Memory did not suffice; continued {attempt}")
        report = partial(_rest, progress, done / shape[0])
        try:
            for start, logits in _run(engine, image, plan, attempt, done, report, check_cancel):
                stop = start + logits.shape[1]
                if stop > done:
                    yield done, logits[:, done - start :].float().softmax(0)
                    done = stop
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if attempt.device.type == "cuda":
            torch.cuda.empty_cache()


def predict_labels(
    engine: Engine,
    image: Tensor,
    *,
    device: torch.device | None = None,
    precision: str = AUTO,
    check_cancel: Callable[[], None] | None = None,
) -> LabelArray:
    """The most probable class (d, h, w) of a prepared image (C, d, h, w); ``device``: None is the network's own."""
    device = device or next(engine.network.parameters()).device
    slabs = predict(engine, image, device=device, precision=precision, check_cancel=check_cancel)
    return np.concatenate([slab.max(0).indices.to("cpu", torch.uint8).numpy() for _, slab in slabs])


def least_bytes(engine: Engine, shape: Shape) -> int:
    """The least memory, network included, in which an image of ``shape`` (d, h, w) can be predicted."""
    weights: int = sum(tensor.numel() * tensor.element_size() for tensor in engine.network.state_dict().values())
    return weights + _least_bytes(engine, shape, Attempt(torch.device("cpu"), 0))


def _least_bytes(engine: Engine, shape: Shape, attempt: Attempt) -> int:
    if is_fusible(engine.network):
        return least_layout_bytes(engine.network, shape, attempt)
    return least_tile_bytes(engine.network, shape, attempt, patch_size=engine.patch_size)


def _plan(engine: Engine, shape: Shape, attempt: Attempt) -> Layout | TilePlan:
    if is_fusible(engine.network):
        return plan_layout(engine.network, shape, attempt)
    return plan_tiles(engine.network, shape, attempt, patch_size=engine.patch_size)


def _attempts(
    engine: Engine, shape: Shape, first: Attempt, *, allow_cpu: bool
) -> Iterator[tuple[Attempt, Layout | TilePlan]]:
    """``first``, then the rungs of the ladder that change anything, each with how the image is cut.

    Raises ``MemoryLimitError`` where there is none left.
    """
    needed_bytes = first.budget_bytes
    tried = set()
    try:
        plan = _plan(engine, shape, first)
    except MemoryLimitError:
        pass  # a later rung may fit: with maps in main memory, or on the CPU
    else:
        needed_bytes = plan.needed_bytes
        tried.add((plan, first.device, first.offload, first.precision))
        yield first, plan
    least = _least_bytes(engine, shape, first)
    for attempt in ladder(first, needed_bytes=needed_bytes, least_bytes=least, allow_cpu=allow_cpu):
        try:
            plan = _plan(engine, shape, attempt)
        except MemoryLimitError:
            continue
        rung = (plan, attempt.device, attempt.offload, attempt.precision)
        if rung not in tried:
            tried.add(rung)
            yield attempt, plan
    raise too_little_memory(first, least)


def _run(
    engine: Engine,
    image: Tensor,
    plan: Layout | TilePlan,
    attempt: Attempt,
    first_slice: int,
    progress: Callable[[float], None],
    check_cancel: Callable[[], None] | None,
) -> Iterator[Slab]:
    """Logits as the plan has them computed: by the fast form in slabs, or by the whole network in tiles."""
    storage, compute = attempt.storage, partial(_compute, attempt)
    form = engine.form(attempt)
    if isinstance(plan, Layout):
        fused = cast(FusedUNet, form)
        slabs = stream(fused, image, plan, first_slice=first_slice, storage=storage, compute=compute, progress=progress)
    else:
        tile = cast(UNet, form)
        slabs = run_tiles(
            tile, image, plan, first_slice=first_slice, storage=storage, compute=compute, progress=progress
        )
    with interruptible(form, check_cancel):
        yield from slabs


def _compute(attempt: Attempt, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``function(*tensors)`` on the attempt's device and in its precision; float32 is never TF32."""
    layout = CHANNELS_LAST[tensors[0].dim() - 2]
    floating = attempt.precision.is_floating_point  # else the image is float32 and every map has its type already
    kinds = (attempt.precision if floating else tensor.dtype for tensor in tensors)
    there = [tensor.to(attempt.device, kind, memory_format=layout) for tensor, kind in zip(tensors, kinds, strict=True)]
    with without_tf32(attempt.device):
        return function(*there)


def _rest(progress: Callable[[float], None], before: float, share: float) -> None:
    """Report a share of what was left to do when ``before`` was done already."""
    progress(before + (1 - before) * min(1.0, share))
