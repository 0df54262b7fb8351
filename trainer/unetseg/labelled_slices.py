"""Slices that a user has confirmed, each with all its labels, and the sparse annotation that they make together.

The Slicer side writes them, the worker reads them: numpy and the standard library only.
"""

from __future__ import annotations

import base64
import functools
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FileAccessError, ImageError
from .files import atomic_path
from .records import Json, RecordError, dumps, from_json, loads, to_json
from .volume import UNLABELLED, LabelArray, Shape

FORMAT_VERSION = 1
MAX_PACKED_VOXELS = 64 * 2**20
"""More voxels in one slice than any scanner makes; a file that claims more is refused before memory is taken."""
MAX_FILE_BYTES = 512 * 2**20

EditMask = NDArray[np.bool_]
PlaneIndex = tuple[int | slice, ...]


@dataclass(frozen=True, eq=False)
class LabelledSlice:
    """One slice whose labels a user has said to be right, background included.

    Attributes:
        axis, index: the slice is ``array[plane]`` of a (D, H, W) array; axis 0, 1, 2 = D, H, W.
        labels: uint8, 2D, a read-only copy; 0 is background, 255 (``UNLABELLED``) is refused.
        before: what was predicted there, like ``labels``; None where that is not known.
        version: of the model that predicted it; may be empty.
        seconds: that the user spent on it.
        confirmed_utc: ISO 8601; may be empty.

    Raises:
        ImageError: arrays or indices that are not as above.
    """

    axis: int
    index: int
    labels: LabelArray
    before: LabelArray | None = None
    version: str = ""
    seconds: float = 0.0
    confirmed_utc: str = ""

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2) or self.index < 0:
            raise ImageError("A slice is an axis 0, 1 or 2 and an index from 0 on", received=(self.axis, self.index))
        if self.before is not None and self.before.shape != self.labels.shape:
            raise ImageError(
                "The labels of a slice must have the same shape before and after its correction",
                received=f"{self.before.shape} and {self.labels.shape}",
            )
        object.__setattr__(self, "labels", _own_labels(self.labels))
        object.__setattr__(self, "before", None if self.before is None else _own_labels(self.before))

    @property
    def plane(self) -> PlaneIndex:
        """Index of the slice in a (D, H, W) array."""
        return plane_index(self.axis, self.index)

    @property
    def edited(self) -> EditMask | None:
        """Where the user changed the label: bool, 2D; None where the labels before are not known."""
        return None if self.before is None else self.labels != self.before

    @property
    def unchanged(self) -> bool | None:
        """Whether the prediction was right as it was; None where it is not known."""
        return None if self.before is None else bool(np.array_equal(self.labels, self.before))

    @functools.cached_property
    def touched_values(self) -> tuple[int, ...]:
        """Structures (values from 1 on) that gained or lost a voxel; where that is not known, all on the slice."""
        if self.before is None:
            values = self.labels.ravel()
        else:
            edited = self.labels != self.before
            values = np.concatenate([self.labels[edited], self.before[edited]])
        return tuple(int(value) for value in np.flatnonzero(np.bincount(values)) if value)

    @functools.cached_property
    def stored(self) -> Json:
        """Plain JSON; packed once, as a slice never changes."""
        return to_json(
            _StoredSlice(
                axis=self.axis,
                index=self.index,
                labels=pack_labels(self.labels),
                before=None if self.before is None else pack_labels(self.before),
                version=self.version,
                seconds=self.seconds,
                confirmed_utc=self.confirmed_utc,
            )
        )


@dataclass(frozen=True)
class _StoredSlice:
    axis: int
    index: int
    labels: str
    before: str | None
    version: str
    seconds: float
    confirmed_utc: str


@dataclass(frozen=True)
class _StoredSlices:
    format_version: int
    shape: Shape
    slices: tuple[_StoredSlice, ...]


def plane_index(axis: int, index: int) -> PlaneIndex:
    """The numpy index of slice ``index`` along ``axis`` of a (D, H, W) array."""
    return (slice(None),) * axis + (index,)


def plane_shape(axis: int, shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the slices along ``axis`` of a volume of ``shape`` (D, H, W)."""
    rows, columns = (length for other, length in enumerate(shape) if other != axis)
    return rows, columns


def check_slice(labelled: LabelledSlice, shape: Shape) -> None:
    """Raise ``ImageError`` unless the slice fits into a volume of ``shape`` (D, H, W)."""
    if labelled.index >= shape[labelled.axis] or labelled.labels.shape != plane_shape(labelled.axis, shape):
        rows, columns = labelled.labels.shape
        raise ImageError(
            f"A confirmed slice must fit into its volume of {_size(shape)} voxels",
            received=f"slice {labelled.index} along axis {labelled.axis} of {rows} × {columns} voxels",
            remedy="Choose the volume in which the slice was confirmed",
        )


def compose(slices: Iterable[LabelledSlice], shape: Shape) -> tuple[LabelArray, EditMask]:
    """The sparse annotation on the grid of ``shape``; where slices cross, the later one wins.

    Returns:
        Labels, uint8 (D, H, W), ``UNLABELLED`` off the slices; and where the user is known to have changed them, bool.

    Raises:
        ImageError: a slice does not fit into the shape.
    """
    annotation = np.full(shape, UNLABELLED, dtype=np.uint8)
    edited = np.zeros(shape, dtype=np.bool_)
    for labelled in slices:
        check_slice(labelled, shape)
        annotation[labelled.plane] = labelled.labels
        edited[labelled.plane] = False if labelled.edited is None else labelled.edited
    return annotation, edited


def slices_to_json(slices: Iterable[LabelledSlice], shape: Shape) -> Json:
    """Plain JSON, in the given order, that ``slices_from_json`` reads."""
    return {"format_version": FORMAT_VERSION, "shape": list(shape), "slices": [entry.stored for entry in slices]}


def slices_from_json(data: Json) -> tuple[Shape, tuple[LabelledSlice, ...]]:
    """The shape (D, H, W) of the volume, and its slices in order.

    Raises:
        ImageError: anything but what ``slices_to_json`` makes, also of a newer version; one slice twice.
    """
    try:
        version = data.get("format_version") if isinstance(data, Mapping) else None
        if version != FORMAT_VERSION:
            raise RecordError(f"they are of version {str(version)[:20]}, this program reads version {FORMAT_VERSION}")
        stored = from_json(_StoredSlices, data)
    except RecordError as error:
        raise unreadable_slices(error) from error
    if min(stored.shape) < 1:
        raise unreadable_slices(f"a volume of {_size(stored.shape)} voxels")
    slices = tuple(_labelled(entry, stored.shape) for entry in stored.slices)
    if len({(entry.axis, entry.index) for entry in slices}) < len(slices):
        raise unreadable_slices("one slice is in the list twice")
    return stored.shape, slices


def save_slices(path: Path, slices: Iterable[LabelledSlice], shape: Shape) -> None:
    """Write the slices as JSON, atomically. Raises ``FileAccessError`` where the file cannot be written."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(dumps(slices_to_json(slices, shape)), encoding="utf-8")
    except OSError as error:
        raise FileAccessError("The file must be writable", received=f"{path}: {error.strerror}") from error


def load_slices(path: Path) -> tuple[Shape, tuple[LabelledSlice, ...]]:
    """Read what ``save_slices`` wrote. Raises ``ImageError`` for a file that is missing or something else."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise unreadable_slices(f"more than {MAX_FILE_BYTES} bytes")
        return slices_from_json(loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, RecordError) as error:
        raise unreadable_slices(f"{path}: {error}") from error
    except ImageError as error:
        raise unreadable_slices(f"{path}: {error.received}") from error


def pack_labels(labels: LabelArray) -> str:
    """An array of labels, any shape, as compressed ASCII text."""
    return base64.b64encode(zlib.compress(labels.tobytes(), 1)).decode("ascii")


def unpack_labels(text: str, shape: Sequence[int]) -> LabelArray:
    """The array of ``shape`` that ``pack_labels`` packed.

    Raises:
        ImageError: the text is damaged, or holds more or fewer voxels, or the shape is beyond ``MAX_PACKED_VOXELS``.
    """
    voxels = math.prod(shape)
    if voxels > MAX_PACKED_VOXELS:
        raise unreadable_slices(f"a part of {_size(shape)} voxels")
    decompressor = zlib.decompressobj()
    try:
        # Room for one byte more: the end of the stream is reached, and a stream of too many bytes is not followed.
        content = decompressor.decompress(base64.b64decode(text, validate=True), voxels + 1)
    except (ValueError, zlib.error) as error:
        raise unreadable_slices(error) from error
    if len(content) != voxels or not decompressor.eof or decompressor.unused_data:
        raise unreadable_slices(f"a part does not hold {_size(shape)} voxels")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _labelled(stored: _StoredSlice, shape: Shape) -> LabelledSlice:
    if stored.axis not in (0, 1, 2) or not 0 <= stored.index < shape[stored.axis]:
        raise unreadable_slices(f"slice {stored.index} along axis {stored.axis} in {_size(shape)} voxels")
    size = plane_shape(stored.axis, shape)
    return LabelledSlice(
        axis=stored.axis,
        index=stored.index,
        labels=unpack_labels(stored.labels, size),
        before=None if stored.before is None else unpack_labels(stored.before, size),
        version=stored.version,
        seconds=stored.seconds,
        confirmed_utc=stored.confirmed_utc,
    )


def _own_labels(labels: NDArray[Any]) -> LabelArray:
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ImageError("The labels of a slice are a 2D array of uint8", received=f"{labels.dtype} {labels.shape}")
    if labels.size and labels.max() == UNLABELLED:
        raise ImageError(
            f"Every voxel of a confirmed slice must have a label below {UNLABELLED}",
            received=f"{np.count_nonzero(labels == UNLABELLED)} voxels of {UNLABELLED}",
        )
    own: LabelArray = labels.copy()
    own.flags.writeable = False
    return own


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def unreadable_slices(reason: object) -> ImageError:
    """The error for stored slices that are damaged, or of a newer version."""
    return ImageError(
        "Confirmed slices must be readable as they were saved",
        received=reason,
        remedy="Use an earlier copy, or confirm the slices again",
    )
