"""The host's ``qt`` follows PythonQt, and its loader of .ui files refuses what the real one ignores."""

import functools

import pqt
import pytest
import qt
import slicer
from PySide6 import QtTest

UI = """<ui version="4.0"><widget class="{cls}" name="Root">
 <property name="{name}"><string>text</string></property>
 <layout class="QVBoxLayout" name="column"><item><widget class="qMRMLNodeComboBox" name="selector"/></item>
  <item><widget class="ctkPathLineEdit" name="path">
   <property name="filters"><set>ctkPathLineEdit::Files|ctkPathLineEdit::Executable</set></property></widget></item>
 </layout></widget>
 <connections><connection><sender>Root</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
  <receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


@pytest.fixture(autouse=True)
def application(slicerApp):
    return slicerApp


def swallowed():
    """What Slicer would only have printed, which the test expects."""
    found, pqt.errors[:] = list(pqt.errors), []
    return found


def test_properties_are_attributes():
    label = qt.QLabel("a")
    label.text = "b"
    assert label.text == "b"
    label.setText("c")
    assert label.text == "c"
    with pytest.raises(TypeError, match="not callable"):
        label.text()


def test_a_property_that_cannot_be_written_says_so():
    with pytest.raises(AttributeError, match="count"):
        qt.QComboBox().count = 3


def test_objects_of_cxx_take_no_new_attributes_but_python_subclasses_do():
    for widget in (qt.QLabel(), slicer.qMRMLWidget()):
        with pytest.raises(AttributeError, match="colour"):
            widget.colour = "red"
    own = type("Own", (qt.QLabel,), {})()
    own.colour = "red"
    assert own.colour == "red"


def test_a_method_of_cxx_is_not_replaced():
    with pytest.raises(AttributeError, match="click"):
        qt.QPushButton().click = print


def test_children_and_dynamic_properties_are_attributes():
    parent = qt.QWidget()
    child = qt.QLabel(parent)
    child.name = "inner"
    assert child.objectName == "inner"
    assert parent.inner == child
    parent.setProperty("Unit", "mm")
    assert parent.Unit == "mm"
    with pytest.raises(AttributeError, match="outer"):
        parent.outer  # noqa: B018


def test_enumerators_are_integers():
    assert int(qt.QProcess.Running) == 2
    assert qt.QProcess().state() == 0
    assert qt.QProcess().state() != qt.QProcess.Running
    dialog = qt.QFileDialog()
    dialog.acceptMode = qt.QFileDialog.AcceptSave
    assert dialog.acceptMode == 1
    assert {dialog.acceptMode: "save"}[1] == "save"


def test_a_slot_gets_as_many_arguments_as_it_takes_defaults_included():
    button = qt.QPushButton()
    got = []
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", lambda checked: got.append(checked))
    button.connect("clicked(bool)", lambda index=7: got.append(index))
    button.connect("clicked(bool)", functools.partial(got.append))
    button.clicked.connect(lambda *arguments: got.append(arguments))
    button.click()
    assert got == ["none", False, False, False, (False,)]


def test_disconnecting_needs_the_same_function():
    button, got = qt.QPushButton(), []
    button.connect("clicked()", got.clear)
    button.connect("clicked()", functools.partial(got.append, 1))
    assert button.disconnect("clicked()", got.clear)
    assert not button.disconnect("clicked()", got.copy)
    button.click()
    assert got == [1]
    button.disconnect("clicked()")
    button.click()
    assert got == [1]


def test_a_signal_that_does_not_exist_is_collected():
    assert not qt.QPushButton().connect("pushed()", print)
    assert swallowed() == ["there is no signal pushed() on QPushButton"]
    assert not slicer.qMRMLNodeComboBox().connect("currentNodeChanged(vtkMRMLVolumeNode*)", print)
    assert "currentNodeChanged(vtkMRMLVolumeNode*)" in swallowed()[0]


def test_an_exception_in_a_slot_is_collected_and_the_next_slot_called():
    button, got = qt.QPushButton(), []
    button.connect("clicked()", lambda: 1 / 0)
    button.connect("clicked()", functools.partial(got.append, "next"))
    button.click()
    assert got == ["next"]
    (report,) = swallowed()
    assert "ZeroDivisionError" in report


def test_an_exception_in_an_observer_is_collected(scene):
    tag = scene.AddObserver(scene.NodeAddedEvent, lambda caller, event: 1 / 0)
    scene.AddNewNodeByClass("vtkMRMLTextNode")
    scene.RemoveObserver(tag)
    assert "ZeroDivisionError" in swallowed()[0]


def test_an_overload_with_a_truth_value_gets_one(scene):
    combo, got = slicer.qMRMLNodeComboBox(), []
    combo.connect("currentNodeChanged(bool)", got.append)
    combo.connect("currentNodeChanged(vtkMRMLNode*)", got.append)
    combo.nodeTypes = ["vtkMRMLTextNode"]
    combo.setMRMLScene(scene)
    node = scene.AddNewNodeByClass("vtkMRMLTextNode")
    assert got == [True, node]


def test_a_key_reaches_its_shortcut():
    window, got = qt.QWidget(), []
    shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+1"), window)
    shortcut.connect("activated()", functools.partial(got.append, "pressed"))
    window.show()
    slicer.app.processEvents()
    QtTest.QTest.keyClick(window, qt.Qt.Key_1, qt.Qt.ControlModifier)
    assert got == ["pressed"]


def load(tmp_path, cls="qMRMLWidget", name="windowTitle"):
    path = tmp_path / "Panel.ui"
    path.write_text(UI.format(cls=cls, name=name))
    return slicer.util.loadUI(str(path))


def test_a_ui_file_is_loaded_with_its_connections(tmp_path, scene):
    root = load(tmp_path)
    ui = slicer.util.childWidgetVariables(root)
    root.setMRMLScene(scene)
    assert root.windowTitle == "text"
    assert ui.selector.className() == "qMRMLNodeComboBox"
    assert ui.selector.mrmlScene() is scene
    assert ui.path.filters == 0x42


@pytest.mark.parametrize(
    "unknown", [{"cls": "qMRMLUnheardOfWidget"}, {"name": "windowTitel"}], ids=["class", "property"]
)
def test_a_ui_file_with_unknown_names_is_refused(tmp_path, unknown):
    with pytest.raises(RuntimeError, match=next(iter(unknown.values()))):
        load(tmp_path, **unknown)
