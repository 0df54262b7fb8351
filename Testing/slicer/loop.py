"""The whole panel on the real logic, with ``fixtures/fake_worker.py`` chosen as the Python for computation.

A test gets it as ``loop``, opened; a file whose tests all begin alike makes a fixture of that name from it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import host
import numpy as np
import qt
import slicer
from nodes import addVolume
from numpy.typing import NDArray

from fake_worker import predict, save_model, set_mode, start_command
from unetseg.config import Label
from unetseg.labelled_slices import LabelledSlice, load_slices
from unetseg.messages import Request, Segment, Train
from unetseg.protocol import decode
from UNetSegmentLib.corrections import SliceState
from UNetSegmentLib.state import Notice
from UNetSegmentLib.versions import Version, utcNow

MODULE = Path(__file__).resolve().parents[2] / "UNetSegment" / "UNetSegment.py"
SECONDS_TO_WAIT = 30.0
SHAPE = (6, 9, 8)
THRESHOLDS = (100, 150)
LABELS = (Label(0, "Background", (0, 0, 0)), Label(1, "Liver", (200, 90, 60)), Label(2, "Spleen", (60, 90, 200)))
PATIENT = "Doe^Jane 1957-03-14"
"""Name of the volume: it must never leave the computer in a report."""
_CURVE = ("vtkMRMLPlot", "vtkMRMLTable")


def image(seed: int = 0) -> NDArray[np.int16]:
    """Grey values from 0 to 199 without any order, so that no two voxels or slices are alike by chance."""
    return np.random.default_rng(seed).integers(0, 200, SHAPE).astype(np.int16)


class Loop:
    """The module, its project in a temporary folder, and everything that the user was told.

    Attributes:
        widget: of the module; another one after ``reload``.
        notices: every message that was shown, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: list[Notice] = []
        settings = qt.QSettings()
        settings.setValue("UNetSegment/projectFolder", str(folder / "project"))
        settings.setValue("UNetSegment/pythonPath", str(start_command(folder)))

    def open(self) -> None:
        """Slicer starts, and the user opens the module."""
        _module, widget = host.loadModule(MODULE)
        self.follow(widget)
        host.enter(widget)

    def follow(self, widget: Any) -> None:
        """Listen to another widget of the module."""
        self.widget, self._shown = widget, None
        self.logic.changed.connect(self._onChanged)

    def close(self) -> None:
        """Slicer ends."""
        host.exit(self.widget)
        host.close(self.widget)

    # ---- what a user does ----

    @property
    def logic(self) -> Any:
        return self.widget.logic.segmentation

    @property
    def parameters(self) -> Any:
        return self.logic.parameters

    @property
    def editor(self) -> Any:
        return self.widget.panel.sections["correct"].editor.widget

    def ui(self, section: str) -> Any:
        return self.widget.panel.uis[section]

    def press(self, section: str, button: str) -> None:
        """Click a button that is not grey, and go on at once."""
        slicer.app.processEvents()
        widget = getattr(self.ui(section), button)
        assert widget.enabled, f"{button} is grey: {widget.toolTip}"
        widget.click()

    def pressAction(self, code: str) -> None:
        """Click a button of the message."""
        slicer.app.processEvents()
        title = dict(self.logic.notice.actions)[code]
        buttons = self.ui("notice").noticeFrame.findChildren(qt.QPushButton)
        next(button for button in buttons if button.text == title and not button.isHidden()).click()

    def settle(self) -> None:
        """Wait until nothing is on its way any more."""
        slicer.app.processEvents()
        self.logic.wait(SECONDS_TO_WAIT)
        slicer.app.processEvents()

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + SECONDS_TO_WAIT
        while not condition():
            slicer.app.processEvents()
            time.sleep(0.002)
            assert time.monotonic() < end, "it has not come"

    def begin(self) -> None:
        """A volume is segmented, slice 2 corrected and confirmed, and slice 4 painted and not confirmed yet."""
        self.addVersion()
        self.addVolume()
        self.segment()
        self.paintSlice(0, 2)
        self.confirm(0, 2)
        self.paintSlice(0, 4)
        self.settle()

    def addVersion(self, thresholds: tuple[int, ...] = THRESHOLDS) -> Version:
        """A model in the project, which becomes the chosen one."""
        model = self.folder / "model.safetensors"
        save_model(model, thresholds)
        version = self.logic.project.add(model, Version("", "Organs", "own", utcNow(), labels=LABELS))
        self.parameters.model = version.id
        return version

    def addVolume(self, seed: int = 0, name: str = PATIENT) -> Any:
        """A volume in the scene, which becomes the chosen one."""
        self.parameters.volume = addVolume(image(seed), name=name)
        self.parameters.segmentation = None
        return self.parameters.volume

    def segment(self) -> None:
        self.press("segment", "applyButton")
        self.settle()

    def start(self, kind: str) -> None:
        """Press Apply (``segment``) or Start (``train``), and go on once the worker is at it."""
        before = len(self.requests())
        self.press(*{"segment": ("segment", "applyButton"), "train": ("retrain", "trainButton")}[kind])
        self.until(lambda: len(self.requests()) > before)

    def paint(self, value: int, mask: NDArray[np.bool_]) -> None:
        """One stroke with a structure."""
        self.editor.setCurrentSegmentID(f"UNetSegment_{value}")
        self.editor.paintArray(mask, "Add")

    def paintSlice(self, axis: int, index: int, value: int = 2) -> None:
        """Paint a whole slice with one structure."""
        mask = np.zeros(SHAPE, bool)
        mask[plane(axis, index)] = True
        self.paint(value, mask)

    def confirm(self, axis: int, index: int) -> None:
        """Jump to a slice and press its “This slice is right”."""
        self.settle()
        self.logic.jumpTo(axis, index)
        self.press("correct", f"confirm{('Red', 'Green', 'Yellow')[axis]}Button")
        self.settle()

    # ---- what the worker does ----

    def mode(self, mode: str) -> None:
        """What the worker does from now on: see ``fake_worker``."""
        set_mode(self.folder, mode)

    def releaseWorker(self) -> None:
        """As after minutes without work: the next request starts another process."""
        self.logic._workspace.worker.shutdown()
        self.until(lambda: not self.processes())

    def processes(self) -> list[int]:
        """Workers that live, also those that are stopped."""
        pids = (self.folder / "pids").read_text().split() if (self.folder / "pids").exists() else []
        return [int(pid) for pid in pids if _lives(int(pid))]

    def frozen(self) -> bool:
        """Whether a worker is stopped, as by SIGSTOP."""
        states = [_ps(pid) for pid in self.processes()]
        return any(state.startswith("T") for state in states)

    def requests(self, kind: type[Request] = Segment | Train) -> list[Request]:
        """Every Segment and Train that a worker has begun."""
        path = self.folder / "requests"
        found = map(decode, path.read_text().splitlines()) if path.exists() else ()
        return [request for request in found if isinstance(request, kind)]

    # ---- what there is to see ----

    def labels(self) -> NDArray[np.uint8]:
        return self.logic.labels()

    def states(self) -> dict[tuple[int, int], SliceState]:
        """State by (axis, index) of the table's slices, without the one that is only suggested."""
        rows = (row for row in self.logic.rows if row.state != SliceState.SUGGESTED)
        return {(row.axis, row.index): row.state for row in rows}

    def jobFolders(self) -> list[Path]:
        return [job for job in (self.folder / "project" / "jobs").glob("*/*") if job.is_dir()]

    def storedSlices(self) -> dict[tuple[int, int], LabelledSlice]:
        """The confirmed slices in the project's folder, of all its cases."""
        stored = [load_slices(path)[1] for path in (self.folder / "project" / "cases").glob("*/slices.json")]
        return {(taken.axis, taken.index): taken for slices in stored for taken in slices}

    def _onChanged(self) -> None:
        notice = self.logic.notice
        if notice is not None and notice != self._shown:
            self.notices.append(notice)
        self._shown = notice


@contextlib.contextmanager
def opened(folder: Path, mode: str = "healthy") -> Iterator[Loop]:
    """The module opened on an empty scene; afterwards it is closed, and no process or observer may be left."""
    before = observers(*_watched())
    loop = Loop(folder)
    loop.mode(mode)
    loop.open()
    try:
        loop.until(lambda: loop.logic.capabilities or loop.notices)
        slicer.app.processEvents()
        yield loop
        loop.close()
        assert not loop.processes()
        assert observers(*_watched()) == before
        assert not any(each.Observations for each in (loop.widget, loop.logic, loop.logic._correcting))
    finally:
        for pid in loop.processes():
            os.kill(pid, 9)


def predicted(seed: int = 0, thresholds: tuple[int, ...] = THRESHOLDS) -> NDArray[np.uint8]:
    """What the worker makes of ``image(seed)``."""
    return predict(image(seed), thresholds)


def plane(axis: int, index: int) -> tuple[Any, ...]:
    """What takes a slice out of an array."""
    taken: list[Any] = [slice(None)] * 3
    taken[axis] = index
    return tuple(taken)


def nodeIds() -> set[str]:
    """Of every node in the scene, but for the curve of the last training, which the panel shows."""
    scene = slicer.mrmlScene
    nodes = (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))
    return {node.GetID() for node in nodes if not node.GetClassName().startswith(_CURVE)}


def observers(*objects: Any) -> int:
    """How many observers VTK objects have, by what they print about themselves."""
    return sum(str(each).count("EventName: ") for each in objects)


def _watched() -> list[Any]:
    scene = slicer.mrmlScene
    return [scene, *(scene.GetFirstNodeByName(view) for view in ("Red", "Green", "Yellow"))]


def _ps(pid: int) -> str:
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
