"""Named tensors and one text in a ``.safetensors`` file, hashed and read without trust.

Used for models and training checkpoints. Nothing is ever unpickled. The header is checked before any tensor
is allocated: a damaged or hostile file costs a few milliseconds and about a megabyte.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from .errors import ModelFileError
from .files import atomic_path
from .records import RecordError, loads

TEXT_KEY = "unetseg"
HASH_KEY = "sha256"
MAX_HEADER_BYTES = 1_000_000
MAX_TENSORS = 5_000
MAX_AXES = 8

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class TensorEntry:
    """What the header says of one tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TensorHeader:
    """The checked header: the text and the hash in it, and the tensors that the file declares."""

    text: str
    content_sha256: str
    tensors: Mapping[str, TensorEntry]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: str) -> None:
    """Write atomically; ``read_tensors`` gives the same names, values, dtypes and text back, on the CPU.

    The header with ``metadata`` must stay below 1 MB. Raises ``OSError`` where the disk refuses.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    texts = {TEXT_KEY: metadata, HASH_KEY: _content_sha256(on_cpu, metadata)}
    with atomic_path(path) as temporary:
        temporary.touch()
        usual_mode = temporary.stat().st_mode
        safetensors.torch.save_file(on_cpu, temporary, texts)
        temporary.chmod(usual_mode)  # safetensors keeps a new file from all other users
        read_header(temporary)


def read_tensors(path: Path, *, header: TensorHeader | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors and the text of a file that ``write_tensors`` made.

    Pass the ``header`` where it was read and judged before. Raises ``ModelFileError`` for a file that is damaged
    or not of this kind, ``OSError`` where it cannot be opened.
    """
    header = header or read_header(path)
    try:
        mapped = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError("The model file is damaged", received=str(error)) from error
    # Copies: Windows does not let a file be replaced as long as tensors are mapped onto it.
    tensors = {name: tensor.clone() for name, tensor in mapped.items()}
    if _content_sha256(tensors, header.text) != header.content_sha256:
        raise ModelFileError(
            "The model file is damaged: its content differs from the checksum in it",
            remedy="Copy or download it again, or use an earlier version",
        )
    return tensors, header.text


def read_header(path: Path) -> TensorHeader:
    """The checked header alone; the tensors are not read."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(8)
        header_bytes = int.from_bytes(prefix, "little")
        if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, size - 8):
            raise _not_a_tensor_file(prefix, size)
        raw = file.read(header_bytes)
    try:
        return _checked_header(raw.decode(), data_bytes=size - 8 - header_bytes)
    except (RecordError, UnicodeDecodeError) as error:
        raise ModelFileError("The model file's header is damaged", received=str(error)) from error


def file_sha256(path: Path) -> str:
    """Hash of the whole file: a model's identity."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _content_sha256(tensors: Mapping[str, Tensor], text: str) -> str:
    """Hash of the text and of every tensor's name, dtype, shape and bytes; independent of their order."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode("utf-8", "surrogatepass"))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _not_a_tensor_file(prefix: bytes, size: int) -> ModelFileError:
    if prefix.startswith((b"PK\x03\x04", b"\x80")):
        return ModelFileError(
            "A model file must be in safetensors format",
            received="a pickled PyTorch file, which can run code and is never opened",
            remedy="Export the weights with safetensors",
        )
    return ModelFileError(
        "A model must be a .safetensors file that UNetSegment has saved",
        received=f"a file of {size} bytes that states a header of {int.from_bytes(prefix, 'little')}",
        remedy="The file is cut off or not a model: copy or download it again",
    )


def _checked_header(text: str, *, data_bytes: int) -> TensorHeader:
    header = loads(text)
    if not isinstance(header, dict):
        raise RecordError("it is not an object")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(k), str) for k in (TEXT_KEY, HASH_KEY)):
        raise ModelFileError(
            f"A model file carries its description under {TEXT_KEY!r} and a checksum",
            received="a file without them",
            remedy="Choose a model that UNetSegment has saved",
        )
    if len(header) > MAX_TENSORS:
        raise RecordError(f"it lists {len(header)} tensors, at most {MAX_TENSORS} are allowed")
    tensors, ranges = {}, []
    for name, entry in header.items():
        tensors[name], start, stop = _checked_entry(name, entry)
        ranges.append((start, stop))
    end = 0
    for start, stop in sorted(ranges):
        if start != end:
            raise RecordError(f"tensor data overlap or leave a gap at byte {min(start, end)}")
        end = stop
    if end != data_bytes:
        raise RecordError(f"it declares {end} bytes of tensors, the file has {data_bytes}")
    return TensorHeader(metadata[TEXT_KEY], metadata[HASH_KEY], tensors)


def _checked_entry(name: str, entry: object) -> tuple[TensorEntry, int, int]:
    """One tensor's entry and its range of bytes in the data."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise RecordError(f"the entry of tensor {name[:60]!r} is malformed")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        raise RecordError(f"tensor {name[:60]!r} has the unknown type {str(entry['dtype'])[:20]!r}")
    if not _counts(shape) or len(shape) > MAX_AXES or not _counts(offsets) or len(offsets) != 2:
        raise RecordError(f"tensor {name[:60]!r} has a malformed shape or range")
    dtype = _DTYPES[entry["dtype"]]
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise RecordError(f"the size of tensor {name[:60]!r} does not match its shape")
    return TensorEntry(dtype, tuple(shape)), offsets[0], offsets[1]


def _counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
