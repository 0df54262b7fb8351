"""What several sections do with Qt's widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from ..state import JobStatus

Color = tuple[int, int, int]
"""Red, green, blue: 0 … 255 each."""


def fillChooser(chooser: Any, choices: Sequence[tuple[str, ...]], chosen: str) -> None:
    """Show ``choices`` (value, title and perhaps tooltip) in a QComboBox, the ``chosen`` one selected.

    The list is only rebuilt where it has changed, so that an open list stays open. A value that is not among the
    choices leaves the box empty.
    """
    shown = tuple((chooser.itemData(i), chooser.itemText(i)) for i in range(chooser.count))
    if shown != tuple(choice[:2] for choice in choices):
        chooser.clear()
        for value, title, *_tooltip in choices:
            chooser.addItem(title, value)
    for i, choice in enumerate(choices):
        chooser.setItemData(i, choice[-1], qt.Qt.ToolTipRole)
    index = chooser.findData(chosen)
    if chooser.currentIndex != index:
        chooser.setCurrentIndex(index)


def showText(label: Any, text: str) -> None:
    """A label without text takes no room."""
    label.setText(text)
    label.setVisible(bool(text))


def dots(colors: Sequence[Color], height: int) -> Any:
    """A QIcon: one round dot a colour, side by side, ``height`` pixels high."""
    pixmap = qt.QPixmap(max(height * len(colors), 1), height)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setPen(qt.QPen(qt.QColor(128, 128, 128)))
    for place, color in enumerate(colors):
        painter.setBrush(qt.QBrush(qt.QColor(*color)))
        painter.drawEllipse(place * height + 1, 1, height - 3, height - 3)
    painter.end()
    return qt.QIcon(pixmap)


def timeLeft(seconds: float | None) -> str:
    """For the end of a progress line; empty where nobody knows yet."""
    if seconds is None:
        return ""
    if seconds < 50:
        return _("less than a minute left")
    minutes = round(seconds / 60)
    if minutes < 100:
        return _("about {minutes} min left").format(minutes=minutes)
    return _("about {hours} h left").format(hours=round(seconds / 3600))


def whyBusy(job: JobStatus | None) -> str:
    """Why what would disturb the work on its way is not to be had; empty where there is none."""
    return "" if job is None else _("Wait until the work on its way has ended")
