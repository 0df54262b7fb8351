"""Cleaning a segmentation: largest component, holes, small islands, smooth surfaces.

Each function takes a label map without unlabelled voxels and returns a new one. No label is invented: a voxel only
ever gets background or a label that the map holds around it. Volumes and widths are in millimetres, whatever the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .errors import SettingsError
from .volume import UNLABELLED, LabelMap

Mask = NDArray[np.bool_]

MAX_KERNEL_VOXELS = 129
"""Of the Gaussian; ITK cuts wider ones off, with a warning."""


def keep_largest_component(label_map: LabelMap, *, labels: Sequence[int] | None = None) -> LabelMap:
    """Make all but the largest connected piece of each label background.

    Voxels that touch by a face, an edge or a corner are connected. Of pieces of the same size one is kept.

    Args:
        labels: values to work on; None: all that occur.

    Raises:
        SettingsError: a label outside 1–254.
    """
    array = label_map.array.copy()
    for value in _values(label_map, labels):
        components, sizes = _components(label_map.array == value)
        if len(sizes) > 2:
            array[(components != 0) & (components != 1 + np.argmax(sizes[1:]))] = 0
    return LabelMap(array, label_map.geometry)


def remove_small_islands(
    label_map: LabelMap, *, min_volume_mm3: float, labels: Sequence[int] | None = None
) -> LabelMap:
    """Make the connected pieces of each label that are smaller than ``min_volume_mm3`` background.

    Connection and ``labels`` as in ``keep_largest_component``; a label whose pieces are all small vanishes.

    Raises:
        SettingsError: a label outside 1–254, or a negative volume.
    """
    if not min_volume_mm3 >= 0:
        raise SettingsError("The smallest volume of an island must be 0 mm³ or more", received=min_volume_mm3)
    array = label_map.array.copy()
    for value in _values(label_map, labels):
        components, sizes = _components(label_map.array == value)
        small = sizes * label_map.geometry.voxel_volume_mm3 < min_volume_mm3
        small[0] = False
        array[small[components]] = 0
    return LabelMap(array, label_map.geometry)


def fill_holes(label_map: LabelMap, *, labels: Sequence[int] | None = None) -> LabelMap:
    """Give background that one label encloses that label.

    Enclosed is what no path over voxel faces connects to the image border without crossing the label. Other labels in
    there stay as they are. A hole enclosed by several labels, one within the other, belongs to the innermost.

    Args:
        labels: values whose holes are filled; None: all that occur.

    Raises:
        SettingsError: a label outside 1–254.
    """
    holes = []
    for value in _values(label_map, labels):
        filled = _filled(label_map.array == value)
        holes.append((np.count_nonzero(filled), value, np.flatnonzero(filled & (label_map.array == 0))))
    array = label_map.array.copy()
    for _, value, indices in sorted(holes, key=lambda hole: -hole[0]):
        array.flat[indices] = value
    return LabelMap(array, label_map.geometry)


def smooth(label_map: LabelMap, *, sigma_mm: float) -> LabelMap:
    """Smooth the surfaces of all labels together: each voxel gets the label that prevails in its neighbourhood.

    Background and labels vote with Gaussian weights of standard deviation ``sigma_mm``; on a draw the lower value
    wins. Structures thinner than about ``sigma_mm`` get thinner or vanish.

    Raises:
        SettingsError: ``sigma_mm`` is negative.
    """
    if not sigma_mm >= 0:
        raise SettingsError("The width of the smoothing must be 0 mm or more", received=sigma_mm)
    best_votes = np.zeros(label_map.array.shape, dtype=np.float32)
    array = np.zeros_like(label_map.array)
    for value in np.unique(label_map.array):
        image = sitk.GetImageFromArray((label_map.array == value).astype(np.float32))
        image.SetSpacing([float(x) for x in reversed(label_map.geometry.spacing_mm)])
        blurred = sitk.DiscreteGaussian(image, variance=[sigma_mm**2] * 3, maximumKernelWidth=MAX_KERNEL_VOXELS)
        votes = sitk.GetArrayFromImage(blurred)
        wins = votes > best_votes
        array[wins] = value
        best_votes[wins] = votes[wins]
    return LabelMap(array, label_map.geometry)


def _values(label_map: LabelMap, labels: Sequence[int] | None) -> list[int]:
    values = np.unique(label_map.array) if labels is None else labels
    for value in labels or ():
        if not 0 < value < UNLABELLED:
            raise SettingsError(f"A label to postprocess must be 1–{UNLABELLED - 1}", received=value)
    return [int(value) for value in values if value != 0]


def _components(mask: Mask) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Numbers of the connected pieces (0: outside), and the voxels of each number."""
    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(_image(mask), True))
    return components, np.bincount(components.ravel())


def _filled(mask: Mask) -> Mask:
    # In 3D a single slice would be all border, and no hole enclosed.
    plane = mask[0] if mask.shape[0] == 1 else mask
    filled: Mask = sitk.GetArrayFromImage(sitk.BinaryFillhole(_image(plane))).astype(bool)
    return filled.reshape(mask.shape)


def _image(mask: Mask) -> sitk.Image:
    return sitk.GetImageFromArray(mask.astype(np.uint8))
