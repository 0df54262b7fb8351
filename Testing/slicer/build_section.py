"""One section of the panel alone, on its own .ui file, with a fake logic behind it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import slicer
from fake_logic import FakeLogic

from UNetSegmentLib.parameters import Parameters
from UNetSegmentLib.sections.guard import makeGuard

UI_FOLDER = Path(__file__).resolve().parents[2] / "UNetSegment" / "Resources" / "UI"


def buildSection(kind: type, name: str) -> SimpleNamespace:
    """``root``, ``ui``, ``logic``, ``section`` as the panel makes them, connected to a parameter node and shown."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    logic = FakeLogic(Parameters(node))
    root = slicer.util.loadUI(str(UI_FOLDER / f"{name}.ui"))
    ui = slicer.util.childWidgetVariables(root)
    section = kind(ui, logic, makeGuard(logic))
    root.setMRMLScene(slicer.mrmlScene)
    logic.parameters.connectGui(ui)
    logic.changed.connect(section.refresh)
    section.refresh()
    root.resize(380, 10)
    root.show()
    return SimpleNamespace(root=root, ui=ui, logic=logic, section=section)
