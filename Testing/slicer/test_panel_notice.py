"""The notice bar: what happened, what to do, and the buttons for it."""

import pytest
import qt
import slicer
from build_section import buildSection

from UNetSegmentLib.sections.notice import NoticeSection
from UNetSegmentLib.state import Notice


@pytest.fixture
def built(scene):
    built = buildSection(NoticeSection, "Notice")
    yield built
    built.section.close()
    built.root.setMRMLScene(None)
    built.root.deleteLater()


def show(built, *arguments, **keywords):
    built.logic.notice = Notice(*arguments, **keywords)
    built.logic.changed.emit()
    slicer.app.processEvents()


def actionButtons(built):
    layout = built.ui.actionsLayout
    widgets = [layout.itemAt(i).widget() for i in range(layout.count())]
    return [widget for widget in widgets if widget.visible]


def test_no_notice_takes_no_room(built):
    assert not built.ui.noticeFrame.visible
    show(built, "info", "Done.")
    assert built.ui.noticeFrame.visible
    built.logic.notice = None
    built.logic.changed.emit()
    assert not built.ui.noticeFrame.visible


def test_text_and_remedy_are_shown_as_they_are_written(built):
    show(built, "error", "The value is <b>3</b>.", "Choose < 2")
    assert (built.ui.noticeText.text, built.ui.remedyText.text) == ("The value is <b>3</b>.", "Choose < 2.")
    assert built.ui.noticeText.textFormat == built.ui.remedyText.textFormat == int(qt.Qt.PlainText.value)
    show(built, "info", "Done.")
    assert not built.ui.remedyText.visible


@pytest.mark.parametrize("remedy", ["Wait.", "Did you mean dice?", "", "Press Apply"])
def test_a_remedy_ends_as_a_sentence(built, remedy):
    show(built, "error", "It failed.", remedy)
    assert built.ui.remedyText.text == {"Press Apply": "Press Apply."}.get(remedy, remedy)


def test_each_kind_has_its_own_icon(built):
    images = []
    for kind in ("error", "warning", "info"):
        show(built, kind, "Text.")
        images.append(built.ui.kindIcon.pixmap.toImage())
        assert not images[-1].isNull()
    assert images[0] != images[1] != images[2] != images[0]


def test_a_report_is_copied_only_where_there_is_one(built):
    show(built, "info", "Done.")
    assert not built.ui.copyReportButton.visible
    show(built, "error", "It failed.", report="all that is known")
    assert built.ui.copyReportButton.visible
    built.ui.copyReportButton.click()
    assert slicer.app.clipboard().text() == "all that is known"
    assert built.ui.copyReportButton.text == "Report copied"
    show(built, "error", "It failed again.", report="more")
    assert built.ui.copyReportButton.text == "Copy report"


def test_every_action_is_a_button_that_passes_its_code_on(built):
    show(built, "warning", "It does not answer.", actions=(("wait", "Wait"), ("stop", "Stop it")))
    buttons = actionButtons(built)
    assert [button.text for button in buttons] == ["Wait", "Stop it"]
    for button in buttons:
        button.click()
    assert built.logic.called("noticeAction") == [("wait",), ("stop",)]


def test_the_buttons_of_the_last_notice_go_with_it(built):
    show(built, "warning", "One.", actions=(("wait", "Wait"),))
    show(built, "warning", "Two.", actions=(("resume", "Go on"),))
    assert [button.text for button in actionButtons(built)] == ["Go on"]
    show(built, "info", "Three.")
    assert actionButtons(built) == []


def test_a_notice_that_stays_is_not_built_again(built):
    show(built, "warning", "One.", actions=(("wait", "Wait"),), report="r")
    built.ui.copyReportButton.click()
    show(built, "warning", "One.", actions=(("wait", "Wait"),), report="r")
    assert built.ui.copyReportButton.text == "Report copied"


def test_dismissing_is_the_logics_business(built):
    show(built, "info", "Done.")
    built.ui.dismissButton.click()
    assert built.logic.called("dismissNotice") == [()]
