"""Does the window stay free while a network trains? The longest time that the panel keeps the event loop to itself.

The module runs on the panel host with a volume of the given size and 25 structures. A real training runs in the
worker while slices are painted, confirmed and looked at. Every turn of the event loop is timed; so is every click
that confirms a slice. Brush strokes themselves are Slicer's own work and are timed apart.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing" / "slicer" / "host"), str(ROOT / "Testing" / "slicer"), str(ROOT / "UNetSegment")]

import host  # noqa: E402

host.start()

import numpy as np  # noqa: E402
import qt  # noqa: E402
import slicer  # noqa: E402
from radiologist import Radiologist  # noqa: E402

from results import publish  # noqa: E402

STRUCTURES = 25
LIMIT_MS = 50.0


class Stopwatch:
    """The longest and the summed milliseconds of each kind of work."""

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}
        self.count: dict[str, int] = {}

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        taken = 1000 * (time.perf_counter() - start)
        self.longest[kind] = max(self.longest.get(kind, 0.0), taken)
        self.count[kind] = self.count.get(kind, 0) + 1

    def turns(self, kind: str, until: Callable[[], bool]) -> None:
        """Turn the event loop until something has happened, timing every turn."""
        while not until():
            with self.timing(kind):
                slicer.app.processEvents()


def labels(shape: tuple[int, int, int]) -> np.ndarray:
    """Boxes of 25 structures side by side, in the middle half of the volume."""
    array = np.zeros(shape, np.uint8)
    depth, height, width = shape
    edges = np.linspace(width // 4, 3 * width // 4, STRUCTURES + 1).astype(int)
    for value, (start, stop) in enumerate(itertools.pairwise(edges), start=1):
        array[depth // 4 : 3 * depth // 4, height // 4 : 3 * height // 4, start:stop] = value
    return array


def main(arguments: argparse.Namespace) -> None:
    shape = tuple(arguments.shape)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        qt.QSettings().clear()
        qt.QSettings().setValue("UNetSegment/projectFolder", folder)
        widget = host.loadModule(str(ROOT / "UNetSegment" / "UNetSegment.py"))[1]
        host.enter(widget)
        logic = widget.logic.segmentation
        logic.wait()
        truth = labels(shape)
        image = np.random.default_rng(0).integers(-1000, 1000, shape, dtype=np.int16)
        volume = slicer.util.addVolumeFromArray(image, name="Volume")
        doctor = Radiologist(widget, volume, truth)
        logic.parameters.structures = ", ".join(f"Structure {n}" for n in range(1, STRUCTURES + 1))
        logic.parameters.model = "new:unet_2d"
        doctor.segment()
        paint(doctor, 0, shape[0] // 2 - 2)
        doctor.settle()
        confirm(doctor, watch, 0, shape[0] // 2 - 2, "confirming a slice before the training")
        logic.parameters.budget = type(logic.parameters.budget).minutes
        logic.parameters.minutes = arguments.minutes
        doctor.settle()
        with watch.timing("pressing Start"):
            doctor.ui("retrain").trainButton.click()
        watch.turns("turns before the training", lambda: bool(logic.curve) or logic.job is None)
        work(doctor, watch, shape)
        logic.abortTraining()
        watch.turns("turns while it is aborted", lambda: logic.job is None)
        host.exit(widget)
        host.close(widget)
    rows = [[kind, watch.count[kind], round(watch.longest[kind], 1)] for kind in watch.longest]
    worst = max(value for kind, value in watch.longest.items() if "(Slicer)" not in kind)
    publish(
        f"Event loop while training, {' × '.join(map(str, shape))}, {STRUCTURES} structures",
        ["what the window does", "times", "longest ms"],
        rows,
        notes=[f"Longest time that UNetSegment blocks the window: {worst:.1f} ms (limit {LIMIT_MS:.0f} ms)."],
    )


def paint(doctor: Radiologist, axis: int, index: int) -> None:
    """One stroke over a whole structure on one slice."""
    mask = np.zeros(doctor.truth.shape, bool)
    plane = [slice(None)] * 3
    plane[axis] = index
    mask[tuple(plane)] = doctor.truth[tuple(plane)] == 1 + index % STRUCTURES
    doctor.editor.setCurrentSegmentID(f"UNetSegment_{1 + index % STRUCTURES}")
    doctor.editor.paintArray(mask, "Add")


def confirm(doctor: Radiologist, watch: Stopwatch, axis: int, index: int, kind: str) -> None:
    doctor.logic.jumpTo(axis, index)
    with watch.timing(kind):
        doctor.logic.confirmRows([row for row in doctor.logic.rows if (row.axis, row.index) == (axis, index)])


def work(doctor: Radiologist, watch: Stopwatch, shape: tuple[int, int, int]) -> None:
    """Paint, look and confirm on ten slices while the training goes on."""
    logic = doctor.logic
    for step in range(10):
        index = shape[0] // 2 + step
        with watch.timing("jumping to a slice"):
            logic.jumpTo(0, index)
        with watch.timing("a stroke of the brush (Slicer)"):
            paint(doctor, 0, index)
        watch.turns("turns while training", lambda index=index: any(row.index == index for row in logic.rows))
        confirm(doctor, watch, 0, index, "confirming a slice while training")
        end = time.monotonic() + 1.0
        watch.turns("turns while training", lambda end=end: time.monotonic() > end)
        if logic.job is None:
            raise RuntimeError(f"the training ended after {step} slices: {logic.notice}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), help="voxels along D, H, W")
    options.add_argument("--minutes", type=float, default=5.0, help="budget of the training; it is aborted at the end")
    main(options.parse_args())
