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
        structures = self._logic.structures()
        wasBlocked = self._table.blockSignals(True)
        self._table.setRowCount(len(rows))
        for place, row in enumerate(rows):
            self._fill(place, row, structures, _key(row) in selected)
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

    def _fill(self, place: int, row: SliceRow, structures: dict[int, tuple[str, Color]], selected: bool) -> None:
        word, meaning = _stateTexts(row.state)
        touched = [structures[value] for value in row.values if value in structures]
        names = ", ".join(name for name, _color in touched)
        seconds = _("{seconds} s").format(seconds=round(row.seconds)) if round(row.seconds) else ""
        cells = {
            _SLICE: (self._logic.sliceTitle(row.axis, row.index), _("Click to show this slice"), None),
            _STATE: (word, meaning, icon(_ICONS[row.state])),
            _STRUCTURES: (names, names, self._dots(touched)),
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

    def _dots(self, touched: list[tuple[str, Color]]) -> Any:
        colors = [color for _name, color in touched[:_MOST_DOTS]]
        return dots(colors, self._table.fontMetrics().height()) if colors else qt.QIcon()

    def _onClicked(self, place: int, column: int) -> None:
        row = self._rows[place]
        self._logic.jumpTo(row.axis, row.index)


def _key(row: SliceRow) -> tuple[int, int]:
    return row.axis, row.index
