"""Every choice of the user that is saved with the scene."""

from __future__ import annotations

import enum
from typing import Annotated

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class Budget(enum.Enum):
    """How long a retraining may take."""

    quick = "quick"
    thorough = "thorough"
    minutes = "minutes"


@parameterNodeWrapper
class Parameters:
    """The parameter node of the module.

    ``volume`` and the further channels are in the model's order. ``model`` is the id of a version, or ``new:``
    and the name of a network; ``structures`` are then the names of its labels, separated by commas.
    ``minutes`` counts for ``Budget.minutes`` only.
    """

    volume: vtkMRMLScalarVolumeNode
    channel2: vtkMRMLScalarVolumeNode
    channel3: vtkMRMLScalarVolumeNode
    channel4: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    region: vtkMRMLMarkupsROINode
    model: str = ""
    structures: str = ""
    device: str = "auto"
    show3D: bool = False
    showUncertainty: bool = False
    showDifference: bool = False
    budget: Budget = Budget.quick
    minutes: Annotated[float, WithinRange(0.5, 600)] = 10.0
