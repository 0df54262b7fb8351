"""Pictures of the demo: the panel as Slicer shows it at the left, the four views at the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from layout import BAR_HEIGHT
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from UNetSegmentLib.slice_views import shownSlice, sliceTitles

PANEL_WIDTH, WIDTH, HEIGHT = 400, 1200, 800
SECTIONS = ("segment", "correct", "retrain", "compare", "settings")
CORNERS = {"Red": (0, 0), "Green": (0, 1), "Yellow": (1, 1)}
"""Column and row of the slice views in the four-up layout."""
MOST_COLORS = 256


def take_picture(path: Path, widget: Any, volume: Any, section: str) -> None:
    """Unfold one section of the panel, fold the others, scroll to it, and write what the user sees now as PNG.

    Each slice view of ``volume`` says which slice it shows. The file has 256 colours, which keeps it small.
    """
    picture = qt.QImage(WIDTH, HEIGHT, qt.QImage.Format_RGB888)
    painter = qt.QPainter(picture)
    painter.drawPixmap(0, 0, _panel(widget, section))
    painter.drawImage(PANEL_WIDTH, 0, slicer.app.layoutManager().grab(WIDTH - PANEL_WIDTH, HEIGHT))
    painter.setPen(qt.QColor("white"))
    for view, (column, row) in CORNERS.items():
        left, top = PANEL_WIDTH + column * (WIDTH - PANEL_WIDTH) // 2, row * HEIGHT // 2 + BAR_HEIGHT
        painter.drawText(left + 8, top + 18, sliceTitles(volume, [shownSlice(view, volume)])[0])
    painter.end()
    if not _with_few_colors(picture).save(str(path), "PNG", 0):  # 0: as small as it gets
        raise OSError(f"cannot write the picture {path}")


def _panel(widget: Any, section: str) -> Any:
    """The part of the panel, as high as the picture, that begins with a section or ends with the panel."""
    panel, buttons = widget.parent, slicer.util.childWidgetVariables(widget.panel.root)
    for name in SECTIONS:
        getattr(buttons, f"{name}Section").collapsed = name != section
    panel.show()
    slicer.app.processEvents()
    height = max(HEIGHT, panel.layout().totalHeightForWidth(PANEL_WIDTH))
    panel.resize(PANEL_WIDTH, height)
    for _level in range(5):  # a label that wraps tells the layouts around it its height one after the other
        slicer.app.processEvents()
    top = getattr(buttons, f"{section}Section").mapTo(panel, qt.QPoint(0, 0)).y()
    return panel.grab(qt.QRect(0, min(top, height - HEIGHT), PANEL_WIDTH, HEIGHT))


def _with_few_colors(picture: Any) -> Any:
    """The picture with the colours that are closest to those it has."""
    pixels = np.frombuffer(picture.constBits(), np.uint8).reshape(HEIGHT, -1)[:, : 3 * WIDTH]
    image = vtk.vtkImageData()
    image.SetDimensions(WIDTH, HEIGHT, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(pixels.reshape(-1, 3), deep=True))
    quantize = vtk.vtkImageQuantizeRGBToIndex()
    quantize.SetNumberOfColors(MOST_COLORS)
    quantize.SetInputData(image)
    quantize.Update()
    indices = vtk_to_numpy(quantize.GetOutput().GetPointData().GetScalars()).astype(np.uint8)
    table = quantize.GetLookupTable()
    colors = [table.GetTableValue(index)[:3] for index in range(table.GetNumberOfTableValues())]
    result = qt.QImage(indices.data, WIDTH, HEIGHT, WIDTH, qt.QImage.Format_Indexed8).copy()
    result.setColorTable([qt.QColor.fromRgbF(*color).rgb() for color in colors])
    return result
