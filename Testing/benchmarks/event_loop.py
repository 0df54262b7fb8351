"""Does the window stay free while a network trains? The longest time that the panel keeps the event loop to itself.

The module runs on the panel host, on a volume of the given size with a segmentation of 25 structures. While a real
training runs in the worker, slices are looked at, painted, confirmed, skipped and taken back by the panel's own
buttons. Every turn of the event loop and every click is timed by the clock, whatever else the computer does then.
A stroke of the brush is Slicer's own work and is timed apart.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["QT_QPA_PLATFORM"] = "offscreen"
TESTING = Path(__file__).resolve().parents[1]
MODULE = TESTING.parent / "UNetSegment" / "UNetSegment.py"
sys.path[:0] = map(str, (TESTING / "slicer" / "host", TESTING / "slicer", TESTING / "fixtures", MODULE.parent))

import host  # noqa: E402

host.start()

import numpy as np  # noqa: E402  (like all below, after the application)
import qt  # noqa: E402
import slicer  # noqa: E402
from radiologist import Radiologist  # noqa: E402

from results import publish  # noqa: E402
from small_models import DOCUMENT, network_of  # noqa: E402
from unetseg.array_file import save_array  # noqa: E402
from unetseg.config import Label, NetworkConfig  # noqa: E402
from unetseg.model_file import Model, save_model  # noqa: E402
from UNetSegmentLib.mrml_adapter import volumeGeometry  # noqa: E402

STRUCTURES = 25
LIMIT_MS = 50.0
STROKE = "a stroke of the brush (Slicer's own work)"
SECONDS_OF_WATCHING = 1.0


class Stopwatch:
    """Milliseconds of every piece of work, by its kind."""

    def __init__(self) -> None:
        self.times_ms: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times_ms[kind].append(1000 * (time.perf_counter() - start))

    def turns(self, kind: str, until: Callable[[], bool]) -> None:
        """Turn the event loop until something has happened, timing every turn."""
        while not until():
            with self.timing(kind):
                slicer.app.processEvents()
            time.sleep(0.001)  # not timed: an idle event loop leaves the processor to others as well

    def longest_ms(self, *, but: str = "") -> float:
        """Of all kinds but one."""
        return max(max(times) for kind, times in self.times_ms.items() if kind != but)

    def rows(self) -> list[list[object]]:
        """Kind, how often, and the 99th percentile and the longest in milliseconds."""
        return [
            [kind, len(times), f"{np.percentile(times, 99):.1f}", f"{max(times):.1f}"]
            for kind, times in self.times_ms.items()
        ]


class User:
    """Works at the panel, with a stopwatch at each click.

    ``shape`` (D, H, W) is that of the volume; its structures are boxes side by side in the middle half of it.
    """

    def __init__(self, widget: Any, shape: tuple[int, int, int], watch: Stopwatch) -> None:
        image = np.random.default_rng(0).integers(-1000, 1000, shape, dtype=np.int16)
        node = slicer.util.addVolumeFromArray(image, name="Volume")
        self.doctor = Radiologist(widget, node, boxes(shape))
        self.logic, self.watch, self.shape = self.doctor.logic, watch, shape

    def click(self, section: str, button: str, kind: str) -> None:
        """Press a button, and time what happens before the event loop goes on."""
        widget = getattr(self.doctor.ui(section), button)
        if not widget.enabled:
            raise RuntimeError(f"{button} is grey: {widget.toolTip}")
        with self.watch.timing(kind):
            widget.click()

    def prepare(self, folder: Path) -> None:
        """A model and its result on the volume, as if it had just been segmented: that alone would take minutes."""
        doctor = self.doctor
        doctor.importModel(small_model(folder / "Model.safetensors", base_channels=8))
        model = doctor.parameters.model
        doctor.importModel(small_model(folder / "Other.safetensors", base_channels=4))
        doctor.parameters.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        self._confirm(0)
        (case,) = self.logic.project.cases()
        geometry = volumeGeometry(doctor.volume)
        save_array(self.logic.project.resultFile(case.id, model), doctor.truth, geometry)
        doctor.useVersion(model)
        if not np.array_equal(doctor.labels(), doctor.truth):
            raise RuntimeError(f"the prepared segmentation is not shown: {self.logic.notice}")
        self._confirm(self.shape[0] // 2 - 1)

    def train(self, minutes: float) -> None:
        """Press Start, and wait until the first steps of the training are done."""
        retrain = self.doctor.ui("retrain")
        retrain.minutesRadio.click()
        retrain.minutesSpinBox.setValue(minutes)
        self.doctor.settle()
        self.click("retrain", "trainButton", "a click on Start")
        self.watch.turns("turns from Start to the first step", lambda: bool(self.logic.curve) or self.logic.job is None)

    def work(self, rounds: int) -> None:
        """Paint, confirm, look, skip and take back while the training goes on."""
        for number in range(rounds):
            seen = len(self.logic.curve)
            axis = number % 3
            index = self.shape[axis] // 2 + number
            self._paint(axis, index)
            self._watch(lambda axis=axis, index=index: self._state(axis, index) == "EDITED")
            self.click("correct", f"confirm{('Red', 'Green', 'Yellow')[axis]}Button", "a click on This slice is right")
            self._watch(lambda axis=axis, index=index: self._state(axis, index) == "CONFIRMED")
            self.click("correct", "nextButton", "a click on Next slice")
            self.click("correct", "skipButton", "a click on Skip")
            self._watch_for(SECONDS_OF_WATCHING)
            if number % 2:
                self._take_back(axis, index)
            self._watch(lambda seen=seen: len(self.logic.curve) > seen)

    def abort(self) -> None:
        self.click("retrain", "abortButton", "a click on Abort")
        self.watch.turns("turns from Abort to the end", lambda: self.logic.job is None)

    def _confirm(self, index: int) -> None:
        self.logic.jumpTo(0, index)
        self.doctor.confirm(0, index)

    def _paint(self, axis: int, index: int) -> None:
        """One stroke that gives everything on a slice to a single structure."""
        doctor = self.doctor
        with self.watch.timing("a jump to a slice"):
            self.logic.jumpTo(axis, index)
        mask = np.zeros(self.shape, bool)
        plane: list[Any] = [slice(None)] * 3
        plane[axis] = index
        mask[tuple(plane)] = doctor.truth[tuple(plane)] > 0
        doctor.editor.setCurrentSegmentID("UNetSegment_1")
        with self.watch.timing(STROKE):
            doctor.editor.paintArray(mask, "Add")

    def _take_back(self, axis: int, index: int) -> None:
        """Select a slice in the table and press Remove."""
        table = self.doctor.ui("correct").sliceTable
        table.selectRow([(row.axis, row.index) for row in self.logic.rows].index((axis, index)))
        self.click("correct", "removeButton", "a click on Remove")

    def _state(self, axis: int, index: int) -> str:
        states = [row.state.name for row in self.logic.rows if (row.axis, row.index) == (axis, index)]
        return states[0] if states else ""

    def _watch_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._watch(lambda: time.monotonic() > end)

    def _watch(self, until: Callable[[], bool]) -> None:
        """Turn the event loop; the training must last longer than that."""

        def ended() -> bool:
            if self.logic.job is None or self.logic.job.kind != "train":
                raise RuntimeError(f"the training ended too early: {self.logic.notice}")
            return until()

        self.watch.turns("turns while training", ended)


def boxes(shape: tuple[int, int, int]) -> np.ndarray:
    """All structures side by side along W, in the middle half of the volume."""
    array = np.zeros(shape, np.uint8)
    depth, height, width = shape
    edges = np.linspace(width // 4, 3 * width // 4, STRUCTURES + 1).astype(int)
    for value, (start, stop) in enumerate(itertools.pairwise(edges), start=1):
        array[depth // 4 : 3 * depth // 4, height // 4 : 3 * height // 4, start:stop] = value
    return array


def small_model(path: Path, *, base_channels: int) -> Path:
    """An untrained 2D U-Net for all structures."""
    names = ("background", *(f"Structure {number}" for number in range(1, STRUCTURES + 1)))
    labels = tuple(Label(value, name, (200, 9 * value, 60)) for value, name in enumerate(names))
    network = NetworkConfig("unet_2d", 1, len(labels), {"base_channels": base_channels, "depth": 3, "norm": "batch"})
    first_channel = DOCUMENT.plan.normalisation[:1]
    plan = replace(
        DOCUMENT.plan, dimensions=2, spacing_mm=(0.0, 1.0, 1.0), patch_size=(1, 256, 256), normalisation=first_channel
    )
    document = replace(DOCUMENT, network=network, labels=labels, plan=plan)
    save_model(path, Model(document, network_of(document).eval()))
    return path


def main(arguments: argparse.Namespace, folder: Path) -> None:
    """``folder`` is an empty one for the model and the module's project."""
    shape, watch = tuple(arguments.shape), Stopwatch()
    qt.QSettings().setValue("UNetSegment/projectFolder", str(folder / "project"))
    _module, widget = host.loadModule(MODULE)
    host.enter(widget)
    try:
        user = User(widget, shape, watch)
        user.prepare(folder)
        user.train(arguments.minutes)
        user.work(arguments.rounds)
        user.abort()
    finally:
        host.exit(widget)
        host.close(widget)
    worst = watch.longest_ms(but=STROKE)
    publish(
        f"Event loop while training, {' × '.join(map(str, shape))} voxels, {STRUCTURES} structures",
        ["what the window does", "times", "99 % take at most ms", "longest ms"],
        watch.rows(),
        notes=[f"Longest time that UNetSegment blocks the window: {worst:.1f} ms (limit {LIMIT_MS:.0f} ms)."],
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), help="voxels along D, H, W")
    options.add_argument("--rounds", type=int, default=12, help="how many slices are painted and confirmed")
    options.add_argument("--minutes", type=float, default=60.0, help="budget of the training; it is aborted at the end")
    with tempfile.TemporaryDirectory() as temporary:
        qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, temporary)
        main(options.parse_args(), Path(temporary))
