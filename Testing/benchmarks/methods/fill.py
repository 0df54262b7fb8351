"""Fill between slices, as Slicer's segment editor does it: morphological contour interpolation, without any network.

Slicer's own filter with the settings of its effect (``SegmentEditorFillBetweenSlicesEffect.py``: the defaults of
``vtkITKMorphologicalContourInterpolator``, all structures at once), from the package slicer-core. Every structure is
interpolated for itself along every axis across which it lies in single slices; beyond its outermost slices and where
it is seen on one slice only nothing is added (Albu 2008, doi 10.1109/TBME.2008.921158; Zukić 2016, Insight Journal
977). Spacing plays no part.
"""

from __future__ import annotations

import os

from unetseg.volume import LabelArray

from .background import unlabelled_as_background
from .paste import pasted
from .task import Task

# ITK's pool of threads now and then crashes the interpreter while that ends; threads that live as long as their work
# do not. Read when a filter first runs.
os.environ.setdefault("ITK_GLOBAL_DEFAULT_THREADER", "Platform")


def run(task: Task) -> LabelArray:
    """Only the labelled slices count, as in Slicer: a start model's prediction is not looked at."""
    drawn = unlabelled_as_background(task.annotation)
    return pasted(fill_between_slices(drawn.array), task.annotation)


def fill_between_slices(drawn: LabelArray) -> LabelArray:
    """Interpolate structures that are drawn on some slices, 0 elsewhere; uint8 (D, H, W) in and out."""
    from slicer_core.vtkITK import vtkITKMorphologicalContourInterpolator  # seconds, and only needed here
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*drawn.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(drawn.reshape(-1), deep=True))
    interpolator = vtkITKMorphologicalContourInterpolator()
    interpolator.SetInputData(image)
    interpolator.Update()
    return vtk_to_numpy(interpolator.GetOutput().GetPointData().GetScalars()).reshape(drawn.shape).copy()
