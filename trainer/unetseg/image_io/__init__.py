"""Images and label maps on disk. Everything is read and written through SimpleITK."""

from .grid import geometry_of, image_of
from .segmentations import read_label_map, read_labels
from .volumes import read_volume
from .write import WRITABLE, write_image, write_label_map

__all__ = [
    "WRITABLE",
    "geometry_of",
    "image_of",
    "read_label_map",
    "read_labels",
    "read_volume",
    "write_image",
    "write_label_map",
]
