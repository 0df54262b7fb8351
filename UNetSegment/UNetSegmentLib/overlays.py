"""What the program lays over the volume in the slice views: where a network was unsure, and what would change.

The two use different layers of the views, and give each back as it was. Their nodes are hidden and not saved;
the attribute ``UNetSegment.overlay`` marks them for choosers of volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from unetseg.errors import ImageError
from unetseg.volume import LabelArray

from .mrml_adapter import volumeShape

KIND = "UNetSegment.overlay"
UNCERTAINTY, DIFFERENCE = "uncertainty", "difference"

ADDED, REMOVED, CHANGED = 1, 2, 3
"""Values in the difference: became a structure, became background, became another structure."""

_CLEAR_BELOW = 25
"""Voxels that are less uncertain, of 255, stay clear: else the whole image would be dimmed."""
_HEAT_COLORS = "vtkMRMLColorTableNodeIron"
_OPACITY = 0.5
_LAYERS = {UNCERTAINTY: "Foreground", DIFFERENCE: "Label"}
_LAYER_BEFORE = "UNetSegment.layer."
"""Prefix, before a view's name, of the reference to what its layer has shown; as an attribute, its opacity."""


class Overlay:
    """Something to lay over one volume: drawn while that volume is chosen and the user wants it, and only once.

    Attributes:
        content: what ``show`` takes, the volume node first; None while there is nothing.
    """

    def __init__(self, kind: str, show: Callable[..., Any]) -> None:
        self.content: tuple[Any, ...] | None = None
        self._kind, self._show = kind, show
        self._shown: tuple[Any, ...] | None = None

    def isOf(self, volumeNode: Any) -> bool:
        """Whether there is something to lay over this volume."""
        return self.content is not None and self.content[0] == volumeNode

    def refresh(self, volumeNode: Any, wanted: bool) -> None:
        """``volumeNode`` is the chosen one, or None. Raises what ``show`` raises."""
        content = self.content if wanted and self.isOf(volumeNode) else None
        if content is self._shown:
            return
        self._shown = content
        if content is None:
            removeOverlay(self._kind)
        else:
            self._show(*content)


def showUncertainty(volumeNode: Any, array: LabelArray | None) -> Any:
    """Lay uncertainty over the volume, half transparent; returns its node, None where ``array`` is None.

    Args:
        volumeNode: what the array belongs to.
        array: uint8 (D, H, W), 0 for sure to 255 for unsure; None removes the overlay.

    Raises:
        ImageError: the array is not of the volume's size.
    """
    removeOverlay(UNCERTAINTY)
    if array is None:
        return None
    node = _addNode("vtkMRMLScalarVolumeNode", UNCERTAINTY, _("Uncertainty"), volumeNode, array)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_HEAT_COLORS)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 255)
    display.AutoThresholdOff()
    display.SetThreshold(_CLEAR_BELOW, 255)
    display.ApplyThresholdOn()
    _show(node, UNCERTAINTY)
    return node


def showDifference(volumeNode: Any, before: LabelArray, after: LabelArray) -> Any:
    """Lay over the volume which voxels two label arrays (D, H, W) tell apart, in clear colours; returns its node.

    Raises:
        ImageError: the arrays are not of the volume's size.
    """
    removeOverlay(DIFFERENCE)
    changes = np.zeros(before.shape, dtype=np.uint8)
    for into, old, new in zip(changes, before, after, strict=True):
        into[old != new] = CHANGED
        into[(old == 0) & (new != 0)] = ADDED
        into[(old != 0) & (new == 0)] = REMOVED
    node = _addNode("vtkMRMLLabelMapVolumeNode", DIFFERENCE, _("Difference"), volumeNode, changes)
    node.GetDisplayNode().SetAndObserveColorNodeID(_addDifferenceColors().GetID())
    _show(node, DIFFERENCE)
    return node


def removeOverlay(kind: str) -> None:
    """Remove an overlay, ``uncertainty`` or ``difference``, if it is shown, and give its layer of the views back."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(KIND) == kind:
            _restoreLayers(node, kind)
            _removeNode(node)


def _addNode(className: str, kind: str, name: str, volumeNode: Any, array: LabelArray) -> Any:
    if array.shape != volumeShape(volumeNode):
        raise ImageError(
            _("An overlay must have the size of the volume"),
            received=f"{array.shape}, {volumeShape(volumeNode)}",
            remedy=_("Segment the volume again"),
        )
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.SetAttribute(KIND, kind)
    node.HideFromEditorsOn()
    node.SaveWithSceneOff()
    slicer.mrmlScene.AddNode(node)
    node.CopyOrientation(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    slicer.util.updateVolumeFromArray(node, array)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SaveWithSceneOff()
    return node


def _addDifferenceColors() -> Any:
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", _("Difference"))
    colors.SetTypeToUser()
    colors.HideFromEditorsOn()
    colors.SaveWithSceneOff()
    colors.SetAttribute(KIND, DIFFERENCE)
    colors.SetNumberOfColors(CHANGED + 1)
    colors.SetColor(0, _("Same"), 0, 0, 0, 0)
    colors.SetColor(ADDED, _("Added"), 0.1, 0.9, 0.2, 1)
    colors.SetColor(REMOVED, _("Removed"), 0.95, 0.15, 0.15, 1)
    colors.SetColor(CHANGED, _("Other structure"), 1, 0.85, 0, 1)
    return colors


def _show(node: Any, kind: str) -> None:
    """Put a node into its layer of every view, and remember what was there."""
    layer = _LAYERS[kind]
    for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        role = _LAYER_BEFORE + view.GetLayoutName()
        node.SetNodeReferenceID(role, getattr(view, f"Get{layer}VolumeID")())
        node.SetAttribute(role, str(getattr(view, f"Get{layer}Opacity")()))
        getattr(view, f"Set{layer}VolumeID")(node.GetID())
        getattr(view, f"Set{layer}Opacity")(_OPACITY)


def _restoreLayers(node: Any, kind: str) -> None:
    """Where the user has put something else into the layer meanwhile, that stays."""
    layer = _LAYERS[kind]
    for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        role = _LAYER_BEFORE + view.GetLayoutName()
        if getattr(view, f"Get{layer}VolumeID")() == node.GetID():
            getattr(view, f"Set{layer}VolumeID")(node.GetNodeReferenceID(role))
            getattr(view, f"Set{layer}Opacity")(float(node.GetAttribute(role) or _OPACITY))


def _removeNode(node: Any) -> None:
    display = node.GetDisplayNode()
    colors = display.GetColorNode()
    slicer.mrmlScene.RemoveNode(node)
    slicer.mrmlScene.RemoveNode(display)
    if colors is not None and colors.GetAttribute(KIND):
        slicer.mrmlScene.RemoveNode(colors)
