"""The small icons of the panel, readable on a light and on a dark window."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

ICONS_FOLDER = Path(__file__).resolve().parents[1] / "Resources" / "Icons"

ICON_NAMES = ("confirmed", "accepted", "edited", "suggested", "changed", "warning", "error", "info")


def icon(name: str) -> qt.QIcon:
    """One of ``ICON_NAMES``, drawn for the colours that the application's windows have now."""
    window = slicer.app.palette().color(qt.QPalette.Window)
    theme = "dark" if window.lightness() < 128 else "light"
    return qt.QIcon(str(ICONS_FOLDER / theme / f"{name}.svg"))
