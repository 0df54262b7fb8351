"""Loads .ui files with stand-ins for the widgets of ctk and Slicer, and refuses what the real loader only ignores."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import standin
from PySide6 import QtCore, QtUiTools

Element = ElementTree.Element


class QUiLoader(QtUiTools.QUiLoader):
    """Qt replaces an unknown class by its base class, and ignores unknown properties: here both raise RuntimeError."""

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        if className not in standin.classes:
            return super().createWidget(className, parent, name)
        widget = standin.classes[className](parent)
        widget.objectName = name
        return widget

    def load(self, device: Any, parent: Any = None) -> Any:
        path = device.fileName()
        root = ElementTree.parse(path).getroot()
        for element in root.iter("widget"):
            self._check_class(element, path)
            _replace_enumerators(element)
        connections = _take_connections(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        by_name = {child.objectName: child for child in [widget, *widget.findChildren(QtCore.QObject)]}
        for element in root.iter("widget"):
            _check_properties(element, by_name[element.get("name")], path)
        for sender, signal, receiver, slot in connections:
            by_name[sender].connect(signal, by_name[receiver], slot)
        return widget

    def _check_class(self, element: Element, path: str) -> None:
        name = element.get("class")
        if name not in standin.classes and name not in [*self.availableWidgets(), "Line"]:
            raise RuntimeError(f"{path} uses the class {name}, which this host does not know")


def _replace_enumerators(element: Element) -> None:
    """Enumerators of the stand-ins are plain integers, which the loader of Qt cannot look up."""
    for value in element.iterfind("property/*"):
        terms = [term.split("::") for term in (value.text or "").split("|")] if value.tag in ("set", "enum") else []
        if terms and terms[0][0] in standin.classes:
            value.tag = "number"
            value.text = str(sum(getattr(standin.classes[term[0]], term[-1]) for term in terms))


def _take_connections(root: Element) -> list[tuple[str, ...]]:
    """PySide cannot declare signals with MRML nodes: they are connected after the loading."""
    keys = ("sender", "signal", "receiver", "slot")
    found = [tuple(connection.findtext(key, "") for key in keys) for connection in root.iter("connection")]
    for element in root.findall("connections"):
        root.remove(element)
    return found


def _check_properties(element: Element, widget: Any, path: str) -> None:
    for entry in element.findall("property"):
        name = entry.get("name", "")
        if entry.get("stdset") != "0" and widget.metaObject().indexOfProperty(name) < 0:
            raise RuntimeError(f"{path}: {element.get('class')} {widget.objectName} has no property {name}")
