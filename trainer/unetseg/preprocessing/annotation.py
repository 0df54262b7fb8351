"""Labels on the network's grid: each comes from a source voxel, and none that was given is lost to sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..volume import UNLABELLED, LabelArray, LabelMap
from .orient import Reorientation
from .pipeline import Prepared
from .resample import positions


def prepare_annotation(annotation: LabelMap, prepared: Prepared) -> LabelArray:
    """The annotation of a preprocessed volume on the network's grid.

    Args:
        annotation: on the volume's own grid.

    Returns:
        uint8 (d, h, w). Every voxel has the label of the nearest source voxel; where that is unlabelled, of the
        labelled source voxel nearest to its centre among those that lie in it. So a labelled plane one voxel
        thick stays a closed plane on coarser and finer grids, and what nobody labelled stays unlabelled.

    Raises:
        ImageError: the annotation lies on another grid than the volume.
    """
    if not annotation.geometry.matches(prepared.source):
        raise ImageError(
            "An annotation must lie on the grid of its image",
            received=f"shape {annotation.geometry.shape} for an image of shape {prepared.source.shape}, "
            "or another position",
        )
    return _to_network_grid(annotation.array, prepared)


def prepare_mask(mask: NDArray[np.bool_], prepared: Prepared) -> NDArray[np.bool_]:
    """A mask (D, H, W), for example of the voxels that the user changed, carried like a label.

    Raises ``ImageError`` where its shape is not the volume's.
    """
    if mask.shape != prepared.source.shape:
        raise ImageError(f"A mask must have its image's shape {prepared.source.shape}", received=mask.shape)
    marked: NDArray[np.bool_] = _to_network_grid(np.where(mask, 1, UNLABELLED).astype(np.uint8), prepared) == 1
    return marked


def _to_network_grid(array: LabelArray, prepared: Prepared) -> LabelArray:
    grid = prepared.geometry
    reorientation = Reorientation.between(prepared.source, grid)
    spacing_mm = [prepared.source.spacing_mm[axis] for axis in reorientation.axes]
    result: LabelArray = reorientation.apply(array)
    # A finer axis repeats voxels and loses none; doing these first leaves whole planes to carry along the others.
    for axis in range(3):
        if grid.spacing_mm[axis] < spacing_mm[axis]:
            centres = positions(grid.shape[axis], grid.spacing_mm[axis], spacing_mm[axis])
            result = result.take(_nearest(centres, result.shape[axis]), axis=axis)
    coarser = [axis for axis in range(3) if grid.spacing_mm[axis] > spacing_mm[axis]]
    if not coarser:
        return np.ascontiguousarray(result)
    return _coarsen(result, grid.shape, grid.spacing_mm, spacing_mm, coarser)


def _coarsen(
    array: LabelArray,
    shape: tuple[int, int, int],
    spacing_mm: Sequence[float],
    source_spacing_mm: Sequence[float],
    coarser: Sequence[int],
) -> LabelArray:
    """Nearest sampling along the coarser axes; labelled voxels in cells left unlabelled are carried there."""
    sampled = [np.arange(size) for size in shape]
    cells = [np.arange(size) for size in array.shape]
    offsets_mm = [np.zeros(size) for size in array.shape]
    for axis in coarser:
        own, new, size = source_spacing_mm[axis], spacing_mm[axis], array.shape[axis]
        sampled[axis] = _nearest(positions(shape[axis], new, own), size)
        where = positions(size, own, new)
        cells[axis] = _nearest(where, shape[axis])
        offsets_mm[axis] = (where - cells[axis]) * new
    result = np.ascontiguousarray(array[np.ix_(*sampled)])
    lost = np.nonzero((array != UNLABELLED) & (result[np.ix_(*cells)] == UNLABELLED))
    # Rounded, so that equal distances stay equal and the lowest index wins.
    distance = np.round(sum(offset[index] ** 2 for offset, index in zip(offsets_mm, lost, strict=True)), 6)
    order = np.argsort(distance, kind="stable")
    target = np.ravel_multi_index([cell[index] for cell, index in zip(cells, lost, strict=True)], shape)[order]
    target, first = np.unique(target, return_index=True)
    result.reshape(-1)[target] = array[lost][order][first]
    return result


def _nearest(where: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """Nearest of the indices 0 … size - 1; from half-way, and a rounding error beyond, the lower one."""
    return np.clip(np.ceil(where - 0.5 - 1e-6), 0, size - 1).astype(np.intp)
