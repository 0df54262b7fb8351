"""The module and the host use only what the widgets of every supported Slicer have, as listed in widget_names.json."""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import qt
import standin

MODULE_FOLDER = Path(__file__).resolve().parents[2] / "UNetSegment"
UI_FILES = sorted(MODULE_FOLDER.glob("Resources/UI/*.ui"))
SOURCES = sorted(MODULE_FOLDER.rglob("*.py"))
HELPERS = {"cxxSignals", "paintArray", "observing", "shortcuts"}
"""What a stand-in has for the host and the tests only."""


def qtClass(name):
    """The class of Qt that a widget is or is derived from."""
    return getattr(qt, standin.LISTED[name]["base"] if name in standin.LISTED else name, qt.QWidget)


def example(name):
    """A widget of the class; what its stand-in has besides its names is tested below."""
    return standin.classes.get(name, qtClass(name))()


def signatures(widget):
    meta = widget.metaObject()
    return {bytes(meta.method(index).methodSignature().data()).decode() for index in range(meta.methodCount())}


def namesOf(name):
    """Everything that Python can get from a widget of the class."""
    listed = standin.LISTED[name]
    signals = {signal.partition("(")[0] for signal in listed["signals"]}
    return {*listed["properties"], *listed["methods"], *signals, *listed["enumerators"], *dir(qtClass(name))}


def knows(name, signature):
    """Whether a widget of the class has the signal or slot."""
    listed = standin.LISTED.get(name, {"signals": (), "methods": ()})
    normalized = re.sub(r"const |&|(?<=\W) ", "", signature)
    method = signature.partition("(")[0]
    return normalized in {*listed["signals"], *signatures(example(name))} or method in listed["methods"]


def wrongInUi(root):
    """Class, property, signal and slot names in a .ui file that the real widgets lack."""
    widgets = {widget.get("name"): widget for widget in root.iter("widget")}
    classes = {name: widget.get("class") for name, widget in widgets.items()}
    wrong = [cls for cls in classes.values() if cls not in standin.LISTED and cls != "Line" and not hasattr(qt, cls)]
    for name, widget in widgets.items():
        known = example(classes[name])
        for entry in widget.findall("property"):
            used = entry.get("name")
            if entry.get("stdset") != "0" and known.metaObject().indexOfProperty(used) < 0:
                wrong.append(f"{classes[name]}.{used}")
    for connection in root.iter("connection"):
        for end, member in (("sender", "signal"), ("receiver", "slot")):
            cls, signature = classes[connection.findtext(end)], connection.findtext(member)
            if not knows(cls, signature):
                wrong.append(f"{cls}.{signature}")
    return wrong


def widgetsOfUi():
    """Object name -> class, of the widgets of ctk and Slicer in all .ui files."""
    widgets = [widget for path in UI_FILES for widget in ElementTree.parse(path).getroot().iter("widget")]
    return {widget.get("name"): widget.get("class") for widget in widgets if widget.get("class") in standin.LISTED}


def lastName(node):
    return getattr(node, "attr", getattr(node, "id", ""))


def classOf(node, widgets):
    """The class of the widget that ``ui.name`` or ``self._ui.name`` is; None for anything else."""
    isWidget = isinstance(node, ast.Attribute) and lastName(node.value) in ("ui", "_ui")
    return widgets.get(node.attr) if isWidget else None


def wrongInSource(tree, widgets):
    """Uses of widgets of a .ui file, and of classes of ctk and Slicer, that the real ones lack."""
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            cls = classOf(node.value, widgets)
            if cls and node.attr not in {*namesOf(cls), "connect", "disconnect"}:
                wrong.append(f"{cls}.{node.attr}")
            if lastName(node.value) in ("slicer", "ctk") and re.match("qMRML|ctk[A-Z]", node.attr):
                wrong += [node.attr] if node.attr not in standin.LISTED else []
        elif isinstance(node, ast.Call) and lastName(node.func) in ("connect", "disconnect") and node.args:
            cls, signal = classOf(getattr(node.func, "value", None), widgets), getattr(node.args[0], "value", None)
            if cls and isinstance(signal, str) and not knows(cls, signal):
                wrong.append(f"{cls}.{signal}")
    return wrong


@pytest.mark.parametrize("name", sorted(standin.LISTED))
def test_a_standin_shows_nothing_that_the_real_widget_lacks(name):
    cls = standin.classes[name]
    assert issubclass(cls, qtClass(name))
    assert {member for member in dir(cls) if not member.startswith("_")} - namesOf(name) <= HELPERS


@pytest.mark.parametrize("path", UI_FILES, ids=lambda path: path.name)
def test_a_ui_file_uses_what_there_is(path):
    assert wrongInUi(ElementTree.parse(path).getroot()) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(MODULE_FOLDER)))
def test_a_source_uses_what_there_is(path):
    assert wrongInSource(ast.parse(path.read_text(encoding="utf-8")), widgetsOfUi()) == []


UI = """<ui><widget class="qMRMLWidget" name="root"><property name="windowTitle"/>
 <widget class="ctkCollapsibleButton" name="section"><property name="collapsed"/><property name="text"/></widget>
 <widget class="qMRMLNodeComboBox" name="selector"><property name="Free" stdset="0"/></widget></widget>
 <connections><connection><sender>root</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
 <receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ('name="collapsed"', 'name="folded"', ["ctkCollapsibleButton.folded"]),
        (
            'class="qMRMLNodeComboBox"',
            'class="qMRMLNodeBox"',
            ["qMRMLNodeBox", "qMRMLNodeBox.setMRMLScene(vtkMRMLScene*)"],
        ),
        ("mrmlSceneChanged(", "sceneChanged(", ["qMRMLWidget.sceneChanged(vtkMRMLScene*)"]),
        ("setMRMLScene(", "setScene(", ["qMRMLNodeComboBox.setScene(vtkMRMLScene*)"]),
        ("", "", []),
    ],
)
def test_wrong_names_in_a_ui_file_are_found(right, wrong, found):
    assert wrongInUi(ElementTree.fromstring(UI.replace(right, wrong, 1))) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("ui.box.currentNode().GetID()", []),
        ("ui.box.setEnabled(ui.section.collapsed)", []),
        ("self._ui.box.connect('currentNodeChanged(vtkMRMLNode*)', f)", []),
        ("ui.section.connect('clicked(bool)', f)", []),
        ("ui.other.anything()", []),
        ("ui.box.nodes()", ["qMRMLNodeComboBox.nodes"]),
        ("ui.section.setCollapsed(True)", ["ctkCollapsibleButton.setCollapsed"]),
        (
            "ui.box.connect('nodeAddedByUserAction(vtkMRMLNode*)', f)",
            ["qMRMLNodeComboBox.nodeAddedByUserAction(vtkMRMLNode*)"],
        ),
        ("ui.box.disconnect('currentNodeChanged(QObject*)', f)", ["qMRMLNodeComboBox.currentNodeChanged(QObject*)"]),
        ("slicer.qMRMLUnheardOf()", ["qMRMLUnheardOf"]),
        ("ctk.ctkUnheardOf()", ["ctkUnheardOf"]),
    ],
)
def test_wrong_names_in_a_source_are_found(source, found):
    widgets = {"box": "qMRMLNodeComboBox", "section": "ctkCollapsibleButton"}
    assert wrongInSource(ast.parse(source), widgets) == found
