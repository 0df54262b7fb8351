# ruff: noqa: PT009 (Slicer has no pytest)
"""The module's self test: the same file runs in Slicer (ctest, *Reload and Test*) and, by pytest, without it.

It goes once through what a user does, by the panel's own buttons, with a stand-in for the network in a process of its
own. It clears the scene; the user's project and settings stay as they are.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import unittest
import unittest.mock
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from unetseg.config import Label

from .corrections import SliceState
from .install import launchCommand
from .sample_data import loadPhantom
from .segmentation_adapter import segmentID
from .self_test_worker import brightLabels
from .versions import Version, utcNow

SECONDS_TO_WAIT = 60.0
BRIGHT = Label(1, "Bright", (230, 90, 60))
EDITED_SLICE, VIEWED_SLICE = 20, 30
WORKER = Path(__file__).with_name("self_test_worker.py")


class UNetSegmentTest(ScriptedLoadableModuleTest):
    """Segment, paint, confirm, remove, and save and load the scene."""

    def runTest(self) -> None:
        """Every test, for *Reload and Test*. Raises ``AssertionError`` where one fails."""
        suite = unittest.TestLoader().loadTestsFromTestCase(type(self))
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if not result.wasSuccessful():
            raise AssertionError("\n".join(report for _test, report in (*result.errors, *result.failures)))

    def setUp(self) -> None:
        """An empty scene, and a project with one version in a temporary folder."""
        slicer.mrmlScene.Clear()
        self.folder = Path(tempfile.mkdtemp(prefix="UNetSegmentTest-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        command = dataclasses.replace(launchCommand(""), arguments=("-u", str(WORKER)))
        patched = unittest.mock.patch("UNetSegmentLib.workspace.launchCommand", return_value=command)
        patched.start()
        self.addCleanup(patched.stop)
        self.open()
        self.addCleanup(self.logic.setPython, self.logic.settings.pythonPath)
        self.addCleanup(self.logic.setProjectFolder, self.logic.settings.projectFolder)
        self.logic.setPython("")
        self.logic.setProjectFolder(str(self.folder / "project"))
        self.version = self.addVersion()

    def tearDown(self) -> None:
        """Nothing of the test is left in the scene."""
        slicer.mrmlScene.Clear()

    def test_loop(self) -> None:
        """A result is written, edits are found, confirmed and removed, and all of it survives in a scene file."""
        volume = loadPhantom()
        expected = brightLabels(slicer.util.arrayFromVolume(volume))
        self.segment(volume)
        self.assertTrue(np.array_equal(self.labels(), expected))

        expected[EDITED_SLICE, 10:20, 10:30] = 1 - expected[EDITED_SLICE, 10:20, 10:30]
        self.paint(volume, expected)
        self.assertEqual(self.states(), {(0, EDITED_SLICE): SliceState.EDITED})

        self.press("correct", "confirmEditedButton")
        self.logic.jumpTo(0, VIEWED_SLICE)
        self.press("correct", "confirmRedButton")
        confirmed = {(0, EDITED_SLICE): SliceState.CONFIRMED, (0, VIEWED_SLICE): SliceState.UNCHANGED}
        self.assertEqual(self.states(), confirmed)

        self.press("segment", "applyButton")
        self.assertTrue(np.array_equal(self.labels(), expected))
        self.assertEqual(self.states(), confirmed)

        self.saveAndLoad()
        self.assertTrue(np.array_equal(self.labels(), expected))
        self.assertEqual(self.states(), confirmed)
        self.assertEqual(self.logic.parameters.model, self.version.id)

        self.logic.removeSlice(0, EDITED_SLICE)
        self.logic.removeSlice(0, VIEWED_SLICE)
        self.settle()
        self.assertEqual(self.states(), {})
        self.assertTrue(np.array_equal(self.labels(), expected))
        self.assertIsNone(self.logic.notice)

    # ---- what a user does ----

    @property
    def widget(self) -> Any:
        """The module's widget, which a reload replaces."""
        return slicer.modules.UNetSegmentWidget

    @property
    def logic(self) -> Any:
        """What the panel calls."""
        return self.widget.logic.segmentation

    def open(self) -> None:
        """Go to the module; without a main window there is none to go to, and it is only told so."""
        slicer.modules.unetsegment.widgetRepresentation()
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("UNetSegment")
        else:
            self.widget.enter()

    def segment(self, volume: Any) -> None:
        """Choose the volume and the version, and press Apply."""
        self.logic.parameters.volume = volume
        self.logic.parameters.model = self.version.id
        self.press("segment", "applyButton")

    def press(self, section: str, name: str) -> None:
        """Click a button of the panel that is not grey, and wait for what comes of it."""
        self.settle()
        button = getattr(self.widget.panel.uis[section], name)
        self.assertTrue(button.enabled, f"{name} is grey: {button.toolTip}")
        button.click()
        self.settle()

    def settle(self) -> None:
        """Let waiting events and the work on its way come to their end."""
        slicer.app.processEvents()
        self.logic.wait(SECONDS_TO_WAIT)
        slicer.app.processEvents()

    def paint(self, volume: Any, labels: np.ndarray) -> None:
        """Give the segment these voxels, as an effect or a script would."""
        segmentation = self.logic.parameters.segmentation
        slicer.util.updateSegmentBinaryLabelmapFromArray(labels, segmentation, segmentID(BRIGHT), volume)
        self.settle()

    def saveAndLoad(self) -> None:
        """Save the scene as a bundle, close it and load the bundle."""
        path = str(self.folder / "scene.mrb")
        self.assertTrue(slicer.mrmlScene.WriteToMRB(path))
        slicer.mrmlScene.Clear()
        self.assertTrue(slicer.mrmlScene.ReadFromMRB(path))
        self.open()
        self.settle()

    # ---- what there is to see ----

    def labels(self) -> np.ndarray:
        """The labels (D, H, W) of the segmentation."""
        return self.logic.labels()

    def states(self) -> dict[tuple[int, int], SliceState]:
        """State by (axis, index) of the table's slices, without the one that is only suggested."""
        rows = (row for row in self.logic.rows if row.state != SliceState.SUGGESTED)
        return {(row.axis, row.index): row.state for row in rows}

    def addVersion(self) -> Version:
        """A version whose model file is empty: the stand-in for the network needs none."""
        model = self.folder / "model.safetensors"
        model.write_bytes((2).to_bytes(8, "little") + b"{}")
        labels = (Label(0, "Background", (0, 0, 0)), BRIGHT)
        return self.logic.project.add(model, Version("", "Self test", "own", utcNow(), labels=labels))
