"""Runs a panel without Slicer: real MRML of slicer-core, real Qt of PySide6, and stand-ins for what both lack.

    import host
    host.start()
    module, widget = host.loadModule("UNetSegment/UNetSegment.py")
    host.enter(widget)

Where this differs from Slicer, Slicer is right. What it cannot show: mouse and keyboard in the views, the options of
the effects, the main window, menus, translations.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pqt

qt = pqt.install()

import slicer  # noqa: E402  (like everything after it, it needs qt)

LOGICS = {
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "plots": "vtkSlicerPlotsLogic",
    "tables": "vtkSlicerTablesLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "models": "vtkSlicerModelsLogic",
    "transforms": "vtkSlicerTransformLogic",
}
PANEL_WIDTH = 480


class Module(types.SimpleNamespace):
    """``slicer.modules.<name>``."""


def start() -> Any:
    """Create the application and complete the packages ``slicer`` and ``ctk``; returns ``slicer.app``.

    Calling it again returns the application there is.
    """
    if hasattr(slicer, "app"):
        return slicer.app
    slicer.__path__.append(str(Path(__file__).with_name("slicer_files")))
    _addModule("ctk", "ctk_widgets", "ctk")
    import ui_loader
    from application import qSlicerApplication

    qt.QUiLoader = ui_loader.QUiLoader
    slicer.app = qSlicerApplication()
    slicer.mrmlScene = slicer.app.mrmlScene()
    for name in ("modules", "moduleNames"):
        setattr(slicer, name, types.ModuleType(f"slicer.{name}"))
        sys.modules[f"slicer.{name}"] = getattr(slicer, name)
    for name, className in LOGICS.items():
        _addLogic(name, getattr(slicer, className)())
    for name in ("mrml_widgets", "segments_table", "segment_editor", "plot_view"):
        module = importlib.import_module(name)
        vars(slicer).update({key: value for key, value in vars(module).items() if key.startswith("qMRML")})
    sys.modules["SampleData"] = _sampleData()
    return slicer.app


class ModuleWidget(qt.QWidget):
    """The panel around a scripted module's widget (``qSlicerScriptedLoadableModuleWidget``)."""

    isEntered = False

    def __init__(self, moduleName: str) -> None:
        super().__init__()
        self.moduleName = moduleName
        qt.QVBoxLayout(self)

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def reload(self) -> None:
        """Make the widget of the module as it is loaded now; ``slicer.util.reloadScriptedModule`` calls this."""
        className = self.moduleName + "Widget"
        self._self = getattr(sys.modules[self.moduleName], className)(self)
        setattr(slicer.modules, className, self._self)
        self._self.setup()

    def self(self) -> Any:
        return self._self


def loadModule(path: str | Path) -> tuple[types.ModuleType, Any]:
    """What Slicer does with a scripted module at its start and when its panel is first opened.

    Returns the Python module and its widget, after ``setup()`` and before ``enter()``.
    """
    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parent = Module(name=name, path=str(path), hidden=False)
    setattr(slicer.modules, name + "Instance", getattr(module, name)(parent))
    setattr(slicer.moduleNames, name, name)
    slicer.app.startupCompleted.emit()
    panel = ModuleWidget(name)
    parent.widgetRepresentation = lambda: panel
    setattr(slicer.modules, name.lower(), parent)
    panel.reload()
    return module, panel.self()


def enter(widget: Any) -> None:
    """The user switches to the module; Slicer calls ``enter()`` only if there is one."""
    widget.parent.isEntered = True
    if hasattr(widget, "enter"):
        widget.enter()


def exit(widget: Any) -> None:
    """The user switches to another module."""
    widget.parent.isEntered = False
    if hasattr(widget, "exit"):
        widget.exit()


def close(widget: Any) -> None:
    """The module is about to be unloaded, as when Slicer ends."""
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(widget.moduleName)


def screenshot(widget: Any, path: str | Path, width: int = 1280, height: int = 800) -> None:
    """Write a picture of the panel with the four views beside it, as on the user's screen."""
    panel = widget.parent
    panel.resize(PANEL_WIDTH, height)
    panel.show()
    slicer.app.processEvents()
    picture = qt.QImage(width, height, qt.QImage.Format_RGB32)
    painter = qt.QPainter(picture)
    painter.drawPixmap(0, 0, panel.grab())
    painter.drawImage(PANEL_WIDTH, 0, slicer.app.layoutManager().grab(width - PANEL_WIDTH, height))
    painter.end()
    if not picture.save(str(path)):
        raise OSError(f"cannot write the picture {path}")


def _addModule(name: str, source: str, prefix: str) -> None:
    module = types.ModuleType(name)
    contents = vars(importlib.import_module(source))
    vars(module).update({key: value for key, value in contents.items() if key.startswith(prefix)})
    sys.modules[name] = module


def _addLogic(name: str, logic: Any) -> None:
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(slicer.mrmlScene)
    slicer.app.applicationLogic().SetModuleLogic(name.capitalize(), logic)
    setattr(slicer.modules, name, Module(name=name, logic=lambda: logic))


def _sampleData() -> types.ModuleType:
    """The module SampleData; what is registered is in its ``sources`` and ``categories``."""
    module = types.ModuleType("SampleData")
    module.sources, module.categories = [], []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**source: Any) -> None:
            module.sources.append(source)

        @staticmethod
        def registerCustomSampleDataCategory(name: str, **category: Any) -> None:
            module.categories.append({"name": name, **category})

    module.SampleDataLogic = SampleDataLogic
    return module
