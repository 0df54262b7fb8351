"""Stand-in for the part of ``slicer.parameterNodeWrapper`` that the module uses.

Typed parameters in a ``vtkMRMLScriptedModuleNode``, in Slicer's own text format, and their connection with widgets
that have the property ``SlicerParameterName``. Types: bool, int, float, str, enumerations, nodes.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from typing import Any

import slicer
import vtk

SIGNALS = {
    "QCheckBox": ("checked", "toggled(bool)"),
    "QDoubleSpinBox": ("value", "valueChanged(double)"),
    "QLineEdit": ("text", "textChanged(QString)"),
    "qMRMLNodeComboBox": ("", "currentNodeChanged(vtkMRMLNode*)"),
}
"""Class of the widget -> its property with the value, and the signal of its change."""


class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"value must be within {self.minimum} and {self.maximum}, is {value}")


class _Parameter:
    def __init__(self, name: str, hint: Any, owner: type) -> None:
        self.name = name
        self.type = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
        self.validators = getattr(hint, "__metadata__", ())
        self.isNode = issubclass(self.type, slicer.vtkMRMLNode)
        first = next(iter(self.type)) if issubclass(self.type, enum.Enum) else None if self.isNode else self.type()
        self.default = getattr(owner, name, first)

    def write(self, node: Any, value: Any) -> None:
        if not isinstance(value, (int, float) if self.type is float else self.type) and not (
            self.isNode and value is None
        ):
            raise TypeError(f"parameter {self.name} must be a {self.type.__name__}, is {value!r}")
        for validator in self.validators:
            validator.validate(value)
        if self.isNode:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value else None)
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node: Any) -> Any:
        """The default is written where the node has no value, as after the scene has been closed."""
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        if self.isNode:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)


class _Connection:
    """A parameter and the widget that shows it."""

    def __init__(self, wrapper: Any, parameter: _Parameter, widget: Any) -> None:
        if widget.className() not in SIGNALS:
            raise RuntimeError(f"no connection between {widget.className()} and the parameter {parameter.name}")
        self.wrapper, self.parameter, self.widget = wrapper, parameter, widget
        self.attribute, self.signal = SIGNALS[widget.className()]
        for validator in parameter.validators:
            widget.minimum, widget.maximum = validator.minimum, validator.maximum
        if parameter.isNode:
            widget.nodeTypes = [parameter.type.__name__]
        self.show()
        widget.connect(self.signal, self.store)

    def show(self) -> None:
        value = getattr(self.wrapper, self.parameter.name)
        if self.parameter.isNode:
            self.widget.setCurrentNode(value)
        elif getattr(self.widget, self.attribute) != value:
            setattr(self.widget, self.attribute, value)

    def store(self) -> None:
        if not self.wrapper._updatingGui:
            value = self.widget.currentNode() if self.parameter.isNode else getattr(self.widget, self.attribute)
            with slicer.util.NodeModify(self.wrapper.parameterNode):
                setattr(self.wrapper, self.parameter.name, value)

    def disconnect(self) -> None:
        self.widget.disconnect(self.signal, self.store)


class _Methods:
    """What every wrapper has besides its parameters."""

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._connections: dict[int, list[_Connection]] = {}
        self._observers: dict[int, int] = {}
        self._updatingGui = False
        for parameter in self.allParameters.values():
            parameter.read(parameterNode)

    def connectGui(self, gui: Any) -> int:
        """Connect every widget among the attributes of ``gui`` that names a parameter; returns a tag."""
        named = [(widget.property("SlicerParameterName"), widget) for widget in vars(gui).values()]
        return self.connectParametersToGui({name: widget for name, widget in named if name})

    def connectParametersToGui(self, widgets: dict[str, Any]) -> int:
        tag = len(self._observers)
        connections = [_Connection(self, self.allParameters[name], widget) for name, widget in widgets.items()]
        self._connections[tag] = connections
        self._observers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._show(connections))
        return tag

    def disconnectGui(self, tag: int) -> None:
        for connection in self._connections.pop(tag, []):
            connection.disconnect()
        if tag in self._observers:
            self.RemoveObserver(self._observers[tag])

    def _show(self, connections: list[_Connection]) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            for connection in connections:
                connection.show()
        finally:
            self._updatingGui = False


def _property(parameter: _Parameter) -> property:
    return property(
        lambda self: parameter.read(self.parameterNode), lambda self, value: parameter.write(self.parameterNode, value)
    )


def _forwarded(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: getattr(self.parameterNode, name)(*arguments)


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator, as in Slicer: it changes the class itself."""
    hints = typing.get_type_hints(cls, include_extras=True)
    cls.allParameters = {name: _Parameter(name, hint, cls) for name, hint in hints.items()}
    for name, parameter in cls.allParameters.items():
        setattr(cls, name, _property(parameter))
    for name in ("__init__", "connectGui", "connectParametersToGui", "disconnectGui", "_show"):
        setattr(cls, name, vars(_Methods)[name])
    for name in ("StartModify", "EndModify", "AddObserver", "RemoveObserver", "Modified"):
        setattr(cls, name, _forwarded(name))
    return cls
