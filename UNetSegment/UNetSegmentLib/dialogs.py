"""The few windows that wait for an answer. In Slicer's testing mode none opens and the default is the answer."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


def askChoice(text: str, choices: tuple[tuple[str, str], ...], default: str) -> str:
    """Let the user press one of the buttons ``choices``: (code, title); the code is returned.

    ``default`` is the code of the harmless answer: Return, Escape and closing the window mean it.
    """
    if slicer.app.testingEnabled():
        return default
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setWindowTitle(_("U-Net Segment"))
    box.setText(text)
    buttons = []
    for code, title in choices:
        button = box.addButton(title, qt.QMessageBox.RejectRole if code == default else qt.QMessageBox.AcceptRole)
        buttons.append((code, button))
        if code == default:
            box.setDefaultButton(button)
    box.exec_()
    clicked = box.clickedButton()
    box.deleteLater()
    return next(code for code, button in buttons if button == clicked)


def askText(text: str, initial: str) -> str | None:
    """One line of text, without the blanks around it; None: cancelled. In testing mode ``initial``."""
    if slicer.app.testingEnabled():
        return initial
    dialog = qt.QInputDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(_("U-Net Segment"))
    dialog.setLabelText(text)
    dialog.setTextValue(initial)
    return str(dialog.textValue()).strip() if _finished(dialog) else None


def askSaveFile(title: str, name: str, suffix: str) -> str | None:
    """A file to write, ``name`` being proposed; None: cancelled, and in testing mode. ``suffix`` has no dot."""
    return _askFile(title, suffix, name)


def askOpenFile(title: str, suffix: str) -> str | None:
    """A file that exists; None: cancelled, and in testing mode. ``suffix`` has no dot."""
    return _askFile(title, suffix, None)


def _askFile(title: str, suffix: str, nameToSave: str | None) -> str | None:
    if slicer.app.testingEnabled():
        return None
    dialog = qt.QFileDialog(slicer.util.mainWindow(), title)
    dialog.setNameFilter(f"*.{suffix}")
    dialog.setDefaultSuffix(suffix)
    if nameToSave is None:
        dialog.setFileMode(qt.QFileDialog.ExistingFile)
    else:
        dialog.setAcceptMode(qt.QFileDialog.AcceptSave)
        dialog.selectFile(nameToSave)
    return str(dialog.selectedFiles()[0]) if _finished(dialog) else None


def _finished(dialog: Any) -> bool:
    """Whether the user accepted. The main window, its owner, would keep every dialog until Slicer ends."""
    accepted = bool(dialog.exec_())
    dialog.deleteLater()
    return accepted
