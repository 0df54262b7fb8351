"""What a user corrected on a slice, carried into the slices around it.

On a confirmed slice the network's error is known exactly: e = t - p, the one-hot labels minus the probabilities. Next
to it the error is nearly the same, and the farther away, the less of its detail holds. So e is continued into the
volume as the solution of the screened Laplace equation

    (∂²/∂x² + ∂²/∂y² + s⁻² ∂²/∂z² - κ²) e = 0,   e given on the confirmed slices, 0 far away from them,

z across the slices, and added to the probabilities. In the plane's Fourier domain the solution is known: a detail of
angular frequency k fades as exp(-q·d) at the distance d from a single slice, q = s·√(k² + κ²), and between two slices a
distance L apart it is (e₁·sinh(q·(L - d)) + e₂·sinh(q·d)) / sinh(q·L), e₁ and e₂ being those of the slices. The result
equals the labels on the confirmed slices and joins them without a step. Wavelengths are in mm, so that little is
carried between slices that lie far apart compared with the structures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..volume import UNLABELLED, LabelArray

FADING = 0.6
"""s: below 1, because errors of a network are more alike across slices than within them."""
RANGE_SLICES = 20.0
"""An error without detail fades by a factor e over this many slices from the last confirmed one."""
LEAST_CHANGE = 1 / 256
"""Errors and changes of a probability below this are left out."""
MARGIN_VOXELS = 16
"""In the plane: how far around its errors a slice may change others."""


def carry_corrections(probabilities: Tensor, annotation: LabelArray, spacing_mm: Sequence[float]) -> None:
    """Continue the corrections of every fully labelled slice into the volume, in place.

    Slices across several axes are carried one axis after the other, the axis with the most slices first. Voxels
    labelled outside of whole slices change nothing.

    Args:
        probabilities: floating point (K, d, h, w). Afterwards a class is certain where a slice says so; elsewhere
            values may leave [0, 1], their sum stays 1.
        annotation: uint8 (d, h, w), 0 … K - 1, or 255 where nobody labelled.
        spacing_mm: of the grid along d, h, w.
    """
    labelled = annotation != UNLABELLED
    planes = [np.flatnonzero(labelled.all(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    for axis in sorted(range(3), key=lambda axis: -len(planes[axis])):
        within_mm = [mm for other, mm in enumerate(spacing_mm) if other != axis]
        if len(planes[axis]):
            truth = np.moveaxis(annotation, axis, 0)[planes[axis]]
            _carry_along(probabilities.movedim(axis + 1, 1), planes[axis].tolist(), truth, spacing_mm[axis], within_mm)


def _carry_along(
    probabilities: Tensor, planes: Sequence[int], truth: LabelArray, across_mm: float, within_mm: Sequence[float]
) -> None:
    """Of slices ``planes`` along axis 1 of (K, n, a, b), with labels ``truth`` (planes, a, b)."""
    labels = torch.from_numpy(truth.astype(np.int64)).to(probabilities.device)
    certain = torch.nn.functional.one_hot(labels, len(probabilities)).movedim(-1, 0).float()
    errors = certain - probabilities[:, planes].float()
    probabilities[:, planes] = certain.to(probabilities.dtype)
    wrong = (errors.abs() > LEAST_CHANGE).flatten(0, 1).any(0)
    if not bool(wrong.any()):
        return
    rows, columns = _span(wrong.any(1)), _span(wrong.any(0))
    # Fourier transforms continue a plane periodically: the zeros between its repetitions keep them apart.
    size = [part.stop - part.start + MARGIN_VOXELS for part in (rows, columns)]
    along_rows = 2 * math.pi * torch.fft.fftfreq(size[0], d=within_mm[0], device=errors.device)
    along_columns = 2 * math.pi * torch.fft.rfftfreq(size[1], d=within_mm[1], device=errors.device)
    flat = 1 / (FADING * RANGE_SLICES * across_mm)
    fading = FADING * across_mm * torch.sqrt(along_rows[:, None] ** 2 + along_columns**2 + flat**2)
    spectrum = torch.fft.rfft2(errors[:, :, rows, columns], s=size)
    for index in sorted(set(range(probabilities.shape[1])) - set(planes)):
        there = probabilities[:, index, rows, columns]
        change = torch.fft.irfft2(_between(spectrum, planes, index, fading), s=size)
        change = change[:, : there.shape[1], : there.shape[2]]
        if float(change.abs().max()) > LEAST_CHANGE:
            there += change.to(there.dtype)


def _between(spectrum: Tensor, planes: Sequence[int], index: int, fading: Tensor) -> Tensor:
    """The spectrum (K, …) of the error on slice ``index``; ``fading`` is q times the distance of two slices."""
    upper = int(np.searchsorted(planes, index))
    if upper == 0 or upper == len(planes):
        nearest = min(upper, len(planes) - 1)
        return spectrum[:, nearest] * torch.exp(-fading * abs(index - planes[nearest]))
    below, above = planes[upper - 1], planes[upper]
    from_below = spectrum[:, upper - 1] * _sinh_ratio(fading, above - index, above - below)
    return from_below + spectrum[:, upper] * _sinh_ratio(fading, index - below, above - below)


def _sinh_ratio(fading: Tensor, part: int, whole: int) -> Tensor:
    """sinh(q·part) / sinh(q·whole) for part <= whole, written so that nothing overflows."""
    return torch.exp(-fading * (whole - part)) * torch.expm1(-2 * fading * part) / torch.expm1(-2 * fading * whole)


def _span(found: Tensor) -> slice:
    """From the first to the last True, wider by the margin as far as there is room."""
    where = found.nonzero()
    return slice(max(0, int(where[0]) - MARGIN_VOXELS), min(len(found), int(where[-1]) + 1 + MARGIN_VOXELS))
