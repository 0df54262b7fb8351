"""From a volume to network input and back: orient, resample, normalise; labels go the same way."""

from .annotation import prepare_annotation, prepare_mask
from .normalise import foreground_statistics, normalise, sample_voxels
from .orient import Reorientation, thickest_axis
from .pipeline import AxisMapping, Prepared, axis_mapping, preprocess, reorient_back

__all__ = [
    "AxisMapping",
    "Prepared",
    "Reorientation",
    "axis_mapping",
    "foreground_statistics",
    "normalise",
    "prepare_annotation",
    "prepare_mask",
    "preprocess",
    "reorient_back",
    "sample_voxels",
    "thickest_axis",
]
