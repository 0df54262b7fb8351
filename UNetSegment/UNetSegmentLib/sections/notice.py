"""The bar at the top of the panel: one message with its way out."""

from __future__ import annotations

import functools
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..icons import icon
from .guard import Guard
from .widgets import showText

_ENDS = (".", "?", "!", "…")


class NoticeSection:
    """Shows ``logic.notice``; takes no room without one."""

    def __init__(self, ui: Any, logic: Any, guard: Guard) -> None:
        self._ui, self._logic, self._guard = ui, logic, guard
        self._shown = None
        self._buttons: list[Any] = []
        ui.dismissButton.connect("clicked()", guard(logic.dismissNotice))
        ui.copyReportButton.connect("clicked()", guard(self._copyReport))
        ui.noticeFrame.setVisible(False)

    def refresh(self) -> None:
        """Show the notice of now."""
        notice = self._logic.notice
        if notice == self._shown:
            return
        self._shown = notice
        self._ui.noticeFrame.setVisible(notice is not None)
        self._removeButtons()
        if notice is None:
            return
        size = self._ui.dismissButton.fontMetrics().height() * 3 // 2
        self._ui.kindIcon.setPixmap(icon(notice.kind).pixmap(size, size))
        showText(self._ui.noticeText, notice.text)
        unfinished = bool(notice.remedy) and not notice.remedy.endswith(_ENDS)
        showText(self._ui.remedyText, notice.remedy + "." * unfinished)
        self._ui.copyReportButton.setText(_("Copy report"))
        self._ui.copyReportButton.setVisible(bool(notice.report))
        for code, title in notice.actions:
            self._addButton(code, title)

    def close(self) -> None:
        """Nothing is kept beyond the widgets."""
        self._removeButtons()

    def _addButton(self, code: str, title: str) -> None:
        button = qt.QPushButton(title)
        button.connect("clicked()", self._guard(functools.partial(self._logic.noticeAction, code)))
        self._ui.actionsLayout.addWidget(button)
        self._buttons.append(button)

    def _removeButtons(self) -> None:
        """Later, because one of them may be what is being clicked."""
        for button in self._buttons:
            button.hide()
            button.deleteLater()
        self._buttons = []

    def _copyReport(self) -> None:
        slicer.app.clipboard().setText(self._shown.report)
        self._ui.copyReportButton.setText(_("Report copied"))
