"""What every test of the Slicer module may use: an application, an empty scene, and no error that a slot swallowed."""

from __future__ import annotations

import functools
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["QT_QPA_PLATFORM"] = "offscreen"

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
MODULE_FOLDER = REPOSITORY / "UNetSegment"

for _folder in (REPOSITORY / "trainer", MODULE_FOLDER, HERE, HERE / "host"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))


@functools.cache
def _reason_to_skip() -> str:
    """Start the panel host, which test files import from (``qt``, ``slicer.i18n`` …); why not, where it cannot run."""
    try:
        import PySide6.QtGui  # noqa: F401  (links libEGL and libGL)
        import slicer  # noqa: F401  (of slicer-core)
    except ModuleNotFoundError as error:
        return f"slicer-core and PySide6-Essentials are needed, which make setup installs: no module {error.name}"
    except ImportError as error:
        return f"a system library is missing, which make setup installs or names: {error}"
    import host

    host.start()
    return ""


class _SkippedModule(pytest.Module):
    def collect(self) -> list[pytest.Item]:
        pytest.skip(_reason_to_skip())


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """A test file is not even imported where the host cannot run."""
    return _SkippedModule.from_parent(parent, path=module_path) if _reason_to_skip() else None


@pytest.fixture(scope="session")
def slicerApp(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The application, one a process; its settings are in a temporary folder."""
    import qt
    import slicer

    qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, str(tmp_path_factory.mktemp("settings")))
    return slicer.app


@pytest.fixture
def scene(slicerApp: Any) -> Iterator[Any]:
    """``slicer.mrmlScene``, cleared before and after the test; the settings are empty too."""
    import qt
    import slicer

    qt.QSettings().clear()
    _clear(slicer.mrmlScene)
    yield slicer.mrmlScene
    _clear(slicer.mrmlScene)


@pytest.fixture
def loop(scene: Any, tmp_path: Path) -> Iterator[Any]:
    """The module, open, with an empty project and a worker that only pretends: see ``loop.py``."""
    from loop import opened

    with opened(tmp_path) as loop:
        yield loop


@pytest.fixture
def widget(scene: Any, tmp_path: Path) -> Iterator[Any]:
    """The module's widget, open, with an empty project; what it asks for is really computed."""
    import host
    import qt

    qt.QSettings().setValue("UNetSegment/projectFolder", str(tmp_path / "project"))
    _module, widget = host.loadModule(MODULE_FOLDER / "UNetSegment.py")
    host.enter(widget)
    widget.logic.segmentation.parameters.device = "cpu"
    yield widget
    host.exit(widget)
    host.close(widget)


@pytest.fixture(params=["project", "ü #1 100%/mit Leerzeichen"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A project whose folder is still to be made."""
    from UNetSegmentLib.project import Project

    return Project(tmp_path / request.param)


@pytest.fixture
def rereading(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if time passed between any two looks: a test is faster than a file system's time stamps."""
    seconds = itertools.count()
    monkeypatch.setattr(time, "time_ns", lambda: next(seconds) * 10**9)


def _clear(scene: Any) -> None:
    """Closing a scene only resets the nodes in which modules keep their choices, and leaves the views as they are."""
    import slicer
    from layout import ORIENTATIONS

    scene.Clear()
    for name in ("vtkMRMLScriptedModuleNode", "vtkMRMLSegmentEditorNode"):
        for node in slicer.util.getNodesByClass(name):
            scene.RemoveNode(node)
    for name, orientation in ORIENTATIONS.items():
        node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
        node.SetOrientation(orientation)
        node.SetSliceOffset(0.0)


@pytest.fixture(autouse=True)
def noSwallowedError() -> Iterator[None]:
    """Qt and VTK only print what a slot or an observer raises: here it fails the test."""
    import pqt

    pqt.errors.clear()
    yield
    errors, pqt.errors[:] = list(pqt.errors), []
    assert not errors, "\n".join(errors)
