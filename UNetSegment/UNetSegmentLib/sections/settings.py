"""Section 5: what is set once per computer."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from .. import dialogs
from .guard import Guard
from .widgets import showText, whyBusy


class SettingsSection:
    """Another Python counts from the moment that its program is named; the radio button alone sets nothing."""

    def __init__(self, ui: Any, logic: Any, guard: Guard) -> None:
        self._ui, self._logic = ui, logic
        self._shownPython: str | None = None
        self._measured: tuple[Any, ...] = ()
        ui.slicerPythonRadio.connect("clicked()", guard(self._choosePython))
        ui.otherPythonRadio.connect("clicked()", guard(self._choosePython))
        ui.pythonPathEdit.connect("currentPathChanged(QString)", guard(self._choosePython))
        ui.checkPythonButton.connect("clicked()", guard(self._checkPython))
        ui.installButton.connect("clicked()", guard(logic.installPyTorch))
        ui.memoryCheckBox.connect("clicked()", guard(self._chooseMemory))
        ui.memorySpinBox.connect("valueChanged(double)", guard(self._chooseMemory))
        ui.folderButton.connect("directoryChanged(QString)", guard(self._chooseFolder))
        ui.removeButton.connect("clicked()", guard(self._remove))

    def refresh(self) -> None:
        """Show the logic's state of now."""
        job = self._logic.job
        for box in (self._ui.pythonBox, self._ui.folderBox):
            box.setEnabled(job is None)
        checking = job is not None and job.kind == "check"
        showText(self._ui.settingsReasonLabel, "" if checking else whyBusy(job))
        self._showPython()
        self._showMemory()
        self._showFolder()

    def close(self) -> None:
        """Nothing is kept beyond the widgets."""

    def _showPython(self) -> None:
        ui, path = self._ui, self._logic.settings.pythonPath
        if path != self._shownPython:
            self._shownPython = path
            (ui.otherPythonRadio if path else ui.slicerPythonRadio).setChecked(True)
            if path:
                ui.pythonPathEdit.setCurrentPath(path)
        ui.pythonPathEdit.setEnabled(ui.otherPythonRadio.checked)
        ui.installButton.setVisible(self._logic.canInstallPyTorch())
        showText(ui.pythonStatusLabel, self._logic.pythonStatus)

    def _choosePython(self) -> None:
        ui = self._ui
        path = ui.pythonPathEdit.currentPath if ui.otherPythonRadio.checked else ""
        if path != self._logic.settings.pythonPath and (path or ui.slicerPythonRadio.checked):
            self._logic.setPython(path)
        self._showPython()

    def _checkPython(self) -> None:
        """A path that is no program has sent no signal; the check says what is wrong with it."""
        self._choosePython()
        self._logic.checkPython()

    def _showMemory(self) -> None:
        ui, limit = self._ui, self._logic.settings.memoryGb
        ui.memoryCheckBox.setChecked(limit is not None)
        ui.memorySpinBox.setEnabled(limit is not None)
        if limit is not None and ui.memorySpinBox.value != limit:  # setting it would undo what is being typed
            ui.memorySpinBox.setValue(limit)

    def _chooseMemory(self) -> None:
        limit = self._ui.memorySpinBox.value if self._ui.memoryCheckBox.checked else None
        if limit != self._logic.settings.memoryGb:
            self._logic.setMemoryLimit(limit)
        self._showMemory()

    def _showFolder(self) -> None:
        """The folder is only measured anew where it is another one or its versions are."""
        folder = self._logic.settings.projectFolder
        wasBlocked = self._ui.folderButton.blockSignals(True)
        self._ui.folderButton.directory = folder
        self._ui.folderButton.blockSignals(wasBlocked)
        measured = (folder, self._logic.versionRows())
        if measured != self._measured:
            self._measured = measured
            showText(self._ui.folderContentsLabel, self._contents())

    def _chooseFolder(self) -> None:
        self._logic.setProjectFolder(self._ui.folderButton.directory)
        self._showFolder()

    def _remove(self) -> None:
        contents = self._contents()
        showText(self._ui.folderContentsLabel, contents or _("There is nothing to remove."))
        if not contents:
            return
        text = _("This removes for good:\n\n{contents}\n\nWhat is open in Slicer stays.").format(contents=contents)
        if dialogs.askChoice(text, (("remove", _("Remove")), ("cancel", _("Cancel"))), "cancel") == "remove":
            self._logic.removeEverything()

    def _contents(self) -> str:
        return "\n".join(f"{what}: {size}" for what, size in self._logic.projectContents())
