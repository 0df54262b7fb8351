"""What the worker and the command line can be asked to do: one function a request.

Each takes paths and settings, reports ``Progress`` and ``Epoch``, and returns the reply; the ``request``
field of all of them is left empty for the worker to fill in.
"""

from __future__ import annotations

import gc
import math
import time
import typing
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from . import image_io, inference, losses, metrics, networks, records, training
from .config import Modality, ModelDocument, Plan
from .data import read_annotation
from .errors import ModelFileError, SettingsError
from .failures import explain
from .image_io.write import WRITABLE
from .messages import (
    Box,
    Capabilities,
    DeviceDescription,
    Epoch,
    Evaluated,
    ModelDescription,
    NetworkDescription,
    Progress,
    Segmented,
    Trained,
)
from .model_file import Model, load_model, read_document
from .preprocessing import Prepared, preprocess
from .versions import versions
from .volume import Geometry, LabelMap, Volume

Report = Callable[[Progress | Epoch], None]
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class _Input:
    """A prepared image: of the voxels in ``box``, slices along D, H, W, of the ``whole`` grid."""

    prepared: Prepared
    whole: Geometry
    box: tuple[slice, ...]


class Warm:
    """What stays in memory between requests: the last model, with the form in which it computes, and the last prepared
    image, until a file changes."""

    def __init__(self) -> None:
        self._model: _Slot[Model] = _Slot()
        self._engine: _Slot[inference.Engine] = _Slot()
        self._input: _Slot[_Input] = _Slot()

    def model(self, path: Path) -> Model:
        return self._model.get(_file_state(path), lambda: load_model(path))

    def engine(self, path: Path) -> inference.Engine:
        return self._engine.get(_file_state(path), lambda: inference.Engine.of(self.model(path)))

    def input(self, images: Sequence[Path], plan: Plan, region: Box | None) -> _Input:
        key = (*map(_file_state, images), plan, region)
        return self._input.get(key, lambda: _prepared_input(images, plan, region))

    def release(self) -> None:
        """Forget them and give the accelerator's memory back to other programs."""
        self._model, self._engine, self._input = _Slot(), _Slot(), _Slot()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Slot(Generic[Value]):
    def __init__(self) -> None:
        self._held: tuple[Hashable, Value] | None = None

    def get(self, key: Hashable, read: Callable[[], Value]) -> Value:
        if self._held is None or self._held[0] != key:
            self._held = None  # so that the old and the new are never in memory together
            self._held = key, read()
        return self._held[1]


def _file_state(path: Path) -> Hashable:
    """Changes when the file, or a file in the folder, does."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def describe(models: Sequence[Path]) -> Capabilities:
    """What can be chosen, from the tables; and the documents of ``models``, or why each is refused."""
    return Capabilities(
        request="",
        networks=tuple(NetworkDescription(name, tuple(networks.PRESETS[name])) for name in networks.NETWORKS),
        losses=tuple(losses.LOSSES),
        metrics=tuple(metrics.METRICS),
        modalities=typing.get_args(Modality),
        devices=tuple(
            DeviceDescription(device.name, device.description, round(device.total_bytes / 2**30, 1))
            for device in inference.available_devices()
        ),
        versions=versions(),
        models=tuple(_described(path) for path in models),
    )


def inspect(model: Path) -> ModelDocument:
    """The document of a model file; its weights are not read."""
    return read_document(model)


def segment(
    model: Path,
    images: Sequence[Path],
    *,
    label_map: Path,
    uncertainty: Path | None = None,
    probabilities: Path | None = None,
    confirmed: Path | None = None,
    region: Box | None = None,
    device: str = "auto",
    memory_gb: float | None = None,
    precision: str = inference.AUTO,
    warm: Warm,
    control: training.Control,
    report: Report,
) -> Segmented:
    """Segment one case and write the label map, and the others where named, on the grid of the first image.

    Outside ``region`` every voxel is background with certainty. Intensities are normalised within the region. Labels in
    ``confirmed`` are kept, and what they correct is carried into the slices around them.
    """
    started = time.monotonic()
    outputs, inputs = (label_map, uncertainty, probabilities), (model, *images, confirmed)
    _check_outputs([path for path in outputs if path], inputs=[path for path in inputs if path])
    report(Progress("", "reading", 0.0))
    engine, loaded = warm.engine(model), warm.model(model)  # in this order the one before is forgotten first
    case = warm.input(images, loaded.document.plan, region)
    control.check()
    given = None if confirmed is None else read_annotation(confirmed, case.whole)[0].array[case.box]
    result = inference.segment_prepared(
        engine,
        case.prepared,
        device=device,
        memory_gb=memory_gb,
        precision=precision,
        uncertainty=uncertainty is not None,
        probabilities=probabilities is not None,
        confirmed=given,
        progress=_timed("segmenting", report),
        check_cancel=control.check,
    )
    control.check()
    report(Progress("", "writing", 1.0, 0.0))
    labels = loaded.document.labels
    image_io.write_label_map(label_map, LabelMap(_pasted(result.label_map.array, case), case.whole), labels)
    if uncertainty is not None and result.uncertainty is not None:
        image_io.write_image(uncertainty, _pasted(result.uncertainty, case), case.whole)
    if probabilities is not None and result.probabilities is not None:
        per_class = [_pasted(p, case, outside=float(k == 0)) for k, p in enumerate(result.probabilities)]
        image_io.write_image(probabilities, np.stack(per_class).astype(np.float32), case.whole)
    return Segmented(
        request="",
        labels=tuple(records.to_json(label) for label in labels),
        device=result.device,
        seconds=round(time.monotonic() - started, 2),
        notes=result.notes,
    )


def train(request: training.TrainingRequest, *, control: training.Control, report: Report) -> Trained:
    """Train, and write the model; see ``training.train``."""

    def translate(progress: training.Progress) -> None:
        if progress.stage == "training" or progress.held_out_dice is not None:
            report(
                Epoch(
                    request="",
                    iteration=progress.iteration,
                    fraction=progress.fraction,
                    loss={name: value if math.isfinite(value) else None for name, value in progress.loss.items()},
                    held_out_dice=progress.held_out_dice,
                    seconds_left=progress.seconds_left,
                )
            )
        else:
            report(Progress("", progress.stage, progress.fraction, progress.seconds_left))

    result = training.train(request, control=control, report=translate)
    return Trained(
        request="",
        sha256=result.sha256,
        iterations=result.iterations,
        seconds=round(result.seconds, 2),
        dice_before=result.held_out_before,
        dice_after=result.held_out_after,
        held_out_slices=result.held_out_slices,
        replay_before=result.replay_before,
        replay_after=result.replay_after,
        improved=result.improved,
        warnings=result.warnings,
        notes=result.notes,
    )


def evaluate(prediction: Path, reference: Path, *, tolerance_mm: float) -> Evaluated:
    """All metrics of every label value above 0 in either map, which must lie on the same grid."""
    found = metrics.evaluate(
        image_io.read_label_map(prediction), image_io.read_label_map(reference), tolerance_mm=tolerance_mm
    )
    return Evaluated(request="", figures={str(label.value): label.figures for label in found})


def _check_outputs(outputs: Sequence[Path], *, inputs: Sequence[Path]) -> None:
    """Before hours of work for them are lost, or an image is."""
    taken = {path.resolve() for path in inputs}
    for path in outputs:
        if not path.name.lower().endswith(WRITABLE):
            raise SettingsError(f"A result is written as one of {', '.join(WRITABLE)}", received=path.name)
        if not path.parent.is_dir():
            raise SettingsError("The folder of a result must exist", received=path.parent)
        if path.resolve() in taken:
            raise SettingsError(
                "Each result needs a file of its own, apart from the images and the model",
                received=f"{path.name} twice",
                remedy="Give the result another name",
            )
        taken.add(path.resolve())


def _described(model: Path) -> ModelDescription:
    try:
        return ModelDescription(str(model), records.to_json(read_document(model)))
    except (ModelFileError, OSError) as error:
        return ModelDescription(str(model), None, str(explain(error)))


def _timed(stage: str, report: Report) -> Callable[[float], None]:
    """A progress callback that adds the time left, at the pace so far."""
    started = time.monotonic()

    def progress(fraction: float) -> None:
        left = (time.monotonic() - started) * (1 - fraction) / fraction if fraction > 0 else None
        report(Progress("", stage, fraction, left))

    return progress


def _prepared_input(images: Sequence[Path], plan: Plan, region: Box | None) -> _Input:
    volume = image_io.read_volume(images)
    shape = volume.geometry.shape
    start, stop = region or ((0, 0, 0), shape)
    if not all(0 <= a < b <= size for a, b, size in zip(start, stop, shape, strict=True)):
        raise SettingsError(
            f"The region of interest must lie inside the image of {shape} voxels",
            received=f"{start} to {stop}",
            remedy="Move or shrink the region",
        )
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    part = volume.array[(slice(None), *box)]
    cropped = Volume(part, volume.geometry.cropped(start, part.shape[1:]))
    return _Input(preprocess(cropped, plan), volume.geometry, box)


def _pasted(part: NDArray[Any], case: _Input, *, outside: float = 0) -> NDArray[Any]:
    """``part`` in the case's box, ``outside`` around it, on the whole grid."""
    whole = np.full(case.whole.shape, outside, dtype=part.dtype)
    whole[case.box] = part
    return whole
