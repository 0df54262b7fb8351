"""Segmentations that the adapter is tried on."""

from __future__ import annotations

import numpy as np
import slicer
from nodes import OBLIQUE, addVolume, affine

from unetseg.config import Label

SHAPE = (6, 8, 10)
LIVER_TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~"
    "SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)
LABELS = (
    Label(0, "Background", (0, 0, 0)),
    Label(1, "Liver", (255, 51, 0), LIVER_TERMINOLOGY),
    Label(3, "Tumour", (0, 102, 255)),
)


def random(values=(0, 1, 3), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), SHAPE)


def volume(directions=OBLIQUE):
    return addVolume(np.zeros(SHAPE, np.int16), affine(directions))


def addForeign(segmentation, volumeNode, array, name="Spleen", identifier="Segment_9"):
    segmentation.GetSegmentation().AddEmptySegment(identifier, name, [0.0, 1.0, 0.0])
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, identifier, volumeNode)
