"""What the simulated radiologist does at the panel, scene by scene, with a picture of each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import slicer
from cases import DemoCases
from pictures import take_picture
from radiologist import Radiologist

from annotator import shown_voxels, untouched_dice
from unetseg.volume import LabelArray, LabelMap
from UNetSegmentLib import dialogs
from UNetSegmentLib.sample_data import ijkToRas
from UNetSegmentLib.slice_views import showVolume

CHANNEL_SELECTORS = ("volumeSelector", "channel2Selector", "channel3Selector", "channel4Selector")
SLICES_OF_ROUNDS = (3, 2)
TRAINED_TO_SHOW = 0.7
"""How far a training has come when its picture is taken."""


@dataclass(frozen=True)
class Result:
    """The segmentation after ``slices`` corrected slices in all, and how long the user has waited for it."""

    slices: int
    labels: LabelArray
    seconds: float


class Story:
    """The work at ``widget``. ``pictures`` are the scenes' files in the folder ``output``; like ``results`` they
    grow with the work.
    """

    def __init__(self, widget: Any, cases: DemoCases, output: Path) -> None:
        self.pictures: dict[str, Path] = {}
        self.results: list[Result] = []
        self._widget, self._cases, self._output = widget, cases, output
        matrix = ijkToRas(cases.volume.geometry)
        self._volumes = [slicer.util.addVolumeFromArray(array, matrix, cases.name) for array in cases.volume.array]
        self._doctor = Radiologist(widget, self._volumes[0], cases.truth)
        self._watched = telling_slices(cases.truth)
        self._corrected: list[tuple[int, int]] = []

    def tell(self, model: Path, minutes: float) -> None:
        """Segment with ``model``, correct and retrain for ``minutes``, twice, and return to the first version."""
        self._choose(model)
        self._segment()
        for number, slices in enumerate(SLICES_OF_ROUNDS):
            self._correct(slices, picture=number == 0)
            self._retrain(minutes, picture=number == 0)
            self._keep(picture=number == 0)
        self._take("again", "compare")
        self._go_back()

    def dice(self, result: Result) -> tuple[float | None, ...]:
        """Dice of each structure on the slices that were never corrected, neither before nor after ``result``."""
        geometry = self._cases.volume.geometry
        found, truth = LabelMap(result.labels, geometry), LabelMap(self._cases.truth, geometry)
        return untouched_dice(found, truth, self._corrected, len(self._cases.labels))

    def _choose(self, model: Path) -> None:
        doctor, ui = self._doctor, self._doctor.ui("segment")
        doctor.settle()
        with mock.patch.object(dialogs, "askOpenFile", return_value=str(model)):
            doctor.press("compare", "importVersionButton")
        chosen = ui.modelChooser.findText(model.stem)
        ui.modelChooser.setCurrentIndex(chosen)
        ui.modelChooser.activated.emit(chosen)
        for selector, node in zip(CHANNEL_SELECTORS, self._volumes, strict=False):
            getattr(ui, selector).setCurrentNode(node)
        ui.show3DCheckBox.click()
        showVolume(doctor.volume)
        self._look()
        self._take("choose", "segment")

    def _segment(self) -> None:
        started = time.monotonic()
        self._doctor.segment()
        seconds = time.monotonic() - started
        self._look()
        self._take("segment", "segment")
        self.results.append(Result(0, self._doctor.labels(), seconds))

    def _correct(self, count: int, *, picture: bool) -> None:
        """``count`` slices that the panel suggests, but none that is watched, so that these never are learned from."""
        doctor = self._doctor
        for number in range(count):
            while self._suggested() in self._watched:
                doctor.press("correct", "skipButton")
            plane = self._suggested()
            doctor.press("correct", "nextButton")
            doctor.editor.setActiveEffectByName("Paint")
            if picture and number == 0:
                self._take("suggest", "correct")
            doctor.paint(*plane)
            if picture and number == 0:
                self._take("paint", "correct")
            doctor.confirm(*plane)
            self._corrected.append(plane)
        doctor.editor.setActiveEffectByName("")
        if picture:
            self._take("confirm", "correct")

    def _suggested(self) -> tuple[int, int]:
        suggestion = self._doctor.logic.suggestion
        return suggestion.axis, suggestion.index

    def _retrain(self, minutes: float, *, picture: bool) -> None:
        doctor, ui = self._doctor, self._doctor.ui("retrain")
        self._look()
        ui.minutesRadio.click()
        ui.minutesSpinBox.setValue(minutes)
        started = time.monotonic()
        ui.trainButton.click()
        if picture:
            while self._trained() < TRAINED_TO_SHOW:
                slicer.app.processEvents()
                time.sleep(0.01)
            self._take("retrain", "retrain")
        doctor.settle()
        self._seconds = time.monotonic() - started

    def _trained(self) -> float:
        job = self._doctor.logic.job
        return job.fraction if job is not None and job.kind == "train" else 1.0

    def _keep(self, *, picture: bool) -> None:
        doctor = self._doctor
        if picture:
            doctor.ui("compare").differenceCheckBox.click()
            # As the user would in the module Segmentations: the filling hides the difference.
            display = doctor.parameters.segmentation.GetDisplayNode()
            display.SetVisibility2DFill(False)
            self._take("compare", "compare")
            display.SetVisibility2DFill(True)
        doctor.press("compare", "keepButton")
        self._look()
        labels = doctor.labels()
        confirmed = shown_voxels(labels.shape, self._corrected)
        assert (labels == self._cases.truth)[confirmed].all(), "confirmed slices must stay to the voxel"
        self.results.append(Result(len(self._corrected), labels, self._seconds))
        if picture:
            self._take("keep", "compare")

    def _go_back(self) -> None:
        doctor, version = self._doctor, self._doctor.parameters.model
        latest = doctor.labels()
        doctor.useVersion(doctor.logic.project.base(version).id)
        self._take("back", "compare")
        doctor.useVersion(version)
        assert (doctor.labels() == latest).all(), "going back and forth must restore a result to the voxel"

    def _look(self) -> None:
        """Turn the views to the slices that are watched."""
        for axis, index in self._watched:
            self._doctor.logic.jumpTo(axis, index)
        self._doctor.settle()

    def _take(self, scene: str, section: str) -> None:
        notice = self._doctor.logic.notice
        assert notice is None or notice.kind != "error", notice
        path = self.pictures[scene] = self._output / f"{len(self.pictures) + 1:02}-{scene}.png"
        take_picture(path, self._widget, self._doctor.volume, section)


def telling_slices(truth: LabelArray) -> list[tuple[int, int]]:
    """For each axis the slice that shows much of as many structures as possible."""
    found = []
    for axis in range(3):
        others = tuple({0, 1, 2} - {axis})
        areas = np.array([(truth == value).sum(axis=others) for value in np.unique(truth)[1:]])
        # The root makes half of two structures better than all of one.
        found.append((axis, int(np.sqrt(areas / areas.max(axis=1, keepdims=True)).sum(axis=0).argmax())))
    return found
