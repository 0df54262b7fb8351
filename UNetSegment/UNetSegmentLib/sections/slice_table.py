"""The table of slices: which are suggested, edited and confirmed."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ..corrections import SliceRow, SliceState
from ..icons import icon
from .guard import Guard
from .widgets import Color, dots

_MOST_DOTS = 6
_SLICE, _STATE, _STRUCTURES, _TIME = range(4)
_CONFIRMED = (SliceState.CONFIRMED, SliceState.UNCHANGED, SliceState.CHANGED_SINCE)
_TO_CONFIRM = (SliceState.EDITED, SliceState.CHANGED_SINCE)
_ICONS = {
    SliceState.SUGGESTED: "suggested",
    SliceState.EDITED: "edited",
    SliceState.CONFIRMED: "confirmed",
    SliceState.UNCHANGED: "accepted",
    SliceState.CHANGED_SINCE: "changed",
}


def _stateTexts(state: SliceState) -> tuple[str, str]:
    """In a word, and what it means."""
    return {
        SliceState.SUGGESTED: (_("suggested"), _("Worth checking next")),
        SliceState.EDITED: (_("edited"), _("You have changed this slice. Confirm it when it is right")),
        SliceState.CONFIRMED: (_("confirmed"), _("Corrected and confirmed by you: the model learns from it")),
        SliceState.UNCHANGED: (_("right as it was"), _("Confirmed by you without a change: the model learns from it")),
        SliceState.CHANGED_SINCE: (
            _("changed since"),
            _("Changed after you confirmed it: confirm it again, or undo the change"),
        ),
    }[state]


class SliceTable:
    """Shows ``logic.rows`` in a QTableWidget. What the user has selected and scrolled to stays."""

    def __init__(self, table: Any, logic: Any, guard: Guard) -> None:
        self._table, self._logic = table, logic
        self._rows: tuple[SliceRow, ...] = ()
        table.setHorizontalHeaderLabels([_("Slice"), _("State"), _("Structures"), _("Time")])
        table.verticalHeader().setVisible(False)
        height = table.fontMetrics().height()
        table.setIconSize(qt.QSize(_MOST_DOTS * height, height))
        header = table.horizontalHeader()
        for column in (_SLICE, _STATE, _TIME):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(_STRUCTURES, qt.QHeaderView.Stretch)
        table.connect("cellClicked(int,int)", guard(self._onClicked))

    def refresh(self) -> None:
        """Show the rows of now; where they are the same as before nothing is touched."""
        rows = self._logic.rows
        if rows == self._rows:
            return
        selected = {_key(row) for row in self.selectedRows()}
        self._rows = rows
        # An effect can change hundreds of slices at once: what rows have in common is made once.
        titles = self._logic.sliceTitles([_key(row) for row in rows]) if rows else []
        icons = {state: icon(name) for state, name in _ICONS.items()}
        structures = self._logic.structures()
        touched = {values: self._touched(values, structures) for values in {row.values for row in rows}}
        wasBlocked = self._table.blockSignals(True)
        self._table.setRowCount(len(rows))
        for place, (row, title) in enumerate(zip(rows, titles, strict=True)):
            self._fill(place, row, title, icons[row.state], touched[row.values], _key(row) in selected)
        self._table.blockSignals(wasBlocked)

    def selectedRows(self) -> tuple[SliceRow, ...]:
        """In the order of the table."""
        places = {item.row() for item in self._table.selectedItems()}
        return tuple(row for place, row in enumerate(self._rows) if place in places)

    def editedRows(self) -> tuple[SliceRow, ...]:
        """What one click confirms: the selected ones of the edited slices, or all of them where none is selected."""
        selected = tuple(row for row in self.selectedRows() if row.state in _TO_CONFIRM)
        return selected or tuple(row for row in self._rows if row.state in _TO_CONFIRM)

    def removableRows(self) -> tuple[SliceRow, ...]:
        """The selected ones of the confirmed slices."""
        return tuple(row for row in self.selectedRows() if row.state in _CONFIRMED)

    def _fill(
        self, place: int, row: SliceRow, title: str, stateIcon: Any, touched: tuple[str, Any], selected: bool
    ) -> None:
        word, meaning = _stateTexts(row.state)
        names, dotsIcon = touched
        seconds = _("{seconds} s").format(seconds=round(row.seconds)) if round(row.seconds) else ""
        cells = {
            _SLICE: (title, _("Click to show this slice"), None),
            _STATE: (word, meaning, stateIcon),
            _STRUCTURES: (names, names, dotsIcon),
            _TIME: (seconds, _("Time spent on this slice"), None),
        }
        for column, (text, tip, picture) in cells.items():
            item = self._table.item(place, column)
            if item is None:
                item = qt.QTableWidgetItem()
                self._table.setItem(place, column, item)
            item.setText(text)
            item.setToolTip(tip)
            if picture is not None:
                item.setIcon(picture)
            item.setSelected(selected)

    def _touched(self, values: tuple[int, ...], structures: dict[int, tuple[str, Color]]) -> tuple[str, Any]:
        """Names of the structures, and a QIcon with a dot for each of the first ones."""
        known = [structures[value] for value in values if value in structures]
        colors = [color for _name, color in known[:_MOST_DOTS]]
        picture = dots(colors, self._table.fontMetrics().height()) if colors else qt.QIcon()
        return ", ".join(name for name, _color in known), picture

    def _onClicked(self, place: int, column: int) -> None:
        row = self._rows[place]
        self._logic.jumpTo(row.axis, row.index)


def _key(row: SliceRow) -> tuple[int, int]:
    return row.axis, row.index
