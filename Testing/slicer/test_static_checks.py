"""What the rules of ``static_rules.py`` find in the module; each is shown to fire on what is wrong and on that only."""

import ast
import functools
from pathlib import Path

import pytest
import static_rules as rules

MODULE = Path(__file__).resolve().parents[2] / "UNetSegment"
FILES = sorted(MODULE.rglob("*.py"))
IN_SLICER = "from slicer.i18n import tr as _\n"
WITH_ERRORS = "from unetseg.errors import ImageError\n"

RULES = {
    # rule: (what breaks it, what does not)
    rules.qt_signal_in_python: (
        ["class A(qt.QObject):\n    changed = qt.Signal()", "from PySide6.QtCore import Signal", "import PyQt5"],
        ["from .signal import Signal\nchanged = Signal()", "import qt"],
    ),
    rules.subclass_of_slicer_widget: (
        ["class A(slicer.qMRMLWidget): pass", "class A(ctk.ctkComboBox): pass", "class A(qSlicerWidget): pass"],
        ["class A(qt.QWidget): pass", "class A(ScriptedLoadableModuleWidget): pass", "class A: pass"],
    ),
    rules.multiple_inheritance_with_qt: (
        ["class A(qt.QWidget, Mixin): pass", "class A(Mixin, qt.QObject): pass"],
        ["class A(ScriptedLoadableModuleWidget, VTKObservationMixin): pass", "class A(qt.QWidget): pass"],
    ),
    rules.identity_of_widgets: (
        ["a = self.ui.applyButton is b", "a = sender() is b", "a = x is not self.timer", "a = w.currentWidget() is b"],
        ["a = button is None", "a = tasks.get(key) is task", "a = button == self.ui.applyButton"],
    ),
    rules.property_called_as_method: (
        ["a = label.text()", "b = self.ui.spinBox.value()", "c = combo.count()", "d = ui.table.rowCount()"],
        [
            *(
                "a = label.text",
                "b = widget.size.width()",
                "c = item.text()",
                "d = words.count('a')",
                "e = x.isChecked()",
            ),
            "import itertools\nf = itertools.count()",
        ],
    ),
    rules.default_arguments_in_connect: (
        ["b.connect('clicked()', lambda x=i: f(x))", "b.connect('clicked()', guard(lambda *, x=i: f(x)))"],
        ["b.connect('clicked()', partial(f, i))", "b.connect('clicked()', lambda: f())", "sort(key=lambda x=1: x)"],
    ),
    rules.connection_without_signature: (
        ["b.clicked.connect(f)", "b.connect('clicked', f)", "b.connect(name, f)", "b.connect('a(int, int)', f)"],
        ["b.connect('clicked(bool)', f)", "p.connect('end(int,QProcess::ExitStatus)', f)", "n.connect('x(A*)', f)"],
    ),
    rules.text_that_nobody_can_translate: (
        ["_(f'Slice {n}')", "_('Slice ' + n)", "_('Slice {n}'.format(n=n))", "_(text)", "_()"],
        ["_('Slice {n}').format(n=n)", "_('one text in '\n 'two lines')"],
    ),
    rules.text_without_translation: (
        [
            *("label.setText('Volume')", "label.toolTip = 'The volume'", "b = qt.QPushButton('Apply')"),
            *("label.setText(_('A') if x else 'Bad')", "label.setText(f'Slice {n}')", "w.say('info', 'Saved')"),
            "w.say('info', _('A'), actions=(('stop', 'Stop'),))",
            f"{IN_SLICER}{WITH_ERRORS}raise ImageError(_('A'), remedy='Go')",
        ],
        [
            *("label.setText(_('Volume'))", "label.setText('')", "label.setText(' – '.join(a))", "x.setText(d['key'])"),
            *("label.setText(getattr(x, 'name'))", "w.say('info', _('Saved'))", "raise ValueError('programmer')"),
            "w.say('info', _('A'), actions=(('stop', _('Stop')),))",
            f"{IN_SLICER}{WITH_ERRORS}raise ImageError(_('A'), remedy=_('Go'), received=name)",
            f"{WITH_ERRORS}raise ImageError('this file knows nothing of Slicer')",
        ],
    ),
    rules.forbidden_import: (
        ["import torch", "from torch.nn import Module", "def f():\n    import threading", "t = qt.QThread()"],
        ["import qt", "from unetseg.messages import Segment", "import torchlike"],
    ),
    rules.not_in_both_versions_of_qt: (
        ["dialog.exec()", "r = qt.QRegExp('a')", "d = qt.QDesktopWidget()", "c.connect('activated(QString)', f)"],
        ["dialog.exec_()", "r = qt.QRegularExpression('a')", "c.connect('currentIndexChanged(int)', f)"],
    ),
    rules.path_passed_to_qt: (
        ["qt.QIcon(folder / 'a.svg')", "def f(path: Path):\n    qt.QUrl(path)", "slicer.util.loadVolume(Path('a'))"],
        ["qt.QIcon(str(folder / 'a.svg'))", "def f(path: str):\n    qt.QUrl(path)", "qt.QSize(width / 2, 3)"],
    ),
}
"""Each rule with code that it must find and code that it must not find."""


def relativeName(path):
    return path.relative_to(MODULE).as_posix()


@functools.cache
def ownSignals():
    """Names of the attributes that hold a ``signal.Signal`` anywhere in the module."""
    assignments = (node for path in FILES for node in rules.nodesOf(treeOf(path), ast.Assign))
    pairs = (pair for node in assignments for pair in zip(partsOf(node.targets[0]), partsOf(node.value), strict=False))
    return {rules.nameOf(target) for target, value in pairs if ast.unparse(value) == "Signal()"}


def partsOf(node):
    """The items of ``a, b``, or the node itself."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


@functools.cache
def treeOf(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_finds_what_is_wrong_and_nothing_else(rule):
    wrong, right = RULES[rule]
    assert [code for code in wrong if not list(rule(ast.parse(code)))] == []
    assert [code for code in right if list(rule(ast.parse(code)))] == []


@pytest.mark.parametrize("path", FILES, ids=relativeName)
def test_the_module_keeps_to_the_rules(path):
    found = []
    for rule in RULES:
        signals = [ownSignals()] if rule == rules.connection_without_signature else []
        nodes = rule(treeOf(path), *signals)
        found += [f"{path.name}:{node.lineno} {rule.__name__}: {ast.unparse(node)}" for node in nodes]
    assert found == []


@pytest.mark.parametrize("path", FILES, ids=relativeName)
def test_the_module_is_python_3_10(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_newer_python_is_found():
    with pytest.raises(SyntaxError):
        ast.parse("try:\n    pass\nexcept* ValueError:\n    pass", feature_version=(3, 10))


def test_own_signals_are_told_from_those_of_qt():
    assert {"changed", "replied"} <= ownSignals()
    tree = ast.parse("logic.changed.connect(f)\nbutton.clicked.connect(f)")
    assert [node.lineno for node in rules.connection_without_signature(tree, {"changed"})] == [2]
