"""From the training cases to a plan: spacing, patch, levels and normalisation, decided by rule.

The rules follow nnU-Net's (Isensee 2021, Nature Methods, doi 10.1038/s41592-020-01008-z, supplementary note 2)
with patches small enough to learn while one waits. Fingerprint and plan are records, so both print as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .config import MAX_PATCH_LENGTH, Modality, Normalisation, Orientation, Plan
from .errors import ImageError, MemoryLimitError, SettingsError, TrainingDataError, unknown_name
from .preprocessing import Reorientation, sample_voxels, thickest_axis
from .volume import UNLABELLED, FloatArray, LabelMap, Shape, Vector, Volume

ANISOTROPY = 3.0
"""Largest over smallest spacing from which on the slice axis is treated on its own (nnU-Net's threshold)."""

MAX_DEPTH = {2: 5, 3: 4}
MIN_DEPTH = 3
"""The fewest levels that every network can have; an image too small to pool has levels that do not."""

SMALLEST_POOLED = 4
"""No axis is pooled below this many voxels: what is left would be mostly padding."""

PATCH_VOXELS = {2: 256 * 256, 3: 93_000}
"""Of a patch when no memory is given: a training step of one or two seconds on two CPU cores."""

MAX_PATCH_VOXELS = {2: 256 * 256, 3: 128**3}
MIN_BATCH = {2: 4, 3: 2}
MAX_BATCH = {2: 8, 3: 2}

BYTES_PER_VOXEL = 3_000
"""Memory of a training step per voxel of the batch: 900 (unet_3d) to 1,300 (unet_2d) bytes of activations kept by
the compact presets in float32, and as much again for gradients and the convolutions' workspace."""

CASE_VOXELS = 100_000
"""Intensities are taken from at most this many voxels of a case, so that no case rules."""

AIR_HU = -300.0
AIR_SHARE = 0.01
"""An image of which more than this share lies below ``AIR_HU`` is CT: lung and air do, MR has no such values."""


@dataclass(frozen=True)
class Intensities:
    """Of one channel, over the voxels that ``Fingerprint.intensities_from`` names.

    ``air_share`` is the share of *all* voxels that lie below ``AIR_HU``.
    """

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float
    air_share: float


@dataclass(frozen=True)
class Fingerprint:
    """What a plan is decided from.

    Attributes:
        shapes, spacings_mm: of each case, its axes in canonical order (see ``config.Plan``).
        intensities: one entry a channel.
        intensities_from: ``foreground`` (labels above 0), or ``labelled`` where no case has any.
    """

    shapes: tuple[Shape, ...]
    spacings_mm: tuple[Vector, ...]
    intensities: tuple[Intensities, ...]
    intensities_from: Literal["foreground", "labelled"]


@dataclass(frozen=True)
class Planned:
    """A plan, and the arguments that make a network fit it: ``depth`` and ``pooling``."""

    plan: Plan
    network_arguments: Mapping[str, Any]


def fingerprint(cases: Iterable[tuple[Volume, LabelMap]]) -> Fingerprint:
    """Describe the training cases; each is looked at once.

    Raises:
        TrainingDataError: no case, different numbers of channels, or not one labelled voxel.
        ImageError: an annotation of another shape than its volume.
    """
    shapes, spacings = [], []
    foreground: list[FloatArray] = []
    labelled: list[FloatArray] = []
    air: list[NDArray[np.float64]] = []
    for volume, annotation in cases:
        canonical = Reorientation.towards(volume.geometry, "canonical").apply_geometry(volume.geometry)
        shapes.append(canonical.shape)
        spacings.append(canonical.spacing_mm)
        is_labelled = annotation.array != UNLABELLED
        labelled.append(_values(volume, is_labelled))
        foreground.append(_values(volume, is_labelled & (annotation.array > 0)))
        air.append(np.array([np.mean(sample_voxels(channel) < AIR_HU) for channel in volume.array]))
    if len({len(values) for values in labelled}) != 1:
        raise TrainingDataError(
            "Training needs at least one case, and the same channels in all",
            received=f"{sorted({len(values) for values in labelled})} channels",
        )
    has_foreground = any(values.size for values in foreground)
    pooled = np.concatenate(foreground if has_foreground else labelled, axis=1).astype(np.float64)
    if not pooled.size:
        raise TrainingDataError("Training needs labelled voxels", received="none in any case")
    intensities = (_intensities(*channel) for channel in zip(pooled, np.mean(air, axis=0), strict=True))
    return Fingerprint(
        tuple(shapes), tuple(spacings), tuple(intensities), "foreground" if has_foreground else "labelled"
    )


def guess_modality(fingerprint: Fingerprint) -> Modality:
    """CT where air in Hounsfield units is common in the first channel, else MR; the others only by request."""
    return "CT" if fingerprint.intensities[0].air_share > AIR_SHARE else "MR"


def make_plan(
    fingerprint: Fingerprint,
    *,
    dimensions: int,
    modality: Modality,
    memory_bytes: int | None = None,
    max_depth: int | None = None,
) -> Planned:
    """Decide how volumes are brought to the network, and its levels.

    Spacing: the median of the cases along each axis; of anisotropic cases the 10th percentile along the slice axis,
    but no finer than within the slices (nnU-Net). 2D: as acquired along D, the median in plane. Patch: the median
    image rounded up to the total pooling, at most 512 along each axis, cut along its longest side (mm) until it fits.

    Args:
        dimensions: 2 or 3, of the network.
        max_depth: levels that the network has where the image is large enough; None: ``MAX_DEPTH``.
        memory_bytes: that training may take with a compact network; None: small patches, for a CPU.

    Raises:
        SettingsError: other dimensions, an unknown modality.
        MemoryLimitError: not even the smallest patch fits.
    """
    if dimensions not in (2, 3):
        raise SettingsError("A network has 2 or 3 dimensions", received=dimensions)
    if modality not in get_args(Modality):
        raise unknown_name("modality", modality, get_args(Modality))
    orientation = _orientation(fingerprint, dimensions)
    shapes, spacings = _ordered(fingerprint, orientation)
    spacing_mm = _target_spacing(spacings, orientation)
    extent = np.median(shapes * spacings / spacing_mm, axis=0)
    if dimensions == 2:
        extent[0] = 1
    d, h, w = (max(1, round(float(size))) for size in extent)
    pooling = plan_pooling(spacing_mm, (d, h, w), max_depth or MAX_DEPTH[dimensions])
    patch_size = _patch_size((d, h, w), spacing_mm, pooling, dimensions, memory_bytes)
    batch_size = MIN_BATCH[dimensions] * PATCH_VOXELS[dimensions] // math.prod(patch_size)
    plan = Plan(
        dimensions=2 if dimensions == 2 else 3,
        orientation=orientation,
        spacing_mm=(0.0, *spacing_mm[1:]) if dimensions == 2 else spacing_mm,
        patch_size=patch_size,
        batch_size=min(MAX_BATCH[dimensions], max(MIN_BATCH[dimensions], batch_size)),
        modality=modality,
        normalisation=tuple(_normalisation(modality, channel) for channel in fingerprint.intensities),
    )
    factors = [list(level[3 - dimensions :]) for level in pooling]
    return Planned(plan, {"depth": len(pooling) + 1, "pooling": factors})


def plan_pooling(spacing_mm: Vector, patch_size: Shape, max_depth: int) -> tuple[Shape, ...]:
    """Pooling factors (d, h, w), 1 or 2, for each step down.

    An axis is pooled unless its spacing at that level is more than twice the finest (so that voxels become cubes on
    the way down) or fewer than ``SMALLEST_POOLED`` voxels would be left. Ends where no axis is pooled, but not before
    ``MIN_DEPTH`` levels.
    """
    spacing, size = np.array(spacing_mm, dtype=float), np.array(patch_size, dtype=float)
    levels: list[Shape] = []
    while len(levels) < max_depth - 1:
        large = size >= 2 * SMALLEST_POOLED
        finest = spacing[large].min(initial=math.inf)
        pooled = large & (spacing <= 2 * finest)
        if not pooled.any() and len(levels) >= MIN_DEPTH - 1:
            break
        factors = np.where(pooled, 2, 1)
        spacing, size = spacing * factors, size / factors
        levels.append((int(factors[0]), int(factors[1]), int(factors[2])))
    return tuple(levels)


def _values(volume: Volume, mask: NDArray[np.bool_]) -> FloatArray:
    """Intensities (C, n) of voxels in the mask (D, H, W), at most ``CASE_VOXELS``."""
    if mask.shape != volume.geometry.shape:
        raise ImageError(f"An annotation must have its image's shape {volume.geometry.shape}", received=mask.shape)
    chosen = sample_voxels(np.flatnonzero(mask), CASE_VOXELS)
    return volume.array.reshape(len(volume.array), -1)[:, chosen]


def _intensities(values: NDArray[np.float64], air_share: float) -> Intensities:
    low, high = np.percentile(values, [0.5, 99.5])
    return Intensities(float(values.mean()), float(values.std()), float(low), float(high), float(air_share))


def _orientation(fingerprint: Fingerprint, dimensions: int) -> Orientation:
    shapes, spacings = _ordered(fingerprint, "thickest_first")
    thickness = np.where(shapes[:, 0] > 1, spacings[:, 0], math.inf)
    ratio = float(np.median(thickness / spacings.min(axis=1)))
    return "thickest_first" if dimensions == 2 or ratio >= ANISOTROPY else "canonical"


def _ordered(fingerprint: Fingerprint, orientation: Orientation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shapes and spacings (cases, 3) with the axes in the plan's order."""
    shapes, spacings = [], []
    for shape, spacing in zip(fingerprint.shapes, fingerprint.spacings_mm, strict=True):
        first = thickest_axis(shape, spacing) if orientation == "thickest_first" else 0
        order = [first, *(axis for axis in range(3) if axis != first)]
        shapes.append([shape[axis] for axis in order])
        spacings.append([spacing[axis] for axis in order])
    return np.array(shapes, dtype=float), np.array(spacings, dtype=float)


def _target_spacing(spacings: NDArray[np.float64], orientation: Orientation) -> Vector:
    d, h, w = (_short(value) for value in np.median(spacings, axis=0))
    if orientation == "thickest_first":
        d = max(_short(np.percentile(spacings[:, 0], 10)), h, w)
    return d, h, w


def _short(value: float) -> float:
    """To six digits: readable, and as true of electron microscopy (10⁻⁶ mm) as of the whole body."""
    return float(f"{value:.6g}")


def _patch_size(
    shape: Shape, spacing_mm: Vector, pooling: Sequence[Shape], dimensions: int, memory_bytes: int | None
) -> Shape:
    limit = PATCH_VOXELS[dimensions]
    if memory_bytes is not None:
        limit = min(MAX_PATCH_VOXELS[dimensions], memory_bytes // (BYTES_PER_VOXEL * MIN_BATCH[dimensions]))
    multiples = [math.prod(level[axis] for level in pooling) for axis in range(3)]
    patch = [min(-(-n // m), MAX_PATCH_LENGTH // m) * m for n, m in zip(shape, multiples, strict=True)]
    while math.prod(patch) > limit:
        longer = [axis for axis in range(3) if patch[axis] > SMALLEST_POOLED * multiples[axis]]
        if not longer:
            needed = math.prod(patch) * BYTES_PER_VOXEL * MIN_BATCH[dimensions]
            raise MemoryLimitError(
                "Training needs memory for a small patch of the images",
                received=f"{(memory_bytes or 0) / 2**30:.2f} GB allowed, at least {needed / 2**30:.2f} GB needed",
                remedy="Allow more memory",
            )
        longest = max(longer, key=lambda axis: patch[axis] * spacing_mm[axis])
        patch[longest] -= multiples[longest]
    return patch[0], patch[1], patch[2]


def _normalisation(modality: Modality, channel: Intensities) -> Normalisation:
    """A CT whose structures all have one value shows no window of HU; its images' own percentiles then do."""
    if modality == "CT" and channel.percentile_00_5 < channel.percentile_99_5:
        return Normalisation("ct", channel.percentile_00_5, channel.percentile_99_5, channel.mean, channel.std)
    return Normalisation("zscore") if modality == "MR" else Normalisation("percentile", 0.5, 99.9)
