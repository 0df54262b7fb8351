"""Sparse annotations as files: a label map, or the confirmed slices of ``labelled_slices``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingDataError
from ..image_io import read_label_map
from ..labelled_slices import compose, load_slices
from ..volume import Geometry, LabelMap


def read_annotation(path: Path, geometry: Geometry) -> tuple[LabelMap, NDArray[np.bool_] | None]:
    """The annotation, 255 where nobody labelled, and where the user is known to have changed the label.

    Args:
        path: confirmed slices where it ends in ``.json``, else a label map, of which the changes are not known.
        geometry: of the image.

    Raises:
        TrainingDataError: it lies on another grid than the image.
        ImageError: it cannot be read.
    """
    if path.suffix.lower() != ".json":
        label_map = read_label_map(path)
        if not label_map.geometry.matches(geometry):
            raise TrainingDataError(
                "An annotation must lie on the grid of its image",
                received=f"{path.name} with {label_map.geometry}, an image with {geometry}",
                remedy="Resample the label map to the image (nearest neighbour), or correct the header",
            )
        return label_map, None
    shape, slices = load_slices(path)
    if shape != geometry.shape:
        raise TrainingDataError(
            "Confirmed slices must belong to their image",
            received=f"slices of a volume {shape} in {path.name}, an image {geometry.shape}",
            remedy="Confirm the slices again on this image, or leave it out",
        )
    annotation, edited = compose(slices, shape)
    return LabelMap(annotation, geometry), edited
