"""The whole loop with the real computation: segment, correct slices, confirm, retrain, compare, keep, go back.

Trainings have a budget of iterations, so that what comes of them does not depend on the computer's speed. Dice is
that of the slices which were never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import patients
import pytest
import slicer
from nodes import addLinearTransform
from numpy.typing import NDArray
from radiologist import Radiologist, doctorOf

from unetseg.inference import segment
from unetseg.messages import Train
from unetseg.model_file import load_model
from unetseg.phantom import PHANTOM_LABELS
from UNetSegmentLib.corrections import SliceState
from UNetSegmentLib.retraining import Retraining
from UNetSegmentLib.state import VersionRow


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with a number of iterations, which the panel's trainings take from then on instead of seconds."""
    made = Retraining._request

    def setBudget(iterations: int, **others: Any) -> None:
        def request(self: Retraining, folder: Path) -> Train:
            whole = made(self, folder)
            settings = {name: value for name, value in whole.settings.items() if name != "seconds"}
            assert settings != whole.settings
            return replace(whole, settings={**settings, "iterations": iterations, **others})

        monkeypatch.setattr(Retraining, "_request", request)

    return setBudget


@pytest.fixture(scope="session")
def phantomModel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows upright bodies as the first scanner shows them."""
    cases = [patients.phantom(number) for number in range(6)]
    return patients.trainFirst(tmp_path_factory.mktemp("a") / "Abdomen.safetensors", cases, PHANTOM_LABELS, "unet_3d")


@pytest.fixture(scope="session")
def twoChannelModel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bodies in two contrasts."""
    cases = [patients.twoContrasts(number)[0] for number in range(6)]
    return patients.trainFirst(tmp_path_factory.mktemp("b") / "Two.safetensors", cases, PHANTOM_LABELS, "unet_2d")


@pytest.fixture(scope="session")
def hippocampusModel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real ones, of other people than those that are tested."""
    cases, labels = patients.hippocampusCases(1, 12), patients.HIPPOCAMPUS_LABELS
    return patients.trainFirst(tmp_path_factory.mktemp("c") / "Hippocampus.safetensors", cases, labels, "unet_2d")


def ownRows(doctor: Radiologist) -> list[VersionRow]:
    """The table of versions without those that come with the extension."""
    shipped = {version.id for version in doctor.logic.project.versions() if version.status == "shipped"}
    return [row for row in doctor.logic.versionRows() if row.id not in shipped]


def confirmed(doctor: Radiologist, planes: list[tuple[int, int]]) -> bool:
    """Whether the slices are what was confirmed, to the voxel."""
    labels = doctor.labels()
    return all(np.array_equal(labels.take(i, axis), doctor.truth.take(i, axis)) for axis, i in planes)


def matrixOf(transform: Any) -> NDArray[np.float64]:
    return slicer.util.arrayFromTransformMatrix(transform)


def test_three_corrected_slices_improve_the_others_and_every_step_can_be_taken_back(widget, budget, phantomModel):
    doctor = doctorOf(widget, patients.unknownPhantom())
    budget(60)
    doctor.importModel(phantomModel)
    old = doctor.parameters.model
    doctor.segment()
    planes = doctor.correctNext(3)
    corrected, rows, before = doctor.labels(), doctor.logic.rows, doctor.dice(planes)
    assert [(row.axis, row.index) for row in rows if row.state == SliceState.CONFIRMED] == sorted(planes)

    doctor.retrain()
    assert np.array_equal(doctor.labels(), corrected)
    assert doctor.parameters.model == old
    doctor.keep()
    new, kept, keptRows = doctor.parameters.model, doctor.labels(), doctor.logic.rows
    assert doctor.dice(planes) > before + 0.1
    assert confirmed(doctor, planes)

    doctor.editor.undo()
    doctor.settle()
    assert np.array_equal(doctor.labels(), corrected)
    assert doctor.logic.rows == rows
    doctor.editor.redo()
    doctor.settle()
    assert np.array_equal(doctor.labels(), kept)
    assert doctor.logic.rows == keptRows

    doctor.segment()
    assert np.array_equal(doctor.labels(), kept)
    doctor.useVersion(old)
    assert np.array_equal(doctor.labels(), corrected)
    doctor.useVersion(new)
    assert np.array_equal(doctor.labels(), kept)
    first, second = ownRows(doctor)
    assert (first.id, first.parentName, first.slices, first.inUse) == (new, "Abdomen", 3, True)
    assert (second.id, second.parentName, second.inUse, second.statusText) == (old, "", False, "taken in")


def test_what_is_not_kept_changes_nothing(widget, budget, phantomModel):
    """Two slices, so that none is held out and the offered version is the last one, whatever it is worth."""
    doctor = doctorOf(widget, patients.unknownPhantom())
    budget(3)
    doctor.importModel(phantomModel)
    doctor.segment()
    doctor.correctNext(2)
    corrected, rows = doctor.labels(), doctor.logic.rows
    doctor.retrain()
    offered = [doctor.logic.comparison]
    doctor.press("compare", "tryAgainButton")
    offered.append(doctor.logic.comparison)
    assert all(any(row.changedMl > 0 for row in comparison.rows) for comparison in offered)
    assert offered[0].versionId != offered[1].versionId
    assert offered[0].rows != offered[1].rows

    doctor.press("compare", "backButton")
    assert np.array_equal(doctor.labels(), corrected)
    assert doctor.logic.rows == rows
    states = {row.id: row.statusText for row in ownRows(doctor)}
    used = doctor.parameters.model
    assert states == {offered[1].versionId: "rejected", offered[0].versionId: "rejected", used: "in use"}


def test_segmenting_again_joins_the_confirmed_slices_to_the_others(widget, phantomModel):
    doctor = doctorOf(widget, patients.unknownPhantom())
    doctor.importModel(phantomModel)
    doctor.segment()
    planes = doctor.correctNext(2)
    before = doctor.dice(planes)
    doctor.segment()
    assert confirmed(doctor, planes)
    assert doctor.dice(planes) > before + 0.02


@pytest.mark.parametrize(
    ("network", "planes", "dice"),
    [
        ("unet_2d", [(0, 15), (0, 11), (0, 7)], 0.3),
        ("attention_unet", [(0, 14), (1, 20), (0, 8)], 0.15),
    ],
)
def test_a_new_network_learns_from_three_painted_slices(widget, budget, network, planes, dice):
    doctor = doctorOf(widget, patients.phantom(10, oblique=True))
    budget(60, learning_rate=1e-2)
    doctor.choose(f"new:{network}")
    doctor.ui("segment").structuresEdit.setText("Liver, Kidneys, Aorta")
    doctor.segment()
    assert not doctor.labels().any()
    for place in planes:
        doctor.correct(*place)
    assert doctor.dice(planes) == 0
    doctor.retrain()
    doctor.keep()
    kept = doctor.labels()
    assert doctor.dice(planes) > dice
    assert confirmed(doctor, planes)
    version = doctor.logic.project.find(doctor.parameters.model)
    assert (version.network, version.parent, version.slices) == (network, "", 3)
    assert [label.name for label in version.labels] == ["Background", "Liver", "Kidneys", "Aorta"]

    doctor.segment()
    assert np.array_equal(doctor.labels(), kept)
    other = doctorOf(widget, patients.phantom(11))
    other.segment()
    assert other.dice([]) > dice


def test_the_slices_of_two_volumes_are_learned_together(widget, budget, phantomModel):
    first = doctorOf(widget, patients.unknownPhantom(11))
    first.importModel(phantomModel)
    doctors, planes, before = [first], [], []
    for doctor in doctors:
        doctor.segment()
        planes.append(doctor.correctNext(3))
        before.append(doctor.dice(planes[-1]))
        if doctor is first:
            doctors.append(doctorOf(widget, patients.unknownPhantom(12)))
    budget(60)
    doctors[1].retrain()
    doctors[1].keep()
    version = first.logic.project.find(first.parameters.model)
    assert (version.volumes, version.slices) == (2, 6)
    assert doctors[1].dice(planes[1]) > before[1] + 0.1
    assert confirmed(doctors[1], planes[1])

    first.parameters.volume = first.volume
    first.segment()
    assert first.dice(planes[0]) > before[0] + 0.1
    assert confirmed(first, planes[0])


def test_two_channels_on_grids_and_under_transforms_of_their_own(widget, budget, twoChannelModel):
    case, second = patients.twoContrasts(12, domain="shifted", oblique=True)
    doctor = doctorOf(widget, case)
    there, elsewhere = addLinearTransform(), addLinearTransform(np.eye(4) + [[0, 0, 0, mm] for mm in (9, -4, 12, 0)])
    doctor.volume.SetAndObserveTransformNodeID(there.GetID())
    array, toRas = patients.otherwiseStored(second)
    moved = np.linalg.inv(matrixOf(elsewhere)) @ matrixOf(there) @ toRas
    channel2 = slicer.util.addVolumeFromArray(array, moved, "Second contrast")
    channel2.SetAndObserveTransformNodeID(elsewhere.GetID())

    doctor.importModel(twoChannelModel)
    doctor.ui("segment").channel2Selector.setCurrentNode(channel2)
    doctor.segment()
    expected = segment(load_model(twoChannelModel), case.volume, device="cpu").label_map.array
    assert np.mean(doctor.labels() != expected) < 0.001
    planes = doctor.correctNext(3)
    before = doctor.dice(planes)
    budget(60)
    doctor.retrain()
    doctor.keep()
    assert doctor.dice(planes) > before + 0.1
    assert confirmed(doctor, planes)


def test_nothing_changes_outside_the_region_of_interest(widget, budget, phantomModel):
    doctor = doctorOf(widget, patients.unknownPhantom())
    doctor.importModel(phantomModel)
    doctor.segment()
    planes = doctor.correctNext(2)
    before = doctor.labels()
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    doctor.ui("segment").regionSelector.setCurrentNode(region)
    # The half of the volume along each axis around its centre: voxels 6 … 17, 8 … 23 and 8 … 23.
    doctor.logic.fitRegion(region)
    region.SetSize(*(length / 2 for length in region.GetSize()))
    inside = np.zeros(patients.SHAPE, bool)
    inside[6:18, 8:24, 8:24] = True
    budget(3)
    doctor.retrain()
    doctor.keep()
    changed = doctor.labels() != before
    assert changed[inside].any()
    assert not changed[~inside].any()
    assert confirmed(doctor, planes)


def test_the_result_lies_where_the_volume_lies(widget, phantomModel):
    upright, turned = (doctorOf(widget, patients.unknownPhantom()) for _ in range(2))
    upright.importModel(phantomModel)
    transform = addLinearTransform()
    turned.volume.SetAndObserveTransformNodeID(transform.GetID())
    results = []
    for doctor in (upright, turned):
        doctor.parameters.volume = doctor.volume
        doctor.segment()
        centre = [*doctor.parameters.segmentation.GetSegmentCenterRAS("UNetSegment_1"), 1.0]
        results.append((doctor.labels(), centre))
    (labels, centre), (turnedLabels, turnedCentre) = results
    assert np.array_equal(turnedLabels, labels)
    assert np.allclose(turnedCentre, matrixOf(transform) @ centre)


@pytest.mark.parametrize("which", [0, 1])
def test_five_corrected_slices_improve_the_others_of_a_real_volume(widget, budget, hippocampusModel, which):
    doctor = doctorOf(widget, patients.hippocampusCases(2, 2)[which])
    doctor.importModel(hippocampusModel)
    old = doctor.parameters.model
    doctor.segment()
    planes = doctor.correctNext(5)
    corrected, before = doctor.labels(), doctor.dice(planes)
    budget(80)
    doctor.retrain()
    doctor.keep()
    assert doctor.dice(planes) > before + 0.1
    assert confirmed(doctor, planes)
    doctor.segment()
    assert confirmed(doctor, planes)
    doctor.useVersion(old)
    assert np.array_equal(doctor.labels(), corrected)
