"""The whole loop with the real computation: segment, correct slices, confirm, retrain, compare, keep, go back.

Trainings have a budget of iterations, so that what comes of them does not depend on the computer's speed. Dice is
that of the slices which were never shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import host
import numpy as np
import pytest
import qt
import slicer
from nodes import addLinearTransform
from radiologist import Radiologist

from unetseg.config import Label, TrainingSettings
from unetseg.data import Case, find_cases, load_case
from unetseg.inference import segment
from unetseg.messages import Train
from unetseg.model_file import load_model
from unetseg.phantom import PHANTOM_LABELS, make_phantom
from unetseg.training import Control, TrainingRequest, train
from unetseg.volume import LabelMap, Volume
from UNetSegmentLib.corrections import SliceState
from UNetSegmentLib.retraining import Retraining
from UNetSegmentLib.sample_data import ijkToRas
from UNetSegmentLib.state import VersionRow

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "UNetSegment" / "UNetSegment.py"
SHAPE, SPACING_MM = (24, 32, 32), (5.0, 2.5, 2.5)
RETRAINING = 50
"""Iterations that are enough to learn another scanner's contrast from three slices."""
HIPPOCAMPUS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "anterior hippocampus", (230, 159, 0)),
    Label(2, "posterior hippocampus", (86, 180, 233)),
)


@pytest.fixture
def widget(scene: Any, tmp_path: Path) -> Iterator[Any]:
    """The module, open, with an empty project."""
    qt.QSettings().setValue("UNetSegment/projectFolder", str(tmp_path / "project"))
    _module, widget = host.loadModule(MODULE)
    host.enter(widget)
    widget.logic.segmentation.parameters.device = "cpu"
    yield widget
    host.exit(widget)
    host.close(widget)


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with a number of iterations, which the panel's trainings take from then on instead of seconds."""
    made = Retraining._request

    def set_budget(iterations: int, **others: Any) -> None:
        def request(self: Retraining, folder: Path) -> Train:
            whole = made(self, folder)
            settings = {name: value for name, value in whole.settings.items() if name != "seconds"}
            assert settings != whole.settings
            return replace(whole, settings={**settings, "iterations": iterations, **others})

        monkeypatch.setattr(Retraining, "_request", request)

    return set_budget


@pytest.fixture(scope="session")
def phantomModel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3D U-Net that knows upright bodies as the first scanner shows them."""
    output = tmp_path_factory.mktemp("phantom") / "Abdomen.safetensors"
    return train_first(output, [phantom(number) for number in range(6)], PHANTOM_LABELS)


@pytest.fixture(scope="session")
def twoChannelModel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``phantomModel``, from two contrasts."""
    output = tmp_path_factory.mktemp("channels") / "Two contrasts.safetensors"
    return train_first(output, [two_contrasts(number)[0] for number in range(6)], PHANTOM_LABELS)


@pytest.fixture(scope="session")
def hippocampusCases() -> list[tuple[int, Any]]:
    """(number, files) of each case in the data set Task04 of the Medical Segmentation Decathlon."""
    folder = (REPOSITORY / os.environ.get("UNETSEG_DATA", "../shared/data")).resolve() / "hippocampus"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set UNETSEG_DATA to the folder that holds them")
    return [(int(files.name.rpartition("_")[2]), files) for files in find_cases(folder).cases]


@pytest.fixture(scope="session")
def hippocampusModel(tmp_path_factory: pytest.TempPathFactory, hippocampusCases: list[tuple[int, Any]]) -> Path:
    """A 2D U-Net that has seen twelve real hippocampi, far too short."""
    cases = [load_case(files) for number, files in hippocampusCases if number % 3 == 1][:12]
    output = tmp_path_factory.mktemp("hippocampus") / "Hippocampus.safetensors"
    return train_first(output, cases, HIPPOCAMPUS, iterations=30, network="unet_2d", network_arguments={})


def train_first(
    output: Path, cases: list[Case], labels: tuple[Label, ...], iterations: int = 60, **others: Any
) -> Path:
    settings = TrainingSettings(iterations=iterations, validations=0, learning_rate=5e-3)
    arguments = {"modality": "MR", "network_arguments": {"base_channels": 8, "depth": 3}, "device": "cpu", **others}
    request = TrainingRequest(cases, output, settings, labels, **arguments)
    return train(request, control=Control(), report=lambda progress: None).path


def phantom(number: int, **others: Any) -> Case:
    generator = np.random.default_rng(number)
    return Case(f"phantom_{number}", *make_phantom(generator, shape=SHAPE, spacing_mm=SPACING_MM, **others))


def two_contrasts(number: int, **others: Any) -> tuple[Case, Volume]:
    """A body in two contrasts, and the second one alone as it was before it was brought to the grid of the first."""
    fine, labels = make_phantom(np.random.default_rng(number), **others)
    second = Volume(fine.array.max() - fine.array, fine.geometry)
    grid = replace(fine.geometry, shape=SHAPE, spacing_mm=SPACING_MM)  # every other voxel, from the first one on
    channels = np.concatenate([fine.array, second.array])[:, ::2, ::2, ::2]
    return Case(f"phantom_{number}", Volume(channels, grid), LabelMap(labels.array[::2, ::2, ::2], grid)), second


def unknown_phantom(number: int = 10) -> Case:
    """A body as the model does not know it: from the other scanner, and aslant."""
    return phantom(number, domain="shifted", oblique=True)


def doctor_of(widget: Any, case: Case) -> Radiologist:
    volume = case.volume
    node = slicer.util.addVolumeFromArray(volume.array[0], ijkToRas(volume.geometry), case.name)
    return Radiologist(widget, node, case.annotation.array)


def ownRows(doctor: Radiologist) -> list[VersionRow]:
    """The table of versions without those that come with the extension."""
    shipped = {version.id for version in doctor.logic.project.versions() if version.status == "shipped"}
    return [row for row in doctor.logic.versionRows() if row.id not in shipped]


def plane(axis: int, index: int) -> tuple[Any, ...]:
    taken: list[Any] = [slice(None)] * 3
    taken[axis] = index
    return tuple(taken)


def confirmed(doctor: Radiologist, planes: list[tuple[int, int]]) -> bool:
    """Whether the slices are what was confirmed, to the voxel."""
    labels = doctor.labels()
    return all(np.array_equal(labels[plane(*place)], doctor.truth[plane(*place)]) for place in planes)


def test_three_corrected_slices_improve_the_others_and_every_step_can_be_taken_back(widget, budget, phantomModel):
    doctor = doctor_of(widget, unknown_phantom())
    budget(RETRAINING)
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
    assert doctor.dice(planes) > before + 0.05
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
    doctor = doctor_of(widget, unknown_phantom())
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
    doctor.segment()
    assert np.array_equal(doctor.labels(), corrected)


@pytest.mark.parametrize(
    ("network", "planes", "dice"),
    [
        ("unet_2d", [(0, 15), (0, 11), (0, 7)], 0.3),
        ("attention_unet", [(0, 14), (1, 20), (0, 8)], 0.15),
    ],
)
def test_a_new_network_learns_from_three_painted_slices(widget, budget, network, planes, dice):
    doctor = doctor_of(widget, phantom(10, oblique=True))
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
    print(network, doctor.dice(planes))
    assert doctor.dice(planes) > dice
    assert confirmed(doctor, planes)
    version = doctor.logic.project.find(doctor.parameters.model)
    assert (version.network, version.parent, version.slices) == (network, "", 3)
    assert [label.name for label in version.labels] == ["Background", "Liver", "Kidneys", "Aorta"]

    doctor.segment()
    assert np.array_equal(doctor.labels(), kept)
    other = doctor_of(widget, phantom(11))
    other.segment()
    assert other.dice([]) > dice


def test_the_slices_of_two_volumes_are_learned_together(widget, budget, phantomModel):
    doctors, planes, before = [], [], []
    for number in (11, 12):
        doctors.append(doctor_of(widget, unknown_phantom(number)))
        if number == 11:
            doctors[0].importModel(phantomModel)
        doctors[-1].segment()
        planes.append(doctors[-1].correctNext(3))
        before.append(doctors[-1].dice(planes[-1]))
    budget(RETRAINING)
    doctors[1].retrain()
    doctors[1].keep()
    version = doctors[1].logic.project.find(doctors[1].parameters.model)
    assert (version.volumes, version.slices) == (2, 6)
    assert doctors[1].dice(planes[1]) > before[1] + 0.05
    assert confirmed(doctors[1], planes[1])

    doctors[0].parameters.volume = doctors[0].volume
    doctors[0].segment()
    print(before, doctors[0].dice(planes[0]))
    assert doctors[0].dice(planes[0]) > before[0] + 0.05
    assert confirmed(doctors[0], planes[0])


def test_two_channels_on_grids_and_under_transforms_of_their_own(widget, budget, twoChannelModel):
    case, second = two_contrasts(10, domain="shifted", oblique=True)
    doctor = doctor_of(widget, case)
    towards, away = addLinearTransform(), addLinearTransform(shift(9.0, -4.0, 12.0))
    doctor.volume.SetAndObserveTransformNodeID(towards.GetID())
    turned, toRas = otherwise_stored(second)
    moved = np.linalg.inv(matrix_of(away)) @ matrix_of(towards) @ toRas
    channel2 = slicer.util.addVolumeFromArray(turned, moved, "second contrast")
    channel2.SetAndObserveTransformNodeID(away.GetID())

    doctor.importModel(twoChannelModel)
    doctor.ui("segment").channel2Selector.setCurrentNode(channel2)
    doctor.segment()
    expected = segment(load_model(twoChannelModel), case.volume, device="cpu").label_map.array
    assert np.mean(doctor.labels() != expected) < 0.001
    planes = doctor.correctNext(3)
    before = doctor.dice(planes)
    budget(RETRAINING)
    doctor.retrain()
    doctor.keep()
    print(before, doctor.dice(planes))
    assert doctor.dice(planes) > before + 0.05
    assert confirmed(doctor, planes)


def shift(right: float, front: float, up: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = right, front, up
    return matrix


def matrix_of(transform: Any) -> np.ndarray:
    return slicer.util.arrayFromTransformMatrix(transform)


def otherwise_stored(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The first channel with other axes, one of them backwards, and the matrix that puts it where it was."""
    array = volume.array[0][::-1].transpose(1, 0, 2)
    axes = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, len(volume.array[0]) - 1], [0, 0, 0, 1]])
    return array, ijkToRas(volume.geometry) @ axes


def test_nothing_changes_outside_the_region_of_interest(widget, budget, phantomModel):
    doctor = doctor_of(widget, unknown_phantom())
    doctor.importModel(phantomModel)
    doctor.segment()
    planes = doctor.correctNext(2)
    before = doctor.labels()
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    toRas = ijkToRas(unknown_phantom().volume.geometry)
    # Voxels 6 … 17, 8 … 23 and 8 … 23, in a box that lies along the volume.
    region.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(along(toRas, (15.5, 15.5, 11.5))))
    region.SetSize(16 * 2.5, 16 * 2.5, 12 * 5.0)
    doctor.ui("segment").regionSelector.setCurrentNode(region)
    inside = np.zeros(SHAPE, bool)
    inside[6:18, 8:24, 8:24] = True
    budget(3)
    doctor.retrain()
    doctor.keep()
    changed = doctor.labels() != before
    assert changed[inside].any()
    assert not changed[~inside].any()
    assert confirmed(doctor, planes)


def along(ijkToRas: np.ndarray, centre: tuple[float, float, float]) -> np.ndarray:
    """A frame with the directions of a grid and its origin at a place (i, j, k)."""
    frame = ijkToRas.copy()
    frame[:3, :3] /= np.linalg.norm(frame[:3, :3], axis=0)
    frame[:, 3] = ijkToRas @ [*centre, 1.0]
    return frame


def test_the_result_lies_where_the_volume_lies(widget, phantomModel):
    upright, turned = doctor_of(widget, unknown_phantom()), doctor_of(widget, unknown_phantom())
    upright.importModel(phantomModel)
    transform = addLinearTransform()
    turned.volume.SetAndObserveTransformNodeID(transform.GetID())
    centres = []
    for doctor in (upright, turned):
        doctor.parameters.volume = doctor.volume
        doctor.segment()
        centres.append([*doctor.parameters.segmentation.GetSegmentCenterRAS("UNetSegment_1"), 1.0])
    assert np.allclose(centres[1], matrix_of(transform) @ centres[0])
    labels = turned.labels()
    upright.parameters.volume = upright.volume
    assert np.array_equal(upright.labels(), labels)


@pytest.mark.parametrize("which", [0, 1])
def test_five_corrected_slices_improve_the_others_of_a_real_volume(
    widget, budget, hippocampusModel, hippocampusCases, which
):
    doctor = doctor_of(widget, load_case([files for number, files in hippocampusCases if number % 3 == 2][which]))
    doctor.importModel(hippocampusModel)
    old = doctor.parameters.model
    doctor.segment()
    planes = doctor.correctNext(5)
    corrected, before = doctor.labels(), doctor.dice(planes)
    budget(80)
    doctor.retrain()
    doctor.keep()
    print(before, doctor.dice(planes))
    assert doctor.dice(planes) > before + 0.1
    assert confirmed(doctor, planes)
    doctor.segment()
    assert confirmed(doctor, planes)
    doctor.useVersion(old)
    assert np.array_equal(doctor.labels(), corrected)
