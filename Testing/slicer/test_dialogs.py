"""The windows that wait for an answer, opened and answered by a timer as a user would."""

import pytest
import qt
import slicer

from UNetSegmentLib import dialogs

pytestmark = pytest.mark.filterwarnings("ignore:'exec_' will be removed")  # the only name that PythonQt has
CHOICES = (("delete", "Delete"), ("cancel", "Cancel"))


class TestInTestingMode:
    """No window opens: one would wait for ever."""

    def test_a_choice_is_the_default(self, slicerApp):
        assert dialogs.askChoice("Delete it?", CHOICES, "cancel") == "cancel"
        assert dialogs.askChoice("Delete it?", CHOICES, "delete") == "delete"

    def test_a_text_stays_as_it_is(self, slicerApp):
        assert dialogs.askText("Name", "Knee 2") == "Knee 2"

    def test_no_file_is_chosen(self, slicerApp):
        assert dialogs.askSaveFile("Export", "Knee.safetensors", "safetensors") is None
        assert dialogs.askOpenFile("Import", "safetensors") is None


def answered(monkeypatch, answer, ask):
    """What ``ask`` returns when ``answer`` is done to the window that it opens; and the window's texts."""
    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda self: False)
    seen = []

    def act():
        dialog = qt.QApplication.activeModalWidget()
        seen.append(dialog)
        try:
            answer(dialog)
        except Exception:
            dialog.reject()  # the test would wait for ever
            raise

    qt.QTimer.singleShot(0, act)
    result = ask()
    assert len(seen) == 1
    return result


def button(dialog, title):
    return next(b for b in dialog.buttons() if b.text == title)


def test_the_pressed_button_is_the_answer(slicerApp, monkeypatch):
    def ask():
        return dialogs.askChoice("Delete it?", CHOICES, "cancel")

    assert answered(monkeypatch, lambda box: button(box, "Delete").click(), ask) == "delete"
    assert answered(monkeypatch, lambda box: button(box, "Cancel").click(), ask) == "cancel"


def test_closing_the_window_is_the_harmless_answer_and_so_is_return(slicerApp, monkeypatch):
    def look(box):
        assert box.text == "Delete it?"
        assert [b.text for b in box.buttons()] in (["Delete", "Cancel"], ["Cancel", "Delete"])
        assert box.defaultButton() == button(box, "Cancel")
        box.close()

    assert answered(monkeypatch, look, lambda: dialogs.askChoice("Delete it?", CHOICES, "cancel")) == "cancel"


def test_the_typed_text_comes_back_without_blanks_around_it(slicerApp, monkeypatch):
    def write(dialog):
        assert (dialog.labelText(), dialog.textValue()) == ("Name", "Knee 2")
        dialog.setTextValue("  Knee 3 ")
        dialog.accept()

    assert answered(monkeypatch, write, lambda: dialogs.askText("Name", "Knee 2")) == "Knee 3"
    assert answered(monkeypatch, lambda dialog: dialog.reject(), lambda: dialogs.askText("Name", "Knee 2")) is None


def test_a_file_to_write_gets_the_suffix(slicerApp, monkeypatch, tmp_path):
    def choose(dialog):
        assert dialog.windowTitle == "Export"
        assert dialog.acceptMode == qt.QFileDialog.AcceptSave.value
        dialog.setDirectory(str(tmp_path))
        dialog.selectFile("Knee 3")
        dialog.accept()

    def ask():
        return dialogs.askSaveFile("Export", "Knee 2.safetensors", "safetensors")

    assert answered(monkeypatch, choose, ask) == str(tmp_path / "Knee 3.safetensors")
    assert answered(monkeypatch, lambda dialog: dialog.reject(), ask) is None


def test_a_file_to_read_exists(slicerApp, monkeypatch, tmp_path):
    there = tmp_path / "Knee.safetensors"
    there.write_bytes(b"")

    def choose(dialog):
        assert dialog.fileMode == qt.QFileDialog.ExistingFile.value
        assert dialog.nameFilters() == ["*.safetensors"]
        dialog.setDirectory(str(tmp_path))
        dialog.selectFile(str(there))
        dialog.accept()

    def ask():
        return dialogs.askOpenFile("Import", "safetensors")

    assert answered(monkeypatch, choose, ask) == str(there)
    assert answered(monkeypatch, lambda dialog: dialog.reject(), ask) is None
