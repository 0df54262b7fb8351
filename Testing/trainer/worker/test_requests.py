"""From messages to jobs: what is passed on, what is refused, and one request through everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_models import DOCUMENT, save_small_model
from unetseg import jobs
from unetseg.array_file import load_array, save_array
from unetseg.config import AugmentationSettings, TrainingSettings
from unetseg.errors import ImageError, SettingsError, TrainingDataError
from unetseg.labelled_slices import LabelledSlice, save_slices
from unetseg.messages import (
    Capabilities,
    Describe,
    Evaluate,
    Evaluated,
    Release,
    Segment,
    Segmented,
    Train,
    TrainingCase,
)
from unetseg.model_file import file_sha256
from unetseg.training import Control, TrainingRequest
from unetseg.volume import Geometry
from unetseg.worker.requests import Performer, result_path

GEOMETRY = Geometry((6, 12, 14), (2.5, 1.0, 1.0), (1.0, 2.0, 3.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job folder with an image, an annotation and a mask; the model lies elsewhere."""
    job, models = tmp_path / "job ü", tmp_path / "models"
    job.mkdir()
    models.mkdir()
    save_small_model(models / "m.safetensors")
    generator = np.random.default_rng(0)
    save_array(job / "image.npz", generator.normal(50, 80, GEOMETRY.shape).astype(np.float32), GEOMETRY)
    save_array(job / "annotation.npz", generator.choice([0, 1, 2, 255], GEOMETRY.shape).astype(np.uint8), GEOMETRY)
    save_array(
        job / "edited.npz", (np.arange(14) < 3)[None, None].repeat(12, 1).repeat(6, 0).astype(np.uint8), GEOMETRY
    )
    return job


def perform(request: Any) -> Any:
    return Performer().perform(request, Control(), lambda message: None)


def test_segment_reads_anywhere_and_writes_into_the_job_folder(folder: Path) -> None:
    model = str(folder.parent / "models" / "m.safetensors")
    request = Segment("1", str(folder), model, ("image.npz",), "labels.npz", uncertainty="u.npz", device="cpu")
    assert isinstance(perform(request), Segmented)
    labels, geometry = load_array(folder / "labels.npz")
    uncertainty, _ = load_array(folder / "u.npz")
    assert geometry.matches(GEOMETRY)
    assert labels.dtype == uncertainty.dtype == np.uint8
    assert not (folder / "probabilities.npz").exists()


@pytest.mark.parametrize("region", [None, ((1, 2, 3), (5, 12, 13))])
def test_confirmed_slices_are_read_from_the_job_folder_and_kept(folder: Path, region: Any) -> None:
    model = str(folder.parent / "models" / "m.safetensors")
    labels = np.random.default_rng(1).integers(0, 3, (12, 14)).astype(np.uint8)
    save_slices(folder / "slices.json", (LabelledSlice(0, 3, labels),), GEOMETRY.shape)
    request = Segment(
        "1", str(folder), model, ("image.npz",), "labels.npz", confirmed="slices.json", region=region, device="cpu"
    )
    assert isinstance(perform(request), Segmented)
    found, _ = load_array(folder / "labels.npz")
    box = (slice(2, 12), slice(3, 13)) if region else ()
    np.testing.assert_array_equal(found[3][box], labels[box])


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x.npz",
        "a/../../x.npz",
        "/tmp/x.npz",
        "C:\\x.npz",
        "C:x.npz",
        "\\x.npz",
        "a\\..\\..\\x.npz",
        "\\\\s\\x",
    ],
)
def test_results_outside_the_job_folder_are_refused(name: str, folder: Path) -> None:
    with pytest.raises(SettingsError, match="inside it"):
        result_path(str(folder), name)


def test_a_link_does_not_lead_out_of_the_job_folder(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent, target_is_directory=True)
    with pytest.raises(SettingsError, match="inside it"):
        result_path(str(folder), "link/x.npz")
    assert result_path(str(folder), "ü x.npz") == folder / "ü x.npz"


def test_evaluate_and_describe_and_release(folder: Path) -> None:
    evaluated = perform(Evaluate("1", str(folder), "edited.npz", "edited.npz"))
    assert isinstance(evaluated, Evaluated)
    assert evaluated.figures["1"]["dice"] == 1.0
    assert isinstance(perform(Describe("2")), Capabilities)
    assert perform(Release("3")) is None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainingRequest]:
    """The training requests that reach ``jobs.train``."""
    requests: list[TrainingRequest] = []
    monkeypatch.setattr(jobs, "train", lambda request, **options: requests.append(request))
    return requests


def train(folder: Path, **changes: Any) -> Train:
    case = TrainingCase("a", ("image.npz",), "annotation.npz", edited="edited.npz", held_out_slices=((0, 2),))
    defaults: dict[str, Any] = {"cases": (case,), "output": "new.safetensors", "settings": {"seconds": 5}}
    return Train("1", str(folder), **(defaults | changes))


def test_retraining_keeps_the_labels_of_the_start_model(folder: Path, asked: list[TrainingRequest]) -> None:
    start = folder.parent / "models" / "m.safetensors"
    perform(train(folder, start_from="../models/m.safetensors", validation=("a",), resume=True))
    (request,) = asked
    assert request.start is not None
    assert request.start_sha256 == file_sha256(start)
    assert request.labels == DOCUMENT.labels
    assert request.output == folder / "new.safetensors"
    assert request.settings == TrainingSettings(seconds=5.0)
    assert request.held_out_slices == {"a": ((0, 2),)}
    assert (request.validation, request.resume) == (("a",), True)
    (case,) = request.cases
    assert case.annotation is not None
    assert case.edited is not None
    assert set(np.unique(case.annotation.array)) == {0, 1, 2, 255}
    assert case.edited.dtype == bool
    assert case.edited.sum() == 6 * 12 * 3


def test_a_new_model_takes_its_labels_and_settings_from_the_message(folder: Path, asked: list[TrainingRequest]) -> None:
    labels = ({"value": 0, "name": "background", "color": [0, 0, 0]}, {"value": 1, "name": "x", "color": [1, 2, 3]})
    settings = {"iterations": 7, "augmentation": {"flip_axes": [2]}}
    perform(train(folder, labels=labels, settings=settings, network="unet_2d", modality="MR"))
    (request,) = asked
    assert [(label.value, label.name, label.color) for label in request.labels] == [
        (0, "background", (0, 0, 0)),
        (1, "x", (1, 2, 3)),
    ]
    assert request.settings == TrainingSettings(iterations=7, augmentation=AugmentationSettings(flip_axes=(2,)))
    assert (request.network, request.modality, request.start, request.start_sha256) == ("unet_2d", "MR", None, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings": {"second": 5}}, "no field 'second'"),
        ({"settings": {"seconds": "5"}}, "seconds must be"),
        ({"labels": ({"value": 0},)}, "needs the field 'name'"),
        ({"modality": "MRI"}, "Did you mean MR"),
        ({"output": "../new.safetensors"}, "inside it"),
    ],
)
def test_a_training_that_is_asked_for_wrongly_is_refused(folder: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        perform(train(folder, **changes))


def test_confirmed_slices_are_composed_on_the_grid_of_the_image(folder: Path, asked: list[TrainingRequest]) -> None:
    across = LabelledSlice(0, 2, np.full((12, 14), 1, np.uint8), before=np.zeros((12, 14), np.uint8))
    empty = LabelledSlice(2, 13, np.zeros((6, 12), np.uint8), before=np.full((6, 12), 2, np.uint8))
    accepted = LabelledSlice(1, 0, np.full((6, 14), 2, np.uint8), before=np.full((6, 14), 2, np.uint8))
    save_slices(folder / "slices.json", (across, empty, accepted), GEOMETRY.shape)
    perform(train(folder, cases=(TrainingCase("a", ("image.npz",), "slices.json"),)))
    (case,) = asked[0].cases
    assert case.annotation is not None
    assert case.annotation.geometry == case.volume.geometry == GEOMETRY
    expected = np.full(GEOMETRY.shape, 255, np.uint8)
    expected[2], expected[:, :, 13], expected[:, 0] = 1, 0, 2
    assert np.array_equal(case.annotation.array, expected)
    assert case.edited is not None
    assert np.array_equal(case.edited, (expected == 0) | (expected == 1))


def test_confirmed_slices_of_another_image_are_refused(folder: Path, asked: list[TrainingRequest]) -> None:
    save_slices(folder / "slices.json", (LabelledSlice(0, 2, np.zeros((12, 15), np.uint8)),), (6, 12, 15))
    with pytest.raises(TrainingDataError, match="belong to their image"):
        perform(train(folder, cases=(TrainingCase("a", ("image.npz",), "slices.json"),)))
    (folder / "slices.json").write_text('{"format_version": 1}', encoding="utf-8")
    with pytest.raises(ImageError, match=r"slices\.json|shape"):
        perform(train(folder, cases=(TrainingCase("a", ("image.npz",), "slices.json"),)))
    with pytest.raises(SettingsError, match="Leave the mask out"):
        perform(train(folder, cases=(TrainingCase("a", ("image.npz",), "slices.json", edited="edited.npz"),)))
    assert not asked
