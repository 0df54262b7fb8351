"""The corrections of the segmentation at hand, on their way into the scene and the project, and back from the scene."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Any

import slicer
from slicer.i18n import tr as _

from unetseg.config import Label
from unetseg.errors import ImageError, UnetsegError
from unetseg.volume import Shape

from .corrections import Corrections
from .images import ImageExport
from .mrml_adapter import volumeGeometry
from .record import (
    CASE,
    loadRecord,
    recordBaseline,
    recordedCase,
    recordNode,
    restoreFromTags,
    saveRecord,
    tagSegments,
)
from .segmentation_adapter import LabelReader
from .workspace import Workspace

_SAVE, _BASELINE = "save", "baseline"


class CaseStore:
    """``caseId`` is that of the segmentation at hand; empty without one."""

    def __init__(self, workspace: Workspace) -> None:
        self.caseId = ""
        self.images = ImageExport()
        self._workspace = workspace

    def begin(self, segmentation: Any, volume: Any, caseId: str) -> None:
        """A new segmentation belongs to this case of the project from its first moment on."""
        geometry = volumeGeometry(volume)
        saveRecord(segmentation, volume, Corrections(geometry.shape, geometry.spacing_mm))
        recordNode(segmentation).SetParameter(CASE, caseId)

    def load(self, segmentation: Any, volume: Any, labels: tuple[Label, ...]) -> Corrections:
        """The record of the scene, else what the segments' tags tell, else nothing confirmed yet.

        What is damaged is reported to the user, and what is left of it is used.

        Raises:
            ImageError: the record is one for a volume of another size.
        """
        geometry = volumeGeometry(volume)
        corrections = self._recorded(segmentation, geometry.shape)
        if corrections is None:
            corrections = Corrections(geometry.shape, geometry.spacing_mm)
            try:
                restoreFromTags(segmentation, corrections, LabelReader(segmentation, volume, labels))
            except UnetsegError as error:
                self._workspace.report(error)
        self.caseId = recordedCase(segmentation) or self._workspace.project.newCaseId()
        return corrections

    @property
    def saving(self) -> bool:
        """Whether something confirmed is still on its way into the project."""
        return self._workspace.tasks.busy(_SAVE)

    def save(self, segmentation: Any, volume: Any, corrections: Corrections, labels: tuple[Label, ...]) -> None:
        """Into the scene and into the project's folder, in the next idle moments."""
        # The choices of now: another volume may be chosen before those moments come.
        steps = self._saved(segmentation, volume, corrections, labels, self._workspace.chosenVolumes())
        self._workspace.tasks.run(_SAVE, steps, onError=self._workspace.report)

    def saveBaseline(self, segmentation: Any, volume: Any, corrections: Corrections) -> None:
        """What was predicted, into the scene, in the next idle moments; the rest at once."""
        saveRecord(segmentation, volume, corrections)
        steps = recordBaseline(segmentation, corrections)
        self._workspace.tasks.run(_BASELINE, steps, onError=self._workspace.report)

    def finish(self) -> None:
        """Do now what is on its way; another segmentation comes."""
        for key in (_SAVE, _BASELINE):
            self._workspace.tasks.drain(key)
        self.caseId = ""

    def _saved(
        self,
        segmentation: Any,
        volume: Any,
        corrections: Corrections,
        labels: tuple[Label, ...],
        chosenVolumes: list[Any],
    ) -> Generator[None, None, None]:
        workspace, caseId = self._workspace, self.caseId
        if slicer.mrmlScene.IsNodePresent(segmentation):
            saveRecord(segmentation, volume, corrections)
            recordNode(segmentation).SetParameter(CASE, caseId)
            yield
            yield from tagSegments(segmentation, corrections)
        name, shape = volume.GetName(), corrections.shape
        yield from workspace.project.saveCaseInSteps(caseId, name, corrections.slices, shape, labels)
        if corrections.slices:
            channels = list(itertools.takewhile(lambda node: node is not None, chosenVolumes))
            yield from self.images.steps(workspace.project, caseId, channels)

    def _recorded(self, segmentation: Any, shape: Shape) -> Corrections | None:
        """What is recorded for a volume of this shape; of a damaged record what is left."""
        try:
            found = loadRecord(segmentation)
        except UnetsegError as error:
            self._workspace.report(error)
            found = loadRecord(segmentation)
        if found is not None and found.shape != shape:
            raise ImageError(
                _("The segmentation was corrected on a volume of another size"),
                received=f"{found.shape}, {shape}",
                remedy=_("Choose the volume that it was made for, or another segmentation"),
            )
        return found
