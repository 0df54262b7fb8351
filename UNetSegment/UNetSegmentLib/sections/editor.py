"""Slicer's Segment Editor inside the panel, with an editor node of its own."""

from __future__ import annotations

from typing import Any

import slicer

_SINGLETON_TAG = "UNetSegmentEditor"
_EFFECTS = ("Paint", "Draw", "Erase", "Level tracing", "Scissors", "Threshold", "Islands", "Smoothing")


class Editor:
    """Keeps a ``qMRMLSegmentEditorWidget`` in the order of calls that it needs: editor node, scene,
    segmentation, volume; and lets go of the views whenever the module is not shown.
    """

    def __init__(self, widget: Any) -> None:
        self.widget = widget
        self._node = None
        widget.setEffectNameOrder(list(_EFFECTS))
        self._selectNode()

    def enter(self) -> None:
        """The module is opened: brushes and shortcuts work."""
        self._selectNode()
        self.widget.setupViewObservations()
        self.widget.installKeyboardShortcuts()
        self.widget.updateWidgetFromMRML()

    def exit(self) -> None:
        """Otherwise the brush would paint on in other modules."""
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def releaseScene(self) -> None:
        """The scene is about to be closed, or this editor: no node may be held."""
        self.widget.setSegmentationNode(None)
        self.widget.removeViewObservations()

    def show(self, segmentation: Any, volume: Any) -> None:
        """Edit ``segmentation`` on ``volume``; None: edit nothing."""
        if self.widget.segmentationNode() != segmentation:
            self.widget.setSegmentationNode(segmentation)
        if segmentation is not None and self.widget.sourceVolumeNode() != volume:
            self.widget.setSourceVolumeNode(volume)

    def _selectNode(self) -> None:
        node = slicer.mrmlScene.GetSingletonNode(_SINGLETON_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(_SINGLETON_TAG)
            node = slicer.mrmlScene.AddNode(node)
            node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
        if node != self._node:
            self._node = node
            self.widget.setMRMLSegmentEditorNode(node)
