"""One model = one ``.safetensors`` file: the tensors and, as JSON, the ``ModelDocument``.

Loading rebuilds the network from the file alone. Every gate stands before the first tensor is allocated:
header, document, limits, and a network built without memory whose names, shapes and types must equal the
file's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from . import networks
from .config import MAX_INT8_DICE_LOSS, MAX_PATCH_LENGTH, MODEL_FORMAT_VERSION, ModelDocument, Plan
from .errors import ModelFileError, SettingsError
from .networks import UNet
from .records import RecordError, dumps, from_json, loads
from .tensor_file import TensorEntry, TensorHeader, file_sha256, read_header, read_tensors, write_tensors
from .volume import UNLABELLED

__all__ = [
    "Model", "check_document", "file_sha256", "load_model", "read_document", "read_tensors", "save_model",
    "write_tensors",
]  # fmt: skip

MAX_CLASSES = UNLABELLED


@dataclass(frozen=True, eq=False)
class Model:
    """A network and what it needs to be applied; the network takes and gives float32."""

    document: ModelDocument
    network: UNet


def save_model(path: Path, model: Model) -> str:
    """Write atomically; returns the file's sha256, the model's identity.

    Raises ``ModelFileError``, before anything is written, for what ``load_model`` would refuse.
    """
    tensors = model.network.state_dict()
    entries = {name: TensorEntry(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    check_document(model.document)
    _check_entries(entries, _empty_network(model.document))
    _check_finite(tensors)
    write_tensors(path, tensors, dumps(model.document))
    return file_sha256(path)


def load_model(path: Path) -> Model:
    """The model with its network on the CPU, in eval mode. Raises ``ModelFileError`` with the first reason."""
    header = read_header(path)
    document, network = _declared(header)
    tensors, _ = read_tensors(path, header=header)
    _check_finite(tensors)
    network.load_state_dict(tensors, strict=True, assign=True)
    return Model(document, network.eval())


def read_document(path: Path) -> ModelDocument:
    """The document of a model that passes every gate except those on the weights' values."""
    return _declared(read_header(path))[0]


def check_document(document: ModelDocument) -> None:
    """Raises ``ModelFileError`` with the first rule that the document breaks."""
    for rule, received in _broken_rules(document):
        raise ModelFileError(f"In a model, {rule}", received=_short(received))


def _declared(header: TensorHeader) -> tuple[ModelDocument, UNet]:
    """The document and its network, without memory for its weights, of a header that passes every gate."""
    document = _document(header.text)
    check_document(document)
    network = _empty_network(document)
    _check_entries(header.tensors, network)
    return document, network


def _document(text: str) -> ModelDocument:
    try:
        data = loads(text)
        version = data.get("format_version") if isinstance(data, dict) else None
        if type(version) is int and version > MODEL_FORMAT_VERSION:
            raise ModelFileError(
                f"This version reads models up to format {MODEL_FORMAT_VERSION}",
                received=f"format {version}",
                remedy="Update UNetSegment to open it",
            )
        return from_json(ModelDocument, data)
    except RecordError as error:
        raise ModelFileError("The model's description is malformed", received=str(error)) from error


def _broken_rules(document: ModelDocument) -> Iterator[tuple[str, object]]:
    """Each rule that does not hold, with the value received."""
    network, labels, plan = document.network, document.labels, document.plan
    if document.format_version != MODEL_FORMAT_VERSION:
        yield f"the format version must be {MODEL_FORMAT_VERSION}", document.format_version
    if network.name not in networks.NETWORKS:
        yield f"the network must be one of {', '.join(sorted(networks.NETWORKS))}", network.name
    if not 2 <= network.classes <= MAX_CLASSES:
        yield f"there must be 2 to {MAX_CLASSES} classes", network.classes
    values = [label.value for label in labels]
    if values != list(range(network.classes)):
        yield f"the labels' values must be 0 to {network.classes - 1}, one of each, in order", values
    names = [label.name for label in labels]
    if not all(names) or len(set(names)) != len(names):
        yield "the labels' names must be different and not empty", names
    if not all(0 <= part <= 255 for label in labels for part in label.color):
        yield "a label's colour must be three numbers from 0 to 255", [label.color for label in labels]
    if document.int8 is not None and not all(value > 0 for value in document.int8.ranges.values()):
        yield "the ranges for 8 bit must be positive", min(document.int8.ranges.values())
    if document.int8 is not None and not document.int8.dice_loss < MAX_INT8_DICE_LOSS:
        yield f"the Dice loss in 8 bit must be below {MAX_INT8_DICE_LOSS}", document.int8.dice_loss
    yield from _broken_plan_rules(plan, network.in_channels)


def _broken_plan_rules(plan: Plan, in_channels: int) -> Iterator[tuple[str, object]]:
    depth_mm, *plane_mm = plan.spacing_mm
    if min(plane_mm) <= 0 or depth_mm < 0 or (depth_mm == 0 and plan.dimensions == 3):
        yield "the spacing must be positive (0 along D is for 2D networks)", plan.spacing_mm
    if not all(1 <= size <= MAX_PATCH_LENGTH for size in plan.patch_size):
        yield f"the patch size must be 1 to {MAX_PATCH_LENGTH} along each axis", plan.patch_size
    if plan.dimensions == 2 and plan.patch_size[0] != 1:
        yield "the patch of a 2D network must be one slice", plan.patch_size
    if plan.batch_size < 1:
        yield "the batch size must be at least 1", plan.batch_size
    if len(plan.normalisation) != in_channels:
        yield f"there must be one normalisation for each of the {in_channels} channels", len(plan.normalisation)
    for entry in plan.normalisation:
        if entry.scheme == "ct" and not (entry.lower < entry.upper and entry.std > 0):
            yield "the CT normalisation needs lower < upper and a positive standard deviation", entry
        if entry.scheme == "percentile" and not 0 <= entry.lower < entry.upper <= 100:
            yield "the percentiles of a normalisation must be 0 <= lower < upper <= 100", entry


def _empty_network(document: ModelDocument) -> UNet:
    """The declared network on the meta device: names, shapes and types, but no memory.

    ``networks.build`` checks every argument against its limits first.
    """
    config = document.network
    try:
        with torch.device("meta"):
            network = networks.build(
                config.name, in_channels=config.in_channels, classes=config.classes, **config.arguments
            )
    except (SettingsError, TypeError, ValueError) as error:
        raise ModelFileError("The model's network cannot be built", received=_short(error)) from error
    if network.dimensions != document.plan.dimensions:
        raise ModelFileError(
            f"In a model, the plan's dimensions must be those of the network, {network.dimensions}",
            received=document.plan.dimensions,
        )
    return network


def _check_entries(entries: Mapping[str, TensorEntry], network: nn.Module) -> None:
    expected = {name: TensorEntry(t.dtype, tuple(t.shape)) for name, t in network.state_dict().items()}
    for name in sorted(set(expected) ^ set(entries)):
        place = "lacks" if name in expected else "has the unknown tensor"
        raise ModelFileError("A model's tensors must be those of its network", received=f"it {place} {_short(name)}")
    for name, entry in expected.items():
        if entries[name] != entry:
            raise ModelFileError(f"The tensor {name} must be {_described(entry)}", received=_described(entries[name]))


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(
                "A model's weights must be finite numbers",
                received=f"NaN or infinity in {name}",
                remedy="Use an earlier version of the model",
            )


def _described(entry: TensorEntry) -> str:
    return f"{str(entry.dtype).removeprefix('torch.')} {' x '.join(map(str, entry.shape)) or 'scalar'}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."
