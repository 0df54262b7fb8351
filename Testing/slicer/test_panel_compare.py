"""The Compare section: the figures of the offered version, the decision, and the table of versions."""

from dataclasses import replace

import pytest
import qt
from build_section import buildSection

from UNetSegmentLib import dialogs
from UNetSegmentLib.sections.compare import CompareSection
from UNetSegmentLib.state import Comparison, ComparisonRow, JobStatus, VersionRow

ROWS = (
    ComparisonRow("Bone", (220, 200, 150), 0.812, 0.861, 0.8, 0.31),
    ComparisonRow("Cartilage", (80, 160, 220), 0.9, 0.87, None, 12.04),
    ComparisonRow("Meniscus", (10, 20, 30), 0.7001, 0.7049, 0.5, 0.0),
    ComparisonRow("Ligament", (10, 20, 30), None, 0.5, None, 0.0),
)
OFFER = Comparison("v2", "Knee, round 2", ROWS, 2, 1, 6, "Better on 2 slices that were unknown to it.")
SHIPPED = VersionRow("v0", "Knee", "", "2026-03-01", 0, "0.86", "shipped", False, False)
USED = VersionRow("v1", "Knee, round 1", "Knee", "2026-03-12", 6, "0.88", "in use", True, False)
OFFERED = VersionRow("v2", "Knee, round 2", "Knee", "2026-03-14", 11, "–", "offered", False, True)
VERSIONS = (SHIPPED, USED, OFFERED)


@pytest.fixture
def panel(scene):
    panel = buildSection(CompareSection, "Compare")
    yield panel
    panel.section.close()
    panel.root.delete()


def show(panel, **state):
    for name, value in state.items():
        setattr(panel.logic, name, value)
    panel.logic.changed.emit()


def seen(widget):
    return not widget.isHidden()


def texts(table):
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def color(item):
    return item.foreground().color().name()


def decisions(panel):
    return panel.ui.keepButton, panel.ui.tryAgainButton, panel.ui.backButton


def test_a_wide_panel_and_long_names_leave_the_panel_free_to_be_narrow(panel):
    """A section of the panel is never narrower than its size hint."""
    longNamed = VersionRow(
        "v3", "Knee of the left side, round 3 " * 3, "Knee", "2026-03-14", 11, "–", "kept", False, True
    )
    panel.root.resize(900, 10)
    show(panel, comparison=OFFER, versions=(longNamed, USED))
    panel.root.grab()
    assert panel.root.layout().sizeHint().width() < 400


class TestWithoutAnOffer:
    def test_there_is_nothing_to_decide(self, panel):
        assert panel.ui.comparisonSummaryLabel.text.startswith("Nothing to decide")
        assert not any(map(seen, (panel.ui.comparisonTable, panel.ui.differenceCheckBox, *decisions(panel))))

    def test_no_reason_is_needed_for_what_is_not_there(self, panel):
        panel.logic.reasons["keep"] = "No version is offered"
        show(panel)
        assert not seen(panel.ui.keepReasonLabel)


class TestComparison:
    def test_the_figures_are_before_and_after_with_the_direction(self, panel):
        show(panel, comparison=OFFER)
        assert panel.ui.comparisonSummaryLabel.text == OFFER.summary
        assert texts(panel.ui.comparisonTable) == [
            ["Bone", "0.81 → 0.86 ▲", "0.80", "0.3 ml"],
            ["Cartilage", "0.90 → 0.87 ▼", "–", "12.0 ml"],
            ["Meniscus", "0.70 → 0.70", "0.50", "0.0 ml"],
            ["Ligament", "– → 0.50", "–", "0.0 ml"],
        ]

    def test_better_and_worse_have_colours_and_the_rest_has_none(self, panel):
        show(panel, comparison=OFFER)
        better, worse, same, unknown = (panel.ui.comparisonTable.item(row, 1) for row in range(4))
        assert (color(better), color(worse)) == ("#2f9e44", "#e03131")
        plain = color(qt.QTableWidgetItem(""))
        assert color(same) == color(unknown) == plain

    def test_each_structure_has_its_dot(self, panel):
        show(panel, comparison=OFFER)
        icon = panel.ui.comparisonTable.item(0, 0).icon()
        middle = icon.pixmap(12, 12).toImage().pixelColor(6, 6)
        assert (middle.red(), middle.green(), middle.blue()) == (220, 200, 150)

    def test_the_tooltip_explains_overlap_and_says_how_many_slices(self, panel):
        show(panel, comparison=OFFER)
        heldOut = panel.ui.comparisonTable.horizontalHeaderItem(1).toolTip()
        checked = panel.ui.comparisonTable.item(0, 2).toolTip()
        assert "on 2 slices in 1 volume" in heldOut
        assert "on 6 slices" in checked
        for tip in (heldOut, checked):
            assert "Overlap (Dice): 1 means" in tip

    def test_another_offer_replaces_the_rows(self, panel):
        show(panel, comparison=OFFER)
        show(panel, comparison=Comparison("v3", "Knee", ROWS[1:2], 1, 1, 0, "Worse."))
        assert texts(panel.ui.comparisonTable) == [["Cartilage", "0.90 → 0.87 ▼", "–", "12.0 ml"]]

    def test_it_goes_when_it_is_decided(self, panel):
        show(panel, comparison=OFFER)
        assert seen(panel.ui.comparisonTable)
        show(panel, comparison=None)
        assert not seen(panel.ui.comparisonTable)

    def test_the_difference_is_a_choice_that_the_scene_keeps(self, panel):
        show(panel, comparison=OFFER)
        panel.ui.differenceCheckBox.click()
        assert panel.logic.parameters.showDifference is True
        panel.logic.parameters.showDifference = False
        assert not panel.ui.differenceCheckBox.checked


class TestDecision:
    def test_each_button_is_one_action(self, panel):
        show(panel, comparison=OFFER)
        for button in decisions(panel):
            assert button.enabled
            button.click()
        assert panel.logic.calls == [("keep", ()), ("tryAgain", ()), ("back", ())]

    def test_grey_buttons_say_why_and_get_their_tooltips_back(self, panel):
        tips = [button.toolTip for button in decisions(panel)]
        assert all(tips)
        panel.logic.reasons["keep"] = "Wait"
        show(panel, comparison=OFFER)
        assert [(button.enabled, button.toolTip) for button in decisions(panel)] == [(False, "Wait")] * 3
        assert panel.ui.keepReasonLabel.text == "Wait"
        assert seen(panel.ui.keepReasonLabel)
        panel.logic.reasons["keep"] = ""
        show(panel)
        assert [(button.enabled, button.toolTip) for button in decisions(panel)] == [(True, tip) for tip in tips]
        assert not seen(panel.ui.keepReasonLabel)

    def test_what_goes_wrong_is_reported(self, panel):
        panel.logic.raises["keep"] = error = ValueError("disk full")
        show(panel, comparison=OFFER)
        panel.ui.keepButton.click()
        assert panel.logic.reported == [error]


class TestVersions:
    @pytest.fixture
    def ui(self, panel):
        show(panel, versions=VERSIONS)
        return panel.ui

    def test_the_table_tells_the_lineage(self, ui):
        assert texts(ui.versionsTable) == [
            ["Knee", "–", "0.86", "shipped\n2026-03-01"],
            ["Knee, round 1\nfrom Knee", "6", "0.88", "in use\n2026-03-12"],
            ["Knee, round 2\nfrom Knee", "11", "–", "offered\n2026-03-14"],
        ]

    def test_the_version_in_use_is_bold(self, ui):
        assert [ui.versionsTable.item(row, 0).font().bold() for row in range(3)] == [False, True, False]

    def test_without_a_choice_the_buttons_say_so(self, ui):
        buttons = (ui.useVersionButton, ui.renameVersionButton, ui.deleteVersionButton, ui.exportVersionButton)
        for button in buttons:
            assert (button.enabled, button.toolTip) == (False, "Choose a version in the table first")
        assert ui.importVersionButton.enabled
        assert ui.openFolderButton.enabled

    @pytest.mark.parametrize(
        ("row", "use", "delete"),
        [
            (0, "", "This version came with the module and stays"),
            (1, "This version is in use already", "This version is in use; use another one first"),
            (2, "", ""),
        ],
    )
    def test_what_may_be_done_depends_on_the_version(self, ui, row, use, delete):
        ui.versionsTable.selectRow(row)
        assert ui.renameVersionButton.enabled
        assert ui.exportVersionButton.enabled
        for button, reason in ((ui.useVersionButton, use), (ui.deleteVersionButton, delete)):
            assert button.enabled == (not reason)
            assert button.toolTip
            assert button.toolTip == (reason or button.toolTip)

    def test_work_on_its_way_is_not_disturbed(self, panel, ui):
        ui.versionsTable.selectRow(2)
        show(panel, job=JobStatus("train"))
        for button in (ui.useVersionButton, ui.deleteVersionButton):
            assert (button.enabled, button.toolTip) == (False, "Wait until the work on its way has ended")
        assert ui.renameVersionButton.enabled

    def test_the_chosen_version_stays_chosen_where_it_has_moved(self, panel, ui):
        ui.versionsTable.selectRow(2)
        show(panel, versions=(OFFERED, SHIPPED, USED))
        ui.useVersionButton.click()
        assert panel.logic.calls == [("useVersion", ("v2",))]

    def test_a_version_that_has_gone_is_no_longer_chosen(self, panel, ui):
        ui.versionsTable.selectRow(2)
        show(panel, versions=(SHIPPED, USED))
        assert ui.versionsTable.rowCount == 2
        assert not ui.renameVersionButton.enabled

    def test_the_same_rows_do_not_touch_the_table(self, panel, ui):
        item = ui.versionsTable.item(0, 0)
        show(panel, versions=tuple(VERSIONS))
        assert ui.versionsTable.item(0, 0) is item


class TestVersionActions:
    @pytest.fixture
    def ui(self, panel):
        show(panel, versions=VERSIONS)
        panel.ui.versionsTable.selectRow(2)
        return panel.ui

    def test_use(self, panel, ui):
        ui.useVersionButton.click()
        assert panel.logic.calls == [("useVersion", ("v2",))]

    def test_rename(self, panel, ui, monkeypatch):
        asked = []
        monkeypatch.setattr(dialogs, "askText", lambda text, initial: asked.append((text, initial)) or "My knee")
        ui.renameVersionButton.click()
        assert asked == [("New name of “Knee, round 2”", "Knee, round 2")]
        assert panel.logic.calls == [("renameVersion", ("v2", "My knee"))]

    @pytest.mark.parametrize("answer", [None, "", "Knee, round 2"])
    def test_no_new_name_renames_nothing(self, panel, ui, monkeypatch, answer):
        monkeypatch.setattr(dialogs, "askText", lambda text, initial: answer)
        ui.renameVersionButton.click()
        assert panel.logic.calls == []

    def test_delete_asks_first_and_the_harmless_answer_is_the_default(self, panel, ui, monkeypatch):
        asked = []

        def ask(text, choices, default):
            asked.append((text, dict(choices)[default]))
            return answer

        monkeypatch.setattr(dialogs, "askChoice", ask)
        answer = "cancel"
        ui.deleteVersionButton.click()
        assert panel.logic.calls == []
        answer = "delete"
        ui.deleteVersionButton.click()
        assert panel.logic.calls == [("deleteVersion", ("v2",))]
        assert asked[0] == ("Delete the version “Knee, round 2”? It cannot be brought back.", "Cancel")

    def test_pieces_of_images_go_with_the_version_and_stay_out_of_what_is_exported(self, panel, ui, monkeypatch):
        asked = []
        monkeypatch.setattr(dialogs, "askChoice", lambda text, *others: asked.append(text))
        assert "pieces of images" not in ui.exportVersionButton.toolTip
        show(panel, versions=(replace(OFFERED, hasPieces=True),))
        ui.versionsTable.selectRow(0)
        assert ui.exportVersionButton.toolTip.endswith("The pieces of images that it keeps for retraining stay here.")
        ui.deleteVersionButton.click()
        assert asked[0].endswith("The pieces of images that it keeps for retraining are deleted, too.")

    def test_export(self, panel, ui, monkeypatch):
        asked = []
        monkeypatch.setattr(dialogs, "askSaveFile", lambda *a: asked.append(a) or "/tmp/knee.safetensors")
        ui.exportVersionButton.click()
        assert asked == [("Export a version", "Knee, round 2.safetensors", "safetensors")]
        assert panel.logic.calls == [("exportVersion", ("v2", "/tmp/knee.safetensors"))]

    def test_export_proposes_a_name_that_a_file_may_have(self, panel, ui, monkeypatch):
        asked = []
        monkeypatch.setattr(dialogs, "askSaveFile", lambda *a: asked.append(a[1]))
        show(panel, versions=(VersionRow("v3", "CT/MR: knee?", "", "", 1, "–", "kept", False, True),))
        ui.versionsTable.selectRow(0)
        ui.exportVersionButton.click()
        assert asked == ["CT-MR- knee-.safetensors"]

    def test_import(self, panel, ui, monkeypatch):
        monkeypatch.setattr(dialogs, "askOpenFile", lambda title, suffix: f"/tmp/{title}.{suffix}")
        ui.importVersionButton.click()
        assert panel.logic.calls == [("importModel", ("/tmp/Import a version.safetensors",))]

    def test_no_file_does_nothing(self, panel, ui, monkeypatch):
        for name in ("askSaveFile", "askOpenFile"):
            monkeypatch.setattr(dialogs, name, lambda *arguments: None)
        ui.exportVersionButton.click()
        ui.importVersionButton.click()
        assert panel.logic.calls == []

    def test_open_folder(self, panel, ui):
        ui.openFolderButton.click()
        assert panel.logic.calls == [("openModelFolder", ())]
