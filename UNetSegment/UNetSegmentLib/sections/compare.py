"""Section 4: the offered version beside the one in use, and every version there is."""

from __future__ import annotations

import re
from typing import Any

import qt
from slicer.i18n import tr as _

from .. import dialogs
from ..state import Comparison, ComparisonRow, VersionRow
from ..wording import decimal, sliceCount, volumeCount
from .guard import Guard
from .widgets import dots, showText, whyBusy

MODEL_SUFFIX = "safetensors"
_BETTER = "#2f9e44"
_WORSE = "#e03131"
"""Both readable on a light and on a dark background."""
_DOT_PIXELS = 12


class CompareSection:
    """The comparison is there only while a version is offered; the table of versions always."""

    def __init__(self, ui: Any, logic: Any, guard: Guard) -> None:
        self._ui, self._logic = ui, logic
        self._comparison: Comparison | None = None
        self._versions: tuple[VersionRow, ...] = ()
        self._decisions = tuple((b, b.toolTip) for b in (ui.keepButton, ui.tryAgainButton, ui.backButton))
        for button, action in (
            (ui.keepButton, logic.keep),
            (ui.tryAgainButton, logic.tryAgain),
            (ui.backButton, logic.back),
            (ui.useVersionButton, self._use),
            (ui.renameVersionButton, self._rename),
            (ui.deleteVersionButton, self._delete),
            (ui.openFolderButton, logic.openModelFolder),
            (ui.exportVersionButton, self._export),
            (ui.importVersionButton, self._import),
        ):
            button.connect("clicked()", guard(action))
        ui.versionsTable.connect("itemSelectionChanged()", guard(self._showVersionActions))
        _setHeader(ui.versionsTable, _versionsHeader())

    def refresh(self) -> None:
        """Show the logic's state of now."""
        self._showComparison(self._logic.comparison)
        self._showVersions(self._logic.versionRows())
        self._showVersionActions()

    def close(self) -> None:
        """Nothing is kept beyond the widgets."""

    def _showComparison(self, comparison: Comparison | None) -> None:
        ui = self._ui
        for widget in (ui.comparisonTable, ui.differenceCheckBox, *(button for button, _tip in self._decisions)):
            widget.setVisible(comparison is not None)
        nothing = _("Nothing to decide. A new version is compared here before anything uses it.")
        ui.comparisonSummaryLabel.setText(nothing if comparison is None else comparison.summary)
        reason = "" if comparison is None else self._logic.whyNotKeep()
        showText(ui.keepReasonLabel, reason)
        for button, tip in self._decisions:
            button.setEnabled(not reason)
            button.setToolTip(reason or tip)
        if comparison is not None and comparison != self._comparison:
            _fillComparison(ui.comparisonTable, comparison)
        self._comparison = comparison

    def _showVersions(self, rows: tuple[VersionRow, ...]) -> None:
        """The chosen row stays chosen wherever it has gone."""
        if rows == self._versions:
            return
        table, chosen = self._ui.versionsTable, self._chosen()
        self._versions = rows
        _fillVersions(table, rows)
        ids = [row.id for row in rows]
        if chosen is not None and chosen.id in ids:
            table.selectRow(ids.index(chosen.id))
        else:
            table.clearSelection()

    def _showVersionActions(self) -> None:
        ui, row = self._ui, self._chosen()
        choose = "" if row is not None else _("Choose a version in the table first")
        busy = whyBusy(self._logic.job)
        inUse = _("This version is in use already") if row is not None and row.inUse else ""
        fixed = "" if row is None or row.removable else _whyNotRemovable(row)
        for button, reason, tip in (
            (ui.useVersionButton, choose or inUse or busy, _("Segments with the chosen version from now on.")),
            (ui.renameVersionButton, choose, _("Gives the chosen version another name.")),
            (ui.deleteVersionButton, choose or fixed or busy, _("Removes the chosen version for good. Asks first.")),
            (ui.exportVersionButton, choose, _exportTip(row)),
        ):
            button.setEnabled(not reason)
            button.setToolTip(reason or tip)

    def _chosen(self) -> VersionRow | None:
        chosen = self._ui.versionsTable.selectionModel().selectedRows()
        return self._versions[chosen[0].row()] if chosen else None

    def _use(self) -> None:
        self._logic.useVersion(self._chosen().id)

    def _rename(self) -> None:
        row = self._chosen()
        name = dialogs.askText(_("New name of “{name}”").format(name=row.name), row.name)
        if name and name != row.name:
            self._logic.renameVersion(row.id, name)

    def _delete(self) -> None:
        row = self._chosen()
        text = _("Delete the version “{name}”? It cannot be brought back.").format(name=row.name)
        if row.hasPieces:
            text += " " + _("The pieces of images that it keeps for retraining are deleted, too.")
        if dialogs.askChoice(text, (("delete", _("Delete")), ("cancel", _("Cancel"))), "cancel") == "delete":
            self._logic.deleteVersion(row.id)

    def _export(self) -> None:
        row = self._chosen()
        name = re.sub(r'[\\/:*?"<>|]', "-", row.name)
        path = dialogs.askSaveFile(_("Export a version"), f"{name}.{MODEL_SUFFIX}", MODEL_SUFFIX)
        if path is not None:
            self._logic.exportVersion(row.id, path)

    def _import(self) -> None:
        path = dialogs.askOpenFile(_("Import a version"), MODEL_SUFFIX)
        if path is not None:
            self._logic.importModel(path)


def _exportTip(row: VersionRow | None) -> str:
    tip = _("Saves the chosen version in a file, as for a colleague.")
    if row is not None and row.hasPieces:
        tip += " " + _("The pieces of images that it keeps for retraining stay here.")
    return tip


def _comparisonHeader(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Title and tooltip of each column."""
    overlap = _("Overlap (Dice): 1 means that both outlines are the same, 0 that they do not touch.")
    heldOut = _("Measured on {slices} in {volumes}, in a trial to which they were unknown.").format(
        slices=sliceCount(comparison.heldOutSlices), volumes=volumeCount(comparison.heldOutVolumes)
    )
    checked = _("What the version in use had drawn on {n} slices before you corrected and confirmed them.")
    return (
        (_("Structure"), ""),
        (_("Held-out overlap"), heldOut + "\n" + overlap),
        (_("Checked"), checked.format(n=comparison.checkedSlices) + "\n" + overlap),
        (_("Changed"), _("How much of the volume the new version draws differently, in millilitres.")),
    )


def _fillComparison(table: Any, comparison: Comparison) -> None:
    header = _comparisonHeader(comparison)
    _setHeader(table, header)
    table.setRowCount(len(comparison.rows))
    for index, row in enumerate(comparison.rows):
        name = qt.QTableWidgetItem(dots((row.color,), _DOT_PIXELS), row.name)
        heldOut = _heldOutItem(row)
        checked = qt.QTableWidgetItem(decimal(row.checkedBefore))
        changed = qt.QTableWidgetItem(_("{volume:.1f} ml").format(volume=row.changedMl))
        for column, item in enumerate((name, heldOut, checked, changed)):
            item.setToolTip(header[column][1] or row.name)
            table.setItem(index, column, item)


def _heldOutItem(row: ComparisonRow) -> Any:
    """Before → after, with an arrow and a colour where the two differ in the decimals that are shown."""
    before, after = row.heldOutBefore, row.heldOutAfter
    text = f"{decimal(before)} → {decimal(after)}"
    if before is None or after is None or decimal(before) == decimal(after):
        return qt.QTableWidgetItem(text)
    better = after > before
    item = qt.QTableWidgetItem(f"{text} {'▲' if better else '▼'}")
    item.setForeground(qt.QBrush(qt.QColor(_BETTER if better else _WORSE)))
    return item


def _versionsHeader() -> tuple[tuple[str, str], ...]:
    return (
        (_("Version"), _("The name, and the version that it was made from.")),
        (_("Slices"), _("How many confirmed slices it has learned from.")),
        (_("Overlap"), _("Overlap (Dice) on slices when they were unknown to it: 1 is best, – means not measured.")),
        (_("State"), _("What became of it, and when it was made.")),
    )


def _fillVersions(table: Any, rows: tuple[VersionRow, ...]) -> None:
    table.setRowCount(len(rows))
    for index, row in enumerate(rows):
        origin = _("from {parent}").format(parent=row.parentName) if row.parentName else ""
        texts = (
            "\n".join(part for part in (row.name, origin) if part),
            str(row.slices) if row.slices else "–",
            row.figureText,
            "\n".join(part for part in (row.statusText, row.createdText) if part),
        )
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            font = item.font()
            font.setBold(row.inUse)
            item.setFont(font)
            table.setItem(index, column, item)
    table.resizeRowsToContents()


def _whyNotRemovable(row: VersionRow) -> str:
    if row.inUse:
        return _("This version is in use; use another one first")
    return _("This version came with the module and stays")


def _setHeader(table: Any, columns: tuple[tuple[str, str], ...]) -> None:
    """The first column takes the room that the others leave."""
    for column, (title, tip) in enumerate(columns):
        item = qt.QTableWidgetItem(title)
        item.setToolTip(tip)
        table.setHorizontalHeaderItem(column, item)
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
