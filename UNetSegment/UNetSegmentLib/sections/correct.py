"""Section 2: correct slices with the Segment Editor, and say which are right."""

from __future__ import annotations

import functools
from typing import Any

import qt
from slicer.i18n import tr as _

from .editor import Editor
from .guard import Guard
from .slice_table import SliceTable
from .widgets import dots, showText

_VIEWS = {
    "Red": ((243, 74, 51), "Ctrl+Shift+R"),
    "Green": ((110, 176, 75), "Ctrl+Shift+G"),
    "Yellow": ((237, 213, 76), "Ctrl+Shift+Y"),
}
"""Slicer's colour of the view, and a shortcut that neither Slicer nor the Segment Editor uses."""


def _viewTitle(viewName: str) -> str:
    return {"Red": _("Red"), "Green": _("Green"), "Yellow": _("Yellow")}[viewName]


class CorrectSection:
    """Usable between ``enter`` and ``exit``: the Segment Editor and the shortcuts work only then."""

    def __init__(self, ui: Any, logic: Any, guard: Guard) -> None:
        self._ui, self._logic, self._guard = ui, logic, guard
        self.editor = Editor(ui.editor)
        self.table = SliceTable(ui.sliceTable, logic, guard)
        self.shortcuts: list[Any] = []
        for view in _VIEWS:
            self._prepareButton(view)
        ui.alignButton.connect("clicked()", guard(logic.alignViews))
        ui.nextButton.connect("clicked()", guard(logic.nextSlice))
        ui.skipButton.connect("clicked()", guard(logic.skipSuggestion))
        ui.confirmEditedButton.connect("clicked()", guard(self._confirmEdited))
        ui.removeButton.connect("clicked()", guard(self._remove))
        ui.sliceTable.connect("itemSelectionChanged()", guard(self._refreshTableButtons))

    def enter(self) -> None:
        """The module is opened."""
        self.editor.enter()
        self._removeShortcuts()
        self.shortcuts = [self._addShortcut(view) for view in _VIEWS]

    def exit(self) -> None:
        """Another module is opened, or this one ends: nothing may react to the views any more."""
        self.editor.exit()
        self._removeShortcuts()

    def releaseScene(self) -> None:
        """The scene is about to be closed."""
        self.editor.releaseScene()

    def saveUndoState(self) -> None:
        """Undo in the Segment Editor brings back what the chosen segmentation is now."""
        if self._showInEditor():
            self.editor.widget.saveStateForUndo()

    def refresh(self) -> None:
        """Show the logic's state of now."""
        ready = self._showInEditor()
        self._ui.emptyLabel.setVisible(not ready)
        self._ui.work.setVisible(ready)
        self._refreshConfirm()
        self._refreshSuggestion()
        self.table.refresh()
        self._refreshTableButtons()
        reason = self._logic.whyNotUncertainty()
        self._ui.uncertaintyCheckBox.setEnabled(not reason)
        showText(self._ui.uncertaintyReason, reason)

    def close(self) -> None:
        """Let go of the views and the keyboard."""
        self.exit()
        self.editor.releaseScene()

    def _showInEditor(self) -> bool:
        """Whether there is something to edit: a volume and a segmentation are chosen."""
        parameters = self._logic.parameters
        volume = parameters.volume if parameters is not None else None
        segmentation = parameters.segmentation if parameters is not None else None
        ready = volume is not None and segmentation is not None
        self.editor.show(segmentation if ready else None, volume if ready else None)
        return ready

    def _prepareButton(self, view: str) -> None:
        color, keys = _VIEWS[view]
        button = self._button(view)
        button.setIcon(dots([color], button.fontMetrics().height()))
        keyText = qt.QKeySequence(keys).toString(qt.QKeySequence.NativeText)
        button.setText(_("{view} ({keys})").format(view=_viewTitle(view), keys=keyText))
        button.connect("clicked()", self._confirming(view))

    def _addShortcut(self, view: str) -> Any:
        """Works while a view has the focus, and where this section is folded or the panel floats."""
        shortcut = qt.QShortcut(qt.QKeySequence(_VIEWS[view][1]), self._ui.work.window())
        shortcut.setContext(qt.Qt.ApplicationShortcut)
        shortcut.connect("activated()", self._confirming(view))
        return shortcut

    def _removeShortcuts(self) -> None:
        for shortcut in self.shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self.shortcuts = []

    def _confirming(self, view: str) -> Any:
        return self._guard(functools.partial(self._logic.confirmSlice, view))

    def _button(self, view: str) -> Any:
        return getattr(self._ui, f"confirm{view}Button")

    def _refreshConfirm(self) -> None:
        reasons = {view: self._logic.whyNotConfirm(view) for view in _VIEWS}
        for view, reason in reasons.items():
            button = self._button(view)
            button.setEnabled(not reason)
            tip = _("All of this slice is right as it is now, what is not painted too: learn from it")
            button.setToolTip(reason or tip)
        if len(set(reasons.values())) == 1:
            text = reasons["Red"]
        else:
            lines = (f"{_viewTitle(view)}: {reason}" for view, reason in reasons.items() if reason)
            text = "\n".join(lines)
        showText(self._ui.confirmReason, text)
        self._ui.alignButton.setVisible(self._logic.viewsTilted())

    def _refreshSuggestion(self) -> None:
        reason = self._logic.whyNotNextSlice()
        suggestion = self._logic.suggestion
        self._ui.nextButton.setEnabled(not reason)
        self._ui.skipButton.setEnabled(suggestion is not None)
        text = reason
        if suggestion is not None and not reason:
            (title,) = self._logic.sliceTitles([(suggestion.axis, suggestion.index)])
            text = _("Next: {slice}, {why}.").format(slice=title, why=self._logic.suggestionText)
        showText(self._ui.suggestionLabel, text)

    def _refreshTableButtons(self) -> None:
        edited, removable = len(self.table.editedRows()), len(self.table.removableRows())
        button = self._ui.confirmEditedButton
        button.setEnabled(edited > 0)
        button.setText(_("Confirm edited ({count})").format(count=edited) if edited else _("Confirm edited"))
        none = _("No slice has been edited since the last segmentation")
        button.setToolTip(_("These edited slices are right as they are now") if edited else none)
        self._ui.removeButton.setEnabled(removable > 0)
        nothing = _("Select confirmed slices in the table first")
        tip = _("The selected slices no longer count as confirmed; what is painted stays")
        self._ui.removeButton.setToolTip(tip if removable else nothing)

    def _confirmEdited(self) -> None:
        self._logic.confirmRows(self.table.editedRows())

    def _remove(self) -> None:
        for row in self.table.removableRows():
            self._logic.removeSlice(row.axis, row.index)
