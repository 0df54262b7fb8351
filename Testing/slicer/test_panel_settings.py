"""The Settings section: the Python for computation, memory, the folder and its removal."""

import pytest
import qt
from build_section import buildSection

from UNetSegmentLib import dialogs
from UNetSegmentLib.sections.settings import SettingsSection
from UNetSegmentLib.state import JobStatus

PYTHON = "/opt/torch/bin/python"
CONTENTS = (("3 own versions", "57 MB"), ("Confirmed slices of 2 volumes", "1 MB"))
BUSY = "Wait until the work on its way has ended"


@pytest.fixture
def panel(scene):
    panel = buildSection(SettingsSection, "Settings")
    yield panel
    panel.section.close()
    panel.root.delete()


def show(panel, **state):
    for name, value in state.items():
        setattr(panel.logic, name, value)
    panel.logic.changed.emit()


def seen(widget):
    return not widget.isHidden()


class TestPython:
    def test_it_is_slicers_own_unless_another_one_is_set(self, panel):
        ui = panel.ui
        assert (ui.slicerPythonRadio.checked, ui.otherPythonRadio.checked) == (True, False)
        assert not ui.pythonPathEdit.enabled
        assert not seen(ui.pythonStatusLabel)

    def test_another_one_counts_when_its_program_is_named(self, panel):
        panel.ui.otherPythonRadio.click()
        assert panel.ui.pythonPathEdit.enabled
        assert panel.logic.calls == []
        panel.logic.changed.emit()
        assert panel.ui.otherPythonRadio.checked
        panel.ui.pythonPathEdit.setCurrentPath(PYTHON)
        assert panel.logic.calls == [("setPython", (PYTHON,))]

    def test_what_is_set_is_shown_and_not_set_again(self, panel):
        panel.logic.settings.pythonPath = PYTHON
        show(panel)
        assert panel.ui.otherPythonRadio.checked
        assert panel.ui.pythonPathEdit.currentPath == PYTHON
        assert panel.ui.pythonPathEdit.enabled
        assert panel.logic.calls == []

    def test_back_to_slicers_own_and_forth_with_the_same_program(self, panel):
        panel.logic.settings.pythonPath = PYTHON
        show(panel)
        panel.ui.slicerPythonRadio.click()
        assert panel.logic.called("setPython") == [("",)]
        panel.logic.settings.pythonPath = ""
        show(panel)
        assert not panel.ui.pythonPathEdit.enabled
        panel.ui.otherPythonRadio.click()
        assert panel.logic.called("setPython") == [("",), (PYTHON,)]

    def test_an_emptied_path_is_not_yet_another_choice(self, panel):
        panel.logic.settings.pythonPath = PYTHON
        show(panel)
        panel.ui.pythonPathEdit.setCurrentPath("")
        assert panel.logic.calls == []
        assert panel.ui.otherPythonRadio.checked

    def test_check(self, panel):
        panel.ui.checkPythonButton.click()
        assert panel.logic.calls == [("checkPython", ())]

    def test_check_takes_a_path_that_has_sent_no_signal(self, panel):
        panel.ui.otherPythonRadio.click()
        panel.ui.pythonPathEdit.blockSignals(True)
        panel.ui.pythonPathEdit.setCurrentPath("/no/program")
        panel.ui.checkPythonButton.click()
        assert panel.logic.calls == [("setPython", ("/no/program",)), ("checkPython", ())]

    def test_the_answer_is_shown(self, panel):
        show(panel, pythonStatus="Ready: PyTorch 2.9 on Processor")
        assert seen(panel.ui.pythonStatusLabel)
        assert panel.ui.pythonStatusLabel.text == "Ready: PyTorch 2.9 on Processor"

    def test_while_it_is_checked_nothing_else_can_be_chosen(self, panel):
        show(panel, job=JobStatus("check"), pythonStatus="Checking …")
        assert not panel.ui.pythonBox.enabled
        assert not seen(panel.ui.settingsReasonLabel)

    def test_an_error_becomes_a_notice(self, panel):
        panel.logic.raises["checkPython"] = error = ValueError("no program")
        panel.ui.checkPythonButton.click()
        assert panel.logic.reported == [error]


class TestInstall:
    def test_only_where_it_is_useful(self, panel):
        assert not seen(panel.ui.installButton)
        show(panel, canInstall=True)
        assert seen(panel.ui.installButton)
        panel.ui.installButton.click()
        assert panel.logic.calls == [("installPyTorch", ())]


class TestMemory:
    def test_no_limit(self, panel):
        assert not panel.ui.memoryCheckBox.checked
        assert not panel.ui.memorySpinBox.enabled

    def test_a_limit_is_shown_and_not_set_again(self, panel):
        panel.logic.settings.memoryGb = 6.5
        show(panel)
        assert panel.ui.memoryCheckBox.checked
        assert (panel.ui.memorySpinBox.enabled, panel.ui.memorySpinBox.value) == (True, 6.5)
        assert panel.logic.calls == []

    def test_switching_it_on_takes_the_number_that_is_shown(self, panel):
        panel.ui.memoryCheckBox.click()
        assert panel.logic.calls == [("setMemoryLimit", (4.0,))]

    def test_another_number_counts_while_it_is_on(self, panel):
        panel.logic.settings.memoryGb = 6.5
        show(panel)
        panel.ui.memorySpinBox.setValue(8)
        assert panel.logic.calls == [("setMemoryLimit", (8.0,))]

    def test_what_is_being_typed_is_left_alone(self, panel):
        panel.logic.settings.memoryGb = 6.5
        show(panel)
        line = panel.ui.memorySpinBox.findChild(qt.QLineEdit)
        line.setText("12")
        show(panel)
        assert line.text == "12 GB"
        panel.ui.memorySpinBox.interpretText()
        assert panel.logic.calls == [("setMemoryLimit", (12.0,))]

    def test_switching_it_off(self, panel):
        panel.logic.settings.memoryGb = 6.5
        show(panel)
        panel.ui.memoryCheckBox.click()
        assert panel.logic.calls == [("setMemoryLimit", (None,))]


class TestFolder:
    def test_the_folder_is_shown_and_not_set_again(self, panel):
        assert panel.ui.folderButton.directory == "/data/knees"
        panel.logic.settings.projectFolder = "/data/hips"
        show(panel)
        assert panel.ui.folderButton.directory == "/data/hips"
        assert panel.logic.calls == []

    def test_another_folder(self, panel, tmp_path):
        panel.ui.folderButton.directory = str(tmp_path)
        assert panel.logic.calls == [("setProjectFolder", (str(tmp_path),))]

    def test_sizes_are_shown_for_a_new_folder_and_new_versions(self, panel):
        assert not seen(panel.ui.folderContentsLabel)
        panel.logic.settings.projectFolder = "/data/hips"
        show(panel, contents=CONTENTS)
        assert panel.ui.folderContentsLabel.text == "3 own versions: 57 MB\nConfirmed slices of 2 volumes: 1 MB"
        show(panel, contents=CONTENTS[:1], versions=("v",))
        assert panel.ui.folderContentsLabel.text == "3 own versions: 57 MB"

    def test_it_is_not_measured_at_every_change(self, panel):
        measured = []
        panel.logic.projectContents = lambda: measured.append(1) or CONTENTS
        show(panel, versions=("v",))
        for _ in range(5):
            show(panel)
        assert len(measured) == 1


class TestRemove:
    @pytest.fixture
    def asked(self, panel, monkeypatch):
        asked = []

        def ask(text, choices, default):
            asked.append((text, dict(choices)[default]))
            return self.answer

        monkeypatch.setattr(dialogs, "askChoice", ask)
        return asked

    def test_it_lists_what_goes_and_asks_first(self, panel, asked):
        panel.logic.contents = CONTENTS
        self.answer = "cancel"
        panel.ui.removeButton.click()
        assert panel.logic.calls == []
        text, default = asked[0]
        assert "3 own versions: 57 MB\nConfirmed slices of 2 volumes: 1 MB" in text
        assert default == "Cancel"
        self.answer = "remove"
        panel.ui.removeButton.click()
        assert panel.logic.calls == [("removeEverything", ())]

    def test_where_there_is_nothing_it_says_so(self, panel, asked):
        panel.ui.removeButton.click()
        assert asked == []
        assert panel.logic.calls == []
        assert panel.ui.folderContentsLabel.text == "There is nothing to remove."
        assert seen(panel.ui.folderContentsLabel)


def test_work_on_its_way_is_not_disturbed(panel):
    show(panel, job=JobStatus("train"))
    assert not panel.ui.pythonBox.enabled
    assert not panel.ui.folderBox.enabled
    assert panel.ui.settingsReasonLabel.text == BUSY
    assert seen(panel.ui.settingsReasonLabel)
    show(panel, job=None)
    assert panel.ui.pythonBox.enabled
    assert panel.ui.folderBox.enabled
    assert not seen(panel.ui.settingsReasonLabel)
