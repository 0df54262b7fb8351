"""Loads and saves nodes and scenes through Slicer's own storage nodes, for ``slicer.util.load…`` and ``save…``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

LABELMAP, SINGLE_FILE = 1, 4


class CoreIOManager:
    """The part of ``slicer.app.coreIOManager()`` that ``slicer.util`` calls; it loads volumes and segmentations."""

    def fileType(self, path: str) -> str:
        """By the ending only."""
        if path.endswith((".mrml", ".mrb")):
            return "SceneFile"
        return "SegmentationFile" if ".seg." in path else "VolumeFile"

    def loadNodes(self, fileType: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if fileType == "SceneFile":
            return _loadScene(path, bool(properties.get("clear", False)))
        name = properties.get("name") or Path(path).name.split(".")[0]
        if fileType == "VolumeFile":
            options = LABELMAP * bool(properties.get("labelmap")) + SINGLE_FILE * bool(properties.get("singleFile"))
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        else:
            node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def saveNodes(self, fileType: str, properties: dict[str, Any], messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if fileType == "SceneFile":
            scene = slicer.mrmlScene
            return bool(scene.WriteToMRB(path) if path.endswith(".mrb") else scene.Commit(path))
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(bool(properties.get("useCompression", True)))
        return bool(storage.WriteData(node))

    def exportNodes(
        self,
        nodeIDs: list[str],
        paths: list[str],
        properties: dict[str, Any],
        hardenTransform: bool = False,
        messages: Any = None,
    ) -> bool:
        nodes = [slicer.mrmlScene.GetNodeByID(nodeID) for nodeID in nodeIDs]
        return all(_export(node, path) for node, path in zip(nodes, paths, strict=True))

    def fileWriterFileType(self, node: Any) -> str:
        """``saveNodes`` needs no more: every node knows its own storage node."""
        return "NodeFile"

    def fileWriterExtensions(self, node: Any) -> list[str]:
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(slicer.mrmlScene)
        types = storage.GetSupportedWriteFileTypes()
        return [types.GetValue(index) for index in range(types.GetNumberOfValues())]

    def extractKnownExtension(self, path: str, node: Any) -> str:
        extensionOf = slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString
        known = [extensionOf(entry) for entry in self.fileWriterExtensions(node)]
        return max((extension for extension in known if path.lower().endswith(extension)), key=len, default="")


def _loadScene(path: str, clear: bool) -> bool:
    scene = slicer.mrmlScene
    if path.endswith(".mrb"):
        return scene.ReadFromMRB(path, clear)
    scene.SetURL(path)
    return bool(scene.Connect() if clear else scene.Import())


def _export(node: Any, path: str) -> bool:
    storage = node.CreateDefaultStorageNode()
    storage.SetFileName(str(path))
    return bool(storage.WriteData(node))
