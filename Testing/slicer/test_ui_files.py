"""The .ui files: names that are unique, texts that can be translated, parameters that exist, widgets with a scene."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from UNetSegmentLib.parameters import Parameters

FOLDER = Path(__file__).resolve().parents[2] / "UNetSegment" / "Resources" / "UI"
FILES = sorted(FOLDER.glob("*.ui"))
NAMED = ("widget", "layout", "action", "actiongroup", "buttongroup", "spacer")
TEXTS = {"text", "toolTip", "title", "windowTitle", "placeholderText", "statusTip", "whatsThis", "prefix", "suffix"}
ROOTS = {"qMRMLWidget", "qSlicerWidget"}
SCENE_COMES_LATER = {"qMRMLSegmentEditorWidget"}
"""They need their own node first."""

GOOD = """<ui version="4.0"><class>A</class>
 <widget class="qMRMLWidget" name="A">
  <layout class="QVBoxLayout" name="layout"><item>
   <widget class="qMRMLNodeComboBox" name="volumeSelector">
    <property name="toolTip"><string>The volume</string></property>
    <property name="SlicerParameterName" stdset="0"><string notr="true">volume</string></property>
   </widget></item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>a.h</header></customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>a.h</header></customwidget>
 </customwidgets>
 <connections><connection><sender>A</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
  <receiver>volumeSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>
</ui>"""


def names_that_occur_twice(ui):
    names = [node.get("name") for kind in NAMED for node in ui.iter(kind)]
    return [name for name in names if names.count(name) > 1]


def root_that_passes_no_scene_on(ui):
    kind = ui.find("widget").get("class")
    return [] if kind in ROOTS else [kind]


def texts_that_nobody_can_translate(ui):
    return [
        text.text
        for node in ui.iter("property")
        if node.get("name") in TEXTS
        for text in node.findall("string")
        if text.get("notr") == "true"
    ]


def parameters_that_do_not_exist(ui):
    properties = [node for node in ui.iter("property") if node.get("name") == "SlicerParameterName"]
    names = [node.findtext("string") for node in properties]
    fixed = [node.findtext("string") for node in properties if node.get("stdset") != "0"]
    return [name for name in names if name not in Parameters.__annotations__] + fixed


def widgets_without_a_scene(ui):
    """A combo box of nodes that has no scene stays grey."""
    connected = {
        node.findtext("receiver")
        for node in ui.iter("connection")
        if node.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and node.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
        and node.findtext("sender") == ui.find("widget").get("name")
    }
    below = [node for node in ui.iter("widget") if node != ui.find("widget")]
    mrml = [
        node for node in below if node.get("class").startswith("qMRML") and node.get("class") not in SCENE_COMES_LATER
    ]
    return [node.get("name") for node in mrml if node.get("name") not in connected]


def classes_that_are_not_declared(ui):
    """The loader would put the base class in their place, with no more than a warning."""
    declared = {node.findtext("class") for node in ui.iter("customwidget")}
    used = {node.get("class") for node in ui.iter("widget")}
    return [name for name in used if not name.startswith("Q") and name not in declared]


CHECKS = {
    # what must not be: a change of GOOD that makes it so
    names_that_occur_twice: ('name="layout"', 'name="volumeSelector"'),
    root_that_passes_no_scene_on: ('class="qMRMLWidget" name="A"', 'class="QWidget" name="A"'),
    texts_that_nobody_can_translate: ("<string>The", '<string notr="true">The'),
    parameters_that_do_not_exist: (">volume<", ">volumes<"),
    widgets_without_a_scene: ("<receiver>volumeSelector", "<receiver>A"),
    classes_that_are_not_declared: ("<class>qMRMLNodeComboBox", "<class>ctkComboBox"),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_check_finds_what_is_wrong(check):
    before, after = CHECKS[check]
    assert check(ElementTree.fromstring(GOOD)) == []
    assert before in GOOD
    assert check(ElementTree.fromstring(GOOD.replace(before, after)))


def test_a_parameter_without_stdset_is_found():
    """Qt would look for a property of the class."""
    assert parameters_that_do_not_exist(ElementTree.fromstring(GOOD.replace(' stdset="0"', ""))) == ["volume"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_is_right(path, check):
    assert check(ElementTree.parse(path).getroot()) == []


def test_there_are_files():
    assert {path.stem for path in FILES} >= {"Segment", "Correct", "Retrain", "Compare", "Settings"}
