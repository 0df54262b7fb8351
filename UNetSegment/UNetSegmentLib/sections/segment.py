"""Section 1: choose a volume and a model, and press Apply."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..state import JobStatus
from .guard import Guard
from .widgets import fillChooser, showText, timeLeft

_FURTHER_CHANNELS = (2, 3, 4)
_STEPS_OF_PROGRESS = 1000


class SegmentSection:
    """What has a ``SlicerParameterName`` in the .ui file is connected to the parameter node by the panel."""

    def __init__(self, ui: Any, logic: Any, guard: Guard) -> None:
        self._ui, self._logic = ui, logic
        ui.modelChooser.connect("activated(int)", guard(self._onModel))
        ui.deviceChooser.connect("activated(int)", guard(self._onDevice))
        ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", guard(logic.fitRegion))
        ui.applyButton.connect("clicked()", guard(self._onApply))

    def refresh(self) -> None:
        """Show the logic's state of now."""
        parameters = self._logic.parameters
        model = parameters.model if parameters is not None else ""
        fillChooser(self._ui.modelChooser, self._logic.modelChoices(), model)
        device = parameters.device if parameters is not None else ""
        fillChooser(self._ui.deviceChooser, self._logic.deviceChoices(), device)
        isNew = model.startswith("new:")
        self._ui.structuresLabel.setVisible(isNew)
        self._ui.structuresEdit.setVisible(isNew)
        self._refreshChannels()
        self._refreshApply()

    def close(self) -> None:
        """Nothing is kept beyond the widgets."""

    def _refreshChannels(self) -> None:
        names = self._logic.channelNames()
        title = _("Volume:") if len(names) < 2 else _("{channel}:").format(channel=names[0])
        self._ui.volumeLabel.setText(title)
        for number in _FURTHER_CHANNELS:
            label = getattr(self._ui, f"channel{number}Label")
            wanted = number <= len(names)
            if wanted:
                label.setText(_("{channel}:").format(channel=names[number - 1]))
            label.setVisible(wanted)
            getattr(self._ui, f"channel{number}Selector").setVisible(wanted)

    def _refreshApply(self) -> None:
        job = self._logic.job
        segmenting = job is not None and job.kind == "segment"
        reason = "" if segmenting else self._logic.whyNotSegment()
        button = self._ui.applyButton
        if segmenting:
            button.setText(_("Cancelling…") if job.stopping else _("Cancel"))
            button.setToolTip(_("Stop segmenting; the segmentation stays as it is"))
            button.setEnabled(not job.stopping)
        else:
            button.setText(_("Apply"))
            button.setToolTip(reason or _("Segment the volume with this model"))
            button.setEnabled(not reason)
        showText(self._ui.reasonLabel, reason)
        self._refreshProgress(job, segmenting)

    def _refreshProgress(self, job: JobStatus | None, segmenting: bool) -> None:
        """Other work is named too, because it is why Apply is grey."""
        self._ui.progressBar.setVisible(segmenting)
        if job is None:
            showText(self._ui.stageLabel, "")
            return
        self._ui.progressBar.setValue(round(job.fraction * _STEPS_OF_PROGRESS))
        showText(self._ui.stageLabel, " – ".join(filter(None, (job.stage, timeLeft(job.secondsLeft)))))

    def _onModel(self, index: int) -> None:
        self._logic.parameters.model = self._ui.modelChooser.itemData(index)

    def _onDevice(self, index: int) -> None:
        self._logic.parameters.device = self._ui.deviceChooser.itemData(index)

    def _onApply(self) -> None:
        job = self._logic.job
        if job is not None and job.kind == "segment":
            self._logic.cancel()
        else:
            self._logic.segment()
