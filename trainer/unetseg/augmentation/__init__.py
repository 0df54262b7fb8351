"""Random changes to training samples: spatial (image, labels and weights together) and intensity (image only)."""

from .intensity import augment_intensity
from .spatial import Coordinates, draw_coordinates, sample_linear, sample_nearest

__all__ = ["Coordinates", "augment_intensity", "draw_coordinates", "sample_linear", "sample_nearest"]
