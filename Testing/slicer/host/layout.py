"""The layout manager: Slicer's own slice and view logics, drawn on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from views import SliceView, ThreeDView

ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
COLORS = {"Red": "#f34a33", "3D": "#7878be", "Green": "#6eb04b", "Yellow": "#edd54c"}
"""The views of the four-up layout, row by row, with the colours of their bars."""
BAR_HEIGHT = 18


class SliceWidget:
    def __init__(self, logic: Any) -> None:
        self._logic = logic

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()


class LayoutManager:
    """Always the four-up layout."""

    def __init__(self, applicationLogic: Any, scene: Any) -> None:
        self._logics = {
            name: _sliceLogic(applicationLogic, scene, name, orientation) for name, orientation in ORIENTATIONS.items()
        }
        self._viewLogic = slicer.vtkMRMLViewLogic()
        self._viewLogic.SetMRMLApplicationLogic(applicationLogic)
        self._viewLogic.SetMRMLScene(scene)
        self._viewNode = self._viewLogic.AddViewNode("1")
        self._views: dict[str, Any] = {}

    def sliceViewNames(self) -> list[str]:
        return list(self._logics)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        return SliceWidget(self._logics[name]) if name in self._logics else None

    def mrmlSliceLogics(self) -> Any:
        return slicer.app.applicationLogic().GetSliceLogics()

    # For tests and demonstrations

    def viewImage(self, name: str, width: int = 400, height: int = 400) -> np.ndarray:
        """What ``Red``, ``Green``, ``Yellow`` or ``3D`` shows now: (height, width, 3) uint8, RGB."""
        if name not in self._views:
            self._views[name] = SliceView(self._logics[name]) if name in self._logics else ThreeDView(self._viewNode)
        return self._views[name].image(width, height)

    def grab(self, width: int = 800, height: int = 800) -> Any:
        """The four views with their coloured bars, as a QImage."""
        picture = qt.QImage(width, height, qt.QImage.Format_RGB32)
        picture.fill(qt.QColor("black"))
        painter = qt.QPainter(picture)
        size = width // 2 - 2, height // 2 - BAR_HEIGHT - 2
        for index, (name, color) in enumerate(COLORS.items()):
            x, y = index % 2 * (width // 2) + 1, index // 2 * (height // 2) + 1
            bar = qt.QRect(x, y, size[0], BAR_HEIGHT)
            painter.fillRect(bar, qt.QColor(color))
            painter.drawText(bar.adjusted(6, 0, 0, 0), qt.Qt.AlignVCenter, "3D" if name == "3D" else name[0])
            pixels = self.viewImage(name, *size)
            image = qt.QImage(pixels.data, *size, 3 * size[0], qt.QImage.Format_RGB888)
            painter.drawImage(x, y + BAR_HEIGHT, image)
        painter.end()
        return picture

    def screenshot(self, path: str | Path, width: int = 800, height: int = 800) -> None:
        """Write the four views to a PNG file."""
        if not self.grab(width, height).save(str(path)):
            raise OSError(f"cannot write the picture {path}")


def _sliceLogic(applicationLogic: Any, scene: Any, name: str, orientation: str) -> Any:
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(applicationLogic)
    logic.SetMRMLScene(scene)
    logic.AddSliceNode(name).SetOrientation(orientation)
    logic.ResizeSliceNode(400, 400)
    applicationLogic.GetSliceLogics().AddItem(logic)
    return logic
