import qt
import slicer


def test_scene_starts_empty_and_a_button_click_reaches_its_slot(scene):
    clicks = []
    button = qt.QPushButton("Go")
    button.connect("clicked(bool)", clicks.append)
    button.click()
    assert clicks == [False]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
