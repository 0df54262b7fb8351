"""Rules for the module's code: what PythonQt cannot do, or does in silence, and what must not run inside Slicer.

A rule is a function that yields the nodes of a syntax tree that break it. It knows no types and goes by names.
"""

import ast
import re

PROPERTIES = {
    *("text", "value", "checked", "checkable", "enabled", "visible", "title", "toolTip", "windowTitle", "objectName"),
    *("currentText", "currentIndex", "currentPath", "currentNodeID", "currentRow", "currentColor", "currentData"),
    *("count", "rowCount", "columnCount", "size", "width", "height", "pos", "x", "y", "geometry", "rect", "font"),
    *("minimum", "maximum", "minimumWidth", "maximumWidth", "minimumHeight", "maximumHeight", "singleStep", "decimals"),
    *("suffix", "prefix", "interval", "singleShot", "active", "collapsed", "directory", "readOnly", "styleSheet"),
    *("placeholderText", "statusTip", "icon", "iconSize", "shortcut", "pixmap", "plainText", "html", "orientation"),
    *("nodeTypes", "noneEnabled", "addEnabled", "removeEnabled", "checkState", "tristate", "modal", "fullScreen"),
}
VALUES = {"size", "geometry", "rect", "pos", "font", "icon", "pixmap", "iconSize", "fontMetrics"}
"""What they give is no widget and has methods: ``widget.size.width()`` is right."""

WIDGET_WORDS = "widget|button|edit|label|box|selector|chooser|slider|table|editor|view|layout|timer|menu|action|panel"
WIDGET_NAME = re.compile(rf"(?:^|_)(?:{WIDGET_WORDS}|ui|sender)$|[a-z0-9](?:{WIDGET_WORDS.title()})$")
SIGNATURE = re.compile(r"\w+\((?:[\w:]+[*&]?(?:,[\w:]+[*&]?)*)?\)")

NOT_IN_QT_6 = {"QRegExp", "QRegExpValidator", "QTextCodec", "QDesktopWidget", "QStringRef", "QMatrix", "QSignalMapper"}
SIGNATURES_NOT_IN_QT_6 = {
    *("currentIndexChanged(QString)", "activated(QString)", "highlighted(QString)"),
    *("valueChanged(QString)", "buttonClicked(int)"),
}
NOT_INSIDE_SLICER = {"torch", "safetensors", "threading", "_thread", "concurrent", "multiprocessing", "asyncio"}
THREADS_OF_QT = {"QThread", "QThreadPool", "QRunnable", "QtConcurrent"}

TEXT_ATTRIBUTES = {"text", "toolTip", "title", "windowTitle", "placeholderText", "statusTip", "suffix", "prefix"}
TEXT_FUNCTIONS = {
    *("setText", "setToolTip", "setTitle", "setWindowTitle", "setPlaceholderText", "setStatusTip", "setWhatsThis"),
    *("setInformativeText", "setDetailedText", "setPrefix", "setSuffix", "setLabelText", "setFormat", "setPlainText"),
    *("addItem", "addItems", "insertItem", "addTab", "addRow", "addAction", "addButton", "addMenu", "setTabText"),
    *("setHorizontalHeaderLabels", "setVerticalHeaderLabels", "setItemText", "setHeaderLabels", "showMessage"),
    *("QPushButton", "QToolButton", "QLabel", "QAction", "QMenu", "QCheckBox", "QRadioButton", "QGroupBox"),
    *("QTableWidgetItem", "QListWidgetItem", "QTreeWidgetItem", "QMessageBox", "ctkMessageBox"),
    *("critical", "warning", "information", "question", "getText", "getItem", "getOpenFileName", "getSaveFileName"),
    *("errorDisplay", "infoDisplay", "warningDisplay", "confirmOkCancelDisplay", "tryWithErrorDisplay", "say"),
}
NOT_FOR_TRANSLATION = {"error", "warning", "info", "PyTorch"}
"""Kinds of notices, and names that are the same in every language."""


def nodesOf(tree, *kinds):
    """All nodes below ``tree`` that are of one of the kinds."""
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def nameOf(node):
    """The last name of ``a.b.c`` or ``a.b.c(…)``; empty for anything else."""
    return nameOf(node.func) if isinstance(node, ast.Call) else getattr(node, "attr", getattr(node, "id", ""))


def rootOf(node):
    """The first name of ``a.b.c`` or ``a.b(…).c``; empty for anything else."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", "")


def callsOf(tree, *names):
    """All calls of functions and methods of these names."""
    return (call for call in nodesOf(tree, ast.Call) if nameOf(call) in names)


def importsOf(tree):
    """(name of the module, node) of every import; the name is empty for ``from . import a``."""
    for node in nodesOf(tree, ast.Import, ast.ImportFrom):
        for name in [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]:
            yield name, node


def ofSlicersWidgets(node):
    return rootOf(node) == "ctk" or nameOf(node).startswith(("ctk", "qMRML", "qSlicer"))


def ofQt(node):
    return rootOf(node) == "qt" or ofSlicersWidgets(node)


def qt_signal_in_python(tree):
    """It crashes PythonQt; ``signal.Signal`` takes its place."""
    for node in nodesOf(tree, ast.Attribute):
        if rootOf(node) == "qt" and node.attr in {"Signal", "Slot", "Property", "pyqtSignal"}:
            yield node
    yield from (node for module, node in importsOf(tree) if module.startswith(("PySide", "PyQt")))


def subclass_of_slicer_widget(tree):
    """Classes of ctk and Slicer have no shells: a virtual method that Python overrides is never called."""
    for node in nodesOf(tree, ast.ClassDef):
        if any(ofSlicersWidgets(base) for base in node.bases):
            yield node


def multiple_inheritance_with_qt(tree):
    """PythonQt supports a single Qt class as the only base."""
    for node in nodesOf(tree, ast.ClassDef):
        if len(node.bases) > 1 and any(ofQt(base) for base in node.bases):
            yield node


def identity_of_widgets(tree):
    """Each access makes another wrapper of the same widget: ``==`` compares them."""
    for node in nodesOf(tree, ast.Compare):
        sides = [node.left, *node.comparators]
        constant = any(isinstance(side, ast.Constant) for side in sides)
        if any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops) and not constant:
            parts = [part for side in sides for part in nodesOf(side, ast.Attribute, ast.Name)]
            if any(WIDGET_NAME.search(nameOf(part)) for part in parts):
                yield node


def property_called_as_method(tree):
    """In PythonQt a property is an attribute; calling its value raises. Items of tables and lists have methods."""
    modules = {name for name, _node in importsOf(tree)}
    for call in nodesOf(tree, ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr in PROPERTIES and not (call.args or call.keywords):
            owner = nameOf(call.func.value)
            if owner not in VALUES | modules and not owner.lower().endswith("item"):
                yield call


def default_arguments_in_connect(tree):
    """PythonQt counts default arguments as arguments of the slot and fills them with those of the signal."""
    for call in callsOf(tree, "connect"):
        for function in nodesOf(call, ast.Lambda):
            if function.args.defaults or any(function.args.kw_defaults):
                yield function


def connection_without_signature(tree, signals=frozenset()):
    """A wrong signature is only printed; ``object.signal.connect`` picks an overload. Own ``signals`` are right."""
    for call in callsOf(tree, "connect", "disconnect"):
        own = len(call.args) == 1 and nameOf(call.func.value) in signals
        signature = getattr(call.args[0], "value", None) if len(call.args) == 2 else None
        if not own and not (isinstance(signature, str) and SIGNATURE.fullmatch(signature)):
            yield call


def text_that_nobody_can_translate(tree):
    """``_`` looks up its argument, which must therefore be the text in the source, before anything is put into it."""
    for call in callsOf(tree, "_"):
        if len(call.args) != 1 or not isinstance(getattr(call.args[0], "value", None), str):
            yield call


def text_without_translation(tree):
    """Literal words that reach the user by a setter, a message or, in files that know Slicer, an error."""
    errors = {
        alias.name
        for node in nodesOf(tree, ast.ImportFrom)
        if node.module == "unetseg.errors" and any(module == "slicer.i18n" for module, _node in importsOf(tree))
        for alias in node.names
    }
    for node in nodesOf(tree, ast.Assign):
        if any(isinstance(target, ast.Attribute) and target.attr in TEXT_ATTRIBUTES for target in node.targets):
            yield from literals(node.value)
    for call in callsOf(tree, *TEXT_FUNCTIONS, *errors):
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
            yield from literals(argument)


def literals(node):
    """The words in an expression that becomes a text, apart from what is translated or looked up."""
    if isinstance(node, ast.Constant):
        words = isinstance(node.value, str) and re.search("[A-Za-z]{2}", node.value)
        if words and node.value not in NOT_FOR_TRANSLATION:
            yield node
    elif isinstance(node, ast.Call) and nameOf(node) in {"format", "join"}:
        for part in [node.func.value, *node.args, *(keyword.value for keyword in node.keywords)]:
            yield from literals(part)
    elif isinstance(node, ast.IfExp):
        yield from [*literals(node.body), *literals(node.orelse)]
    elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
        yield from literals(node.elts[1])  # (code, title) of a choice
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.JoinedStr | ast.List | ast.Tuple | ast.Starred):
        for part in ast.iter_child_nodes(node):
            yield from literals(part)


def forbidden_import(tree):
    """torch belongs to the worker; a thread starves in Slicer, whose event loop holds Python's lock."""
    yield from (node for module, node in importsOf(tree) if module.partition(".")[0] in NOT_INSIDE_SLICER)
    for node in nodesOf(tree, ast.Attribute):
        if rootOf(node) == "qt" and node.attr in THREADS_OF_QT:
            yield node


def not_in_both_versions_of_qt(tree):
    """What Qt 6 has no more; and ``exec``, which PythonQt spells ``exec_``."""
    yield from (node for node in nodesOf(tree, ast.Attribute) if node.attr in NOT_IN_QT_6 | {"exec"})
    yield from (node for node in nodesOf(tree, ast.Constant) if node.value in SIGNATURES_NOT_IN_QT_6)


def path_passed_to_qt(tree):
    """PythonQt does not convert ``pathlib.Path``."""
    for function in nodesOf(tree, ast.Module, ast.FunctionDef):
        arguments = function.args.args + function.args.kwonlyargs if isinstance(function, ast.FunctionDef) else []
        paths = {argument.arg for argument in arguments if nameOf(argument.annotation) == "Path"}
        for call in nodesOf(function, ast.Call):
            if ofQt(call.func) or ast.unparse(call.func).startswith("slicer.util."):
                yield from (argument for argument in call.args if isPath(argument, paths))


def isPath(node, names):
    """Whether an expression looks like a ``Path``: one of ``names``, made by ``Path``, or divided by a text."""
    quotient = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    divisor = getattr(node.right, "value", None) if quotient else None
    return nameOf(node) in names | {"Path", "with_name", "with_suffix"} or isinstance(divisor, str)
