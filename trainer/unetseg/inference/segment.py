"""Segmenting a volume with a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ImageError
from ..model_file import Model
from ..preprocessing import Prepared, preprocess
from ..volume import UNLABELLED, LabelArray, LabelMap, Shape, Volume
from .devices import available_devices, choose_device
from .engine import Engine
from .memory import limit_bytes
from .precision import AUTO
from .predict import least_bytes, predict
from .restore import restore


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A result on the volume's own grid.

    Attributes:
        label_map: the most probable class.
        uncertainty: (D, H, W), normalised entropy of the class probabilities, 0 … 255; None unless asked for.
        probabilities: (K, D, H, W); None unless asked for.
        device: torch's name of where it was computed.
        notes: what the user should know, a sentence each: which device and why, and where memory ran out.
    """

    label_map: LabelMap
    uncertainty: LabelArray | None
    probabilities: NDArray[np.float16] | None
    device: str
    notes: tuple[str, ...]


def segment(
    model: Model,
    volume: Volume,
    *,
    device: str = "auto",
    memory_gb: float | None = None,
    precision: str = AUTO,
    uncertainty: bool = False,
    probabilities: bool = False,
    confirmed: LabelArray | None = None,
    progress: Callable[[float], None] = lambda share: None,
    check_cancel: Callable[[], None] | None = None,
) -> Segmentation:
    """Segment a volume on its own grid; see ``segment_prepared`` for the options."""
    return segment_prepared(
        Engine.of(model),
        preprocess(volume, model.document.plan),
        device=device,
        memory_gb=memory_gb,
        precision=precision,
        uncertainty=uncertainty,
        probabilities=probabilities,
        confirmed=confirmed,
        progress=progress,
        check_cancel=check_cancel,
    )


def segment_prepared(
    engine: Engine,
    prepared: Prepared,
    *,
    device: str = "auto",
    memory_gb: float | None = None,
    precision: str = AUTO,
    uncertainty: bool = False,
    probabilities: bool = False,
    confirmed: LabelArray | None = None,
    progress: Callable[[float], None] = lambda share: None,
    check_cancel: Callable[[], None] | None = None,
) -> Segmentation:
    """Segment a volume that was prepared by the plan of the engine's model; engine and volume may serve again.

    Args:
        device: a name of ``available_devices``, or ``auto``: the fastest with enough memory, and the CPU
            where that runs out after all.
        memory_gb: what inference may take on the device beside the network; None: most of what is free.
        precision: a name of ``PRECISIONS``, ``auto`` for the fastest of them on the device, or, on the CPU and with
            a model that was calibrated, ``int8``.
        confirmed: labels that a user has said to be right, uint8 (D, H, W) of the volume, 255 elsewhere. The result
            repeats them exactly; where a whole slice is labelled, what it corrects is carried into the slices around it
            (see ``carry``), for which the probabilities of the whole volume are kept in memory, 2 bytes each.
        progress: is told the share of the work that is done, 0 … 1.
        check_cancel: is called before each layer; raises ``CancelledError`` to end the work.

    Raises:
        DeviceError: no such device.
        ImageError: the image has other channels than the network, ``confirmed`` another shape or an unknown label.
        MemoryLimitError: not even the smallest piece fits.
        SettingsError: ``memory_gb`` is not positive and finite, the precision is unknown, or ``int8`` cannot be had.
    """
    memory_bytes = None if memory_gb is None else limit_bytes(memory_gb)
    if confirmed is not None:
        _check_confirmed(confirmed, prepared.source.shape, engine.network.classes)
    needed_bytes = 0
    if device == "auto" and len(available_devices()) > 1:
        needed_bytes = least_bytes(engine, prepared.geometry.shape)
    choice = choose_device(device, needed_bytes=needed_bytes)
    notes = [choice.reason]
    slabs = predict(
        engine,
        torch.from_numpy(prepared.image),
        device=choice.device,
        memory_bytes=memory_bytes,
        precision=precision,
        allow_cpu=device == "auto",
        progress=progress,
        check_cancel=check_cancel,
        note=notes.append,
    )
    with closing(slabs):
        result = restore(slabs, prepared, uncertainty=uncertainty, probabilities=probabilities, confirmed=confirmed)
    return Segmentation(
        label_map=LabelMap(result.labels, prepared.source),
        uncertainty=result.uncertainty,
        probabilities=result.probabilities,
        device=str(result.device),
        notes=tuple(notes),
    )


def _check_confirmed(confirmed: LabelArray, shape: Shape, classes: int) -> None:
    if confirmed.shape != shape:
        raise ImageError(f"Confirmed labels must have the volume's shape {shape}", received=confirmed.shape)
    unknown = np.setdiff1d(confirmed, [*range(classes), UNLABELLED])
    if unknown.size:
        raise ImageError(
            f"Confirmed labels must be 0 to {classes - 1}, or {UNLABELLED} where nobody labelled",
            received=", ".join(map(str, unknown)),
            remedy="Use the model with which the slices were confirmed",
        )
