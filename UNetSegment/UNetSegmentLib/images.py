"""Volumes on their way to the worker: written into the case's folder once, a few milliseconds at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from unetseg.array_file import save_array_in_steps
from unetseg.volume import Geometry

from .mrml_adapter import channelGeometry, volumeArray, volumeGeometry
from .project import Project


class ImageExport:
    """Remembers what each file holds, so that a volume that has not changed is written once a session."""

    def __init__(self) -> None:
        self._written: dict[Path, tuple[int, Geometry]] = {}

    def steps(self, project: Project, caseId: str, volumes: Sequence[Any]) -> Generator[None, None, tuple[str, ...]]:
        """Write the volume nodes of a case, one file a channel; returns the files.

        Raises:
            ImageError: a volume cannot be used, or a channel cannot be brought to the first one's frame.
            FileAccessError: a file cannot be written.
        """
        paths = project.imagePaths(caseId, len(volumes))
        for path, node in zip(paths, volumes, strict=True):
            array = volumeArray(node)
            geometry = volumeGeometry(node) if node == volumes[0] else channelGeometry(node, volumes[0])
            content = (node.GetImageData().GetMTime(), geometry)
            if self._written.get(path) == content and path.is_file():
                continue
            yield from save_array_in_steps(path, array, geometry)
            self._written[path] = content
        return tuple(str(path) for path in paths)
