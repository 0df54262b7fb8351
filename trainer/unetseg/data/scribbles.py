"""What scribbles say about the voxels beyond them, for who says that they do. Imports no torch."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..volume import UNLABELLED, LabelArray
from .annotations import PLANE_SHARE, labelled_planes, labelled_structures, plane_axis


def with_background_beyond_lines(annotation: LabelArray) -> LabelArray:
    """Scribbles with background also where closed lines of background keep every structure away.

    Who scribbles marks the background by a line around the structures, close to them. What lies beyond it is most of
    the image, and a network that never learned of it fills it with structures. Beyond is what no path in the slice
    connects to a voxel labelled as a structure, from face to face and not through labelled background. A line with a
    gap and a slice without a structure say nothing. Where a line surrounds only some of a slice's structures, those
    beyond it become background: so this is the user's choice.

    Only as large a share of these voxels is labelled as of the others in the slice, at random, the same each time. So
    the labels' class frequencies come near the true ones; with all of them, the background would outweigh the thin
    scribbles of the structures as it never does the structures themselves.

    Args:
        annotation: uint8 (d, h, w), 255 where unlabelled. Its slices are taken in that direction of the three in which
            more lies beyond lines.

    Returns:
        Of the same shape; the annotation itself where it is dense or has labelled slices.
    """
    if plane_axis(annotation) is None or labelled_planes(annotation, least_share=PLANE_SHARE):
        return annotation
    axis, beyond = max(((axis, _beyond_lines(annotation, axis)) for axis in range(3)), key=lambda found: found[1].sum())
    across = tuple({0, 1, 2} - {axis})
    labelled = np.sum(annotation != UNLABELLED, axis=across, keepdims=True)
    density = labelled / np.maximum(np.sum(~beyond, axis=across, keepdims=True), 1)
    chosen = np.random.default_rng(0).random(annotation.shape) < density
    return np.where(beyond & chosen, np.uint8(0), annotation)


def _beyond_lines(annotation: LabelArray, axis: int) -> NDArray[np.bool_]:
    """(d, h, w), in slices across the axis."""
    return np.stack([_beyond_lines_of(labels) for labels in np.moveaxis(annotation, axis, 0)], axis)


def _beyond_lines_of(labels: LabelArray) -> NDArray[np.bool_]:
    passable = labels != 0
    structures = labelled_structures(labels)
    if not structures.any():
        return np.zeros_like(passable)
    regions = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(passable.astype(np.uint8))))
    beyond: NDArray[np.bool_] = passable & ~np.isin(regions, regions[structures])
    return beyond
