"""The Retrain section in every state, its buttons, and the plot that follows the curve."""

import pytest
import slicer
from build_section import buildSection

from unetseg.errors import TrainingDataError
from UNetSegmentLib.parameters import Budget
from UNetSegmentLib.sections.retrain import RetrainSection
from UNetSegmentLib.state import CurvePoint, JobStatus

TRAINING = JobStatus("train", "Learning from the slices", 0.375, 190.0)


@pytest.fixture
def panel(scene):
    panel = buildSection(RetrainSection, "Retrain")
    yield panel
    panel.section.close()
    panel.root.delete()


def show(panel, **state):
    for name, value in state.items():
        setattr(panel.logic, name, value)
    panel.logic.changed.emit()


def seen(widget):
    return not widget.isHidden()


def test_ready_to_start(panel):
    ui = panel.ui
    assert ui.trainSummaryLabel.text == "6 confirmed slices in 2 volumes, starting from “Knee 1”"
    assert (ui.trainButton.text, ui.trainButton.enabled) == ("Start retraining", True)
    assert "Learns from every slice" in ui.trainButton.toolTip
    hidden = (ui.trainWarningsLabel, ui.trainReasonLabel, ui.trainStageLabel, ui.trainProgressBar, ui.abortButton)
    assert not any(seen(widget) for widget in (*hidden, ui.curveFrame))


def test_start(panel):
    panel.ui.trainButton.click()
    assert panel.logic.calls == [("startTraining", ())]


def test_a_grey_start_button_says_why(panel):
    panel.logic.reasons["train"] = "Confirm at least one slice first"
    show(panel)
    assert not panel.ui.trainButton.enabled
    assert panel.ui.trainReasonLabel.text == panel.ui.trainButton.toolTip == "Confirm at least one slice first"
    assert seen(panel.ui.trainReasonLabel)
    panel.ui.trainButton.click()
    assert panel.logic.calls == []


def test_every_warning_is_a_line_of_its_own(panel):
    show(panel, warnings=("Too few slices.", "No slice shows Bone."))
    assert seen(panel.ui.trainWarningsLabel)
    assert panel.ui.trainWarningsLabel.text == "• Too few slices.\n• No slice shows Bone."
    assert panel.ui.trainButton.enabled


def test_an_error_at_the_start_becomes_a_notice(panel):
    panel.logic.raises["startTraining"] = error = TrainingDataError("no slice")
    panel.ui.trainButton.click()
    assert panel.logic.reported == [error]


class TestBudget:
    def test_each_choice_is_one_radio_button(self, panel):
        ui, parameters = panel.ui, panel.logic.parameters
        assert parameters.budget == Budget.quick
        assert (ui.quickRadio.checked, ui.thoroughRadio.checked, ui.minutesRadio.checked) == (True, False, False)
        for radio, budget in (
            (ui.thoroughRadio, Budget.thorough),
            (ui.minutesRadio, Budget.minutes),
            (ui.quickRadio, Budget.quick),
        ):
            radio.click()
            assert parameters.budget == budget
            assert radio.checked

    def test_a_loaded_scene_is_shown(self, panel):
        panel.logic.parameters.budget = Budget.minutes
        panel.logic.parameters.minutes = 42.5
        show(panel)
        assert panel.ui.minutesRadio.checked
        assert panel.ui.minutesSpinBox.value == 42.5

    def test_the_estimates_are_those_of_the_device(self, panel):
        assert panel.ui.quickRadio.text == "Quick (about 30 seconds)"
        assert panel.ui.thoroughRadio.text == "Thorough (about 10 min)"
        show(panel, seconds={Budget.quick: 120.0, Budget.thorough: 59.6})
        assert panel.ui.quickRadio.text == "Quick (about 2 min)"
        assert panel.ui.thoroughRadio.text == "Thorough (about 60 seconds)"

    def test_minutes_count_only_where_they_are_chosen(self, panel):
        assert not panel.ui.minutesSpinBox.enabled
        panel.ui.minutesRadio.click()
        assert panel.ui.minutesSpinBox.enabled
        panel.ui.minutesSpinBox.setValue(3.5)
        assert panel.logic.parameters.minutes == 3.5
        panel.ui.quickRadio.click()
        assert not panel.ui.minutesSpinBox.enabled

    def test_without_a_scene_there_is_nothing_to_choose(self, panel):
        show(panel, parameters=None)
        assert not panel.ui.budgetBox.enabled


class TestWhileTraining:
    def test_start_has_become_stop(self, panel):
        ui = panel.ui
        show(panel, job=TRAINING)
        assert (ui.trainButton.text, ui.trainButton.enabled) == ("Stop and keep the best so far", True)
        assert ui.trainStageLabel.text == "Learning from the slices – about 3 min left"
        assert ui.trainProgressBar.value == 38
        assert all(seen(widget) for widget in (ui.trainStageLabel, ui.trainProgressBar, ui.abortButton))
        assert ui.abortButton.text == "Abort, keep nothing"
        assert not ui.budgetBox.enabled

    def test_stop_and_abort(self, panel):
        show(panel, job=TRAINING)
        panel.ui.trainButton.click()
        panel.ui.abortButton.click()
        assert panel.logic.calls == [("stopTraining", ()), ("abortTraining", ())]

    def test_stopping_takes_no_second_stop_but_an_abort(self, panel):
        show(panel, job=JobStatus("train", "Learning from the slices", 0.5, None, stopping=True))
        assert not panel.ui.trainButton.enabled
        assert panel.ui.abortButton.enabled
        assert panel.ui.trainStageLabel.text == "Stopping"

    def test_the_slices_of_the_start_stay_shown(self, panel):
        panel.logic.reasons["train"] = "Wait"
        show(panel, job=TRAINING, summary="7 confirmed slices", warnings=("!",))
        assert panel.ui.trainSummaryLabel.text.startswith("6 confirmed slices")
        assert not seen(panel.ui.trainWarningsLabel)
        assert not seen(panel.ui.trainReasonLabel)

    def test_the_new_version_on_the_open_volume_can_no_longer_be_stopped(self, panel):
        show(panel, job=JobStatus("compare", "Segmenting with the new version", 0.25, 20.0))
        assert not panel.ui.trainButton.enabled
        assert panel.ui.trainStageLabel.text == "Segmenting with the new version – less than a minute left"
        assert panel.ui.trainProgressBar.value == 25

    def test_afterwards_all_is_as_before(self, panel):
        show(panel, job=TRAINING)
        show(panel, job=None)
        test_ready_to_start(panel)


def test_other_work_is_not_shown_here(panel):
    panel.logic.reasons["train"] = "Wait until the work on its way has ended"
    show(panel, job=JobStatus("segment", "Segmenting", 0.5, 10.0))
    assert panel.ui.trainButton.text == "Start retraining"
    assert not panel.ui.trainButton.enabled
    assert not seen(panel.ui.trainProgressBar)
    assert not seen(panel.ui.trainStageLabel)


class TestCurve:
    def test_it_appears_with_the_first_point_and_goes_with_a_new_training(self, panel):
        panel.logic.curve = [CurvePoint(1, 0.1, 1.25, None)]
        panel.logic.curveChanged.emit()
        assert seen(panel.ui.curveFrame)
        table = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLTableNode").GetTable()
        assert (table.GetNumberOfRows(), table.GetColumnByName("loss").GetValue(0)) == (1, 1.25)
        panel.logic.curve = []
        panel.logic.curveChanged.emit()
        assert not seen(panel.ui.curveFrame)

    def test_it_stays_when_the_training_has_ended(self, panel):
        panel.logic.curve = [CurvePoint(1, 0.1, 1.25, 0.5)]
        panel.logic.curveChanged.emit()
        show(panel, job=None)
        assert seen(panel.ui.curveFrame)

    def test_a_closed_section_follows_no_longer(self, panel):
        panel.section.close()
        panel.logic.curve = [CurvePoint(1, 0.1, 1.25, 0.5)]
        panel.logic.curveChanged.emit()
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotViewNode") == 0

    def test_what_goes_wrong_is_reported(self, panel):
        panel.logic.curve = [CurvePoint(1, 0.1, "high", None)]
        panel.logic.curveChanged.emit()
        assert [type(error) for error in panel.logic.reported] == [TypeError]
