"""Stand-ins for the ctk widgets that the panel uses; the module becomes ``ctk``."""

from __future__ import annotations

from typing import Any

import pqt  # noqa: F401  (makes qt)
import qt
from PySide6.QtCore import Property, Signal
from standin import standin, stored

HEADER_HEIGHT = 26


@standin
class ctkCollapsibleButton(qt.QAbstractButton):
    """A header that shows and hides what is below it; ``checked`` is the opposite of ``collapsed``."""

    contentsCollapsed = Signal(bool)
    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))

    def __init__(self, *arguments: Any) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        super().__init__(arguments[-1] if arguments and arguments[-1] != text else None)
        self._hiddenByUser: list[Any] = []
        self._folding = False
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, HEADER_HEIGHT, 0, 0)
        self.setSizePolicy(qt.QSizePolicy.Minimum, qt.QSizePolicy.Preferred)
        self.connect("toggled(bool)", self._fold)

    def _fold(self, checked: bool) -> None:
        self._folding = True
        for child in self.children():
            if child.isWidgetType():
                self._foldChild(child)
        self._folding = False
        self.updateGeometry()
        self.contentsCollapsed.emit(not checked)

    def _foldChild(self, child: Any) -> None:
        child.setVisible(self.checked and child not in self._hiddenByUser)

    def childEvent(self, event: Any) -> None:
        if event.type() == qt.QEvent.ChildAdded and event.child().isWidgetType():
            event.child().installEventFilter(self)

    def eventFilter(self, child: Any, event: Any) -> bool:
        """Remember what the user of the widget hides and shows, and keep it hidden while collapsed."""
        if not self._folding and event.type() in (qt.QEvent.ShowToParent, qt.QEvent.HideToParent):
            self._hiddenByUser = [other for other in self._hiddenByUser if other != child]
            if event.type() == qt.QEvent.HideToParent:
                self._hiddenByUser.append(child)
            if not self.checked:
                self._folding = True
                self._foldChild(child)
                self._folding = False
        return False

    def hitButton(self, position: Any) -> bool:
        return 0 <= position.y() < HEADER_HEIGHT

    def sizeHint(self) -> Any:
        contents = self.layout().sizeHint() if self.layout() and self.checked else qt.QSize(0, HEADER_HEIGHT)
        return contents.expandedTo(qt.QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, HEADER_HEIGHT))

    def minimumSizeHint(self) -> Any:
        contents = self.layout().minimumSize() if self.layout() and self.checked else qt.QSize(0, 0)
        return contents.expandedTo(qt.QSize(0, HEADER_HEIGHT))

    def paintEvent(self, event: Any) -> None:
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect = qt.QRect(0, 0, self.width, HEADER_HEIGHT - 2)
        self.style().drawControl(qt.QStyle.CE_PushButtonBevel, option, painter, self)
        arrow = qt.QStyle.PE_IndicatorArrowDown if self.checked else qt.QStyle.PE_IndicatorArrowRight
        text = option.rect.adjusted(26, 0, 0, 0)
        option.rect = qt.QRect(8, 6, 12, 12)
        self.style().drawPrimitive(arrow, option, painter, self)
        painter.setPen(self.palette.color(qt.QPalette.ButtonText))
        painter.drawText(text, qt.Qt.AlignVCenter | qt.Qt.TextShowMnemonic, self.text)
        painter.end()


@standin
class ctkPathLineEdit(qt.QWidget):
    """A path; the browse button opens nothing here."""

    currentPathChanged = Signal(str)
    filters = stored("filters", int, 0x37)
    currentPath = Property(str, lambda self: self._edit.text, lambda self, path: self.setCurrentPath(path))

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._edit, browse = qt.QLineEdit(), qt.QToolButton()
        browse.setText("…")
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._edit)
        row.addWidget(browse)
        self._edit.connect("textChanged(QString)", self.currentPathChanged.emit)

    def setCurrentPath(self, path: str) -> None:
        self._edit.setText(path)


@standin
class ctkDirectoryButton(qt.QWidget):
    """A button with the path of a folder; it opens nothing here."""

    directoryChanged = Signal(str)
    directory = Property(str, lambda self: self._directory, lambda self, path: self._setDirectory(path))

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._directory = qt.QDir.currentPath()
        self._button = qt.QPushButton(self._directory)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)

    def _setDirectory(self, path: str) -> None:
        path = qt.QDir(path).absolutePath()
        if path != self._directory:
            self._directory = path
            self._button.setText(path)
            self.directoryChanged.emit(path)
