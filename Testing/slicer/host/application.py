"""``slicer.app``: a QApplication with the application logic, the scene and the managers that modules ask for."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from file_io import CoreIOManager
from layout import LayoutManager
from PySide6.QtCore import Property, Signal

LIGHT, DARK = ("#f0f0f0", "#ffffff", "#000000", "#808080"), ("#353535", "#232323", "#f0f0f0", "#808080")
"""Background, background of inputs, text, text that is greyed out."""


class qSlicerModuleManager(qt.QObject):
    moduleAboutToBeUnloaded = Signal(str)


class ExtensionsManagerModel:
    """No extension is installed, and none can be."""

    def isExtensionInstalled(self, name: str) -> bool:
        return False

    def installExtensionFromServer(self, name: str) -> bool:
        return False


class qSlicerApplication(qt.QApplication):
    """Runs as in testing mode, in which Slicer shows no modal dialogs."""

    startupCompleted = Signal()
    majorVersion, minorVersion = Property(int, lambda self: 5), Property(int, lambda self: 13)
    majorVersion, minorVersion = Property(int, lambda self: 5), Property(int, lambda self: 13)

    def __init__(self) -> None:
        super().__init__(["Slicer"])
        self.setOrganizationName("UNetSegment")
        self.setApplicationName("PanelHost")
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        self.setStyle("Fusion")
        self.useColors(LIGHT)
        self._scene, self._logic = _sceneAndLogic()
        self._moduleManager, self._ioManager = qSlicerModuleManager(), CoreIOManager()
        self._layoutManager = LayoutManager(self._logic, self._scene)
        self._extensionsManagerModel = ExtensionsManagerModel()

    def useColors(self, colors: tuple[str, str, str, str]) -> None:
        """``LIGHT`` or ``DARK``, as the user chooses in Slicer's settings."""
        window, base, text, grey = (qt.QColor(color) for color in colors)
        palette = qt.QPalette(window)
        palette.setColor(qt.QPalette.Base, base)
        for role in (qt.QPalette.WindowText, qt.QPalette.Text, qt.QPalette.ButtonText):
            palette.setColor(qt.QPalette.Active, role, text)
            palette.setColor(qt.QPalette.Inactive, role, text)
            palette.setColor(qt.QPalette.Disabled, role, grey)
        self.setPalette(palette)

    def mrmlScene(self) -> Any:
        return self._scene

    def applicationLogic(self) -> Any:
        return self._logic

    def moduleManager(self) -> qSlicerModuleManager:
        return self._moduleManager

    def layoutManager(self) -> LayoutManager:
        return self._layoutManager

    def coreIOManager(self) -> CoreIOManager:
        return self._ioManager

    def extensionsManagerModel(self) -> ExtensionsManagerModel:
        return self._extensionsManagerModel

    def startupEnvironment(self) -> Any:
        return qt.QProcessEnvironment.systemEnvironment()

    def testingEnabled(self) -> bool:
        return True

    def pauseRender(self) -> None:
        """Nothing is drawn until a screenshot asks for it."""

    def resumeRender(self) -> None:
        """See ``pauseRender``."""


def _sceneAndLogic() -> tuple[Any, Any]:
    """A scene with the nodes and managers that Slicer gives it at its start."""
    scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    dataIO = slicer.vtkDataIOManager()
    dataIO.SetCacheManager(slicer.vtkCacheManager())
    scene.SetDataIOManager(dataIO)
    colors = logic.GetColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    logic.SetModuleLogic("Colors", colors)
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    scene.AddNode(slicer.vtkMRMLCrosshairNode())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return scene, logic
