from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_models import DOCUMENT, save_small_model
from unetseg import image_io, inference, jobs, losses, metrics, networks, records, training
from unetseg.errors import CancelledError, SettingsError
from unetseg.image_io import read_label_map, read_labels, read_volume, write_image
from unetseg.labelled_slices import LabelledSlice, compose, save_slices
from unetseg.messages import Box, Epoch, Message, Progress
from unetseg.training import Control
from unetseg.volume import Geometry, LabelMap

ANGLE = np.deg2rad(20)
OBLIQUE = Geometry(
    shape=(6, 15, 17),
    spacing_mm=(2.5, 1.0, 1.0),
    origin_mm=(-20.0, 30.0, 7.5),
    direction=(
        (0.0, -float(np.sin(ANGLE)), float(np.cos(ANGLE))),
        (0.0, float(np.cos(ANGLE)), float(np.sin(ANGLE))),
        (1.0, 0.0, 0.0),
    ),
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.nrrd"
    array = np.random.default_rng(0).normal(50, 80, OBLIQUE.shape).astype(np.float32)
    write_image(path, array, OBLIQUE)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_small_model(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def segment(model: Path, images: list[Path], **options: Any) -> list[Message]:
    """The progress and, last, the reply of segmenting on the CPU."""
    told: list[Message] = []
    defaults = {"label_map": model.parent / "labels.nrrd", "warm": jobs.Warm(), "control": Control()}
    reply = jobs.segment(model, images, device="cpu", report=told.append, **(defaults | options))
    return [*told, reply]


def test_results_lie_on_the_images_own_grid_and_agree(model: Path, image: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.nrrd" for name in ("label_map", "uncertainty", "probabilities")}
    *told, reply = segment(model, [image], **paths)
    label_map = read_label_map(paths["label_map"])
    uncertainty, probabilities = read_volume(paths["uncertainty"]), read_volume(paths["probabilities"])
    assert all(found.geometry.matches(OBLIQUE) for found in (label_map, uncertainty, probabilities))
    np.testing.assert_array_equal(probabilities.array.argmax(0), label_map.array)
    np.testing.assert_allclose(probabilities.array.sum(0), 1.0, atol=2e-3)  # stored in 16 bit
    p = np.clip(probabilities.array.astype(float), 1e-9, 1)
    entropy = -(p * np.log(p)).sum(0) / np.log(3)
    np.testing.assert_allclose(uncertainty.array[0] / 255, entropy, atol=0.01)
    assert reply.device == "cpu"
    assert reply.labels == tuple(records.to_json(label) for label in DOCUMENT.labels)
    stages = [message.stage for message in told]
    assert stages[0] == "reading"
    assert stages[-1] == "writing"
    assert [message.fraction for message in told if message.stage == "segmenting"][-1] == 1.0


@pytest.mark.parametrize(
    ("outputs", "refused"),
    [
        ({"label_map": "image.nrrd"}, "image.nrrd"),
        ({"uncertainty": "image.nrrd"}, "image.nrrd"),
        ({"uncertainty": "labels.nrrd"}, "labels.nrrd"),
        ({"uncertainty": "other.nrrd", "probabilities": "other.nrrd"}, "other.nrrd"),
        ({"confirmed": "other.nrrd", "uncertainty": "other.nrrd"}, "other.nrrd"),
    ],
)
def test_a_result_never_replaces_an_image_or_another_result(
    outputs: dict[str, str], refused: str, model: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").symlink_to(tmp_path, target_is_directory=True)
    before = image.read_bytes()
    named = {kind: model.parent / "images" / name for kind, name in outputs.items()}
    with pytest.raises(SettingsError, match=f"file of its own.*{refused}"):
        segment(model, [image], **({"label_map": tmp_path / "labels.nrrd"} | named))
    assert image.read_bytes() == before
    assert not (tmp_path / "labels.nrrd").exists()


def test_a_segmentation_file_carries_the_models_labels(model: Path, image: Path, tmp_path: Path) -> None:
    segment(model, [image], label_map=tmp_path / "labels.seg.nrrd")
    assert read_labels(tmp_path / "labels.seg.nrrd") == DOCUMENT.labels[1:]


def test_a_region_is_segmented_as_if_it_were_the_image(model: Path, image: Path, tmp_path: Path) -> None:
    region: Box = ((1, 2, 3), (5, 12, 15))
    box = (slice(1, 5), slice(2, 12), slice(3, 15))
    array = read_volume(image).array[0][box]
    write_image(tmp_path / "part.nrrd", array, OBLIQUE.cropped(region[0], array.shape))
    names = ("label_map", "uncertainty", "probabilities")
    segment(model, [tmp_path / "part.nrrd"], **{name: tmp_path / f"part_{name}.nrrd" for name in names})
    segment(model, [image], region=region, **{name: tmp_path / f"{name}.nrrd" for name in names})
    for name, outside in zip(names, ([0], [0], [1, 0, 0]), strict=True):
        whole, part = read_volume(tmp_path / f"{name}.nrrd"), read_volume(tmp_path / f"part_{name}.nrrd")
        assert whole.geometry.matches(OBLIQUE)
        np.testing.assert_array_equal(whole.array[(slice(None), *box)], part.array)
        whole.array[(slice(None), *box)] = np.array(outside)[:, None, None, None]
        np.testing.assert_array_equal(
            whole.array, np.broadcast_to(np.array(outside)[:, None, None, None], whole.array.shape)
        )


@pytest.mark.parametrize("region", [None, ((1, 2, 3), (5, 12, 15))])
@pytest.mark.parametrize("name", ["confirmed.nrrd", "slices.json"])
def test_confirmed_labels_of_the_whole_image_are_kept_within_the_region(
    model: Path, image: Path, tmp_path: Path, region: Box | None, name: str
) -> None:
    generator = np.random.default_rng(1)
    slices = (
        LabelledSlice(0, 2, generator.integers(0, 3, (15, 17)).astype(np.uint8)),
        LabelledSlice(2, 16, generator.integers(0, 3, (6, 15)).astype(np.uint8)),
    )
    given, _ = compose(slices, OBLIQUE.shape)
    if name.endswith("json"):
        save_slices(tmp_path / name, slices, OBLIQUE.shape)
    else:
        image_io.write_label_map(tmp_path / name, LabelMap(given, OBLIQUE))
    out, uncertainty = tmp_path / "out.nrrd", tmp_path / "uncertainty.nrrd"
    segment(model, [image], label_map=out, uncertainty=uncertainty, confirmed=tmp_path / name, region=region)
    found = read_label_map(out)
    assert found.geometry.matches(OBLIQUE)
    start, stop = region or ((0, 0, 0), OBLIQUE.shape)
    inside = np.zeros(OBLIQUE.shape, bool)
    inside[tuple(map(slice, start, stop))] = True
    known = inside & (given != 255)
    assert np.count_nonzero(known) == (15 * 17 + 6 * 15 - 15 if region is None else 10 * 12)
    np.testing.assert_array_equal(found.array[known], given[known])
    assert not found.array[~inside].any()
    assert not read_volume(uncertainty).array[0][known].any()


@pytest.mark.parametrize("region", [((0, 0, 0), (7, 5, 5)), ((-1, 0, 0), (2, 5, 5)), ((2, 0, 0), (2, 5, 5))])
def test_a_region_outside_the_image_is_refused(model: Path, image: Path, region: Box) -> None:
    with pytest.raises(SettingsError, match=r"inside the image of \(6, 15, 17\)"):
        segment(model, [image], region=region)


@pytest.mark.parametrize("name", ["labels.doc", "nowhere/labels.nrrd"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(name: str, model: Path, tmp_path: Path) -> None:
    """The image does not even exist."""
    with pytest.raises(SettingsError, match=r"labels\.doc|nowhere"):
        segment(model, [tmp_path / "no.nrrd"], label_map=tmp_path / name)


def test_a_segmentation_cancelled_at_the_last_moment_writes_nothing(
    model: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = Control()
    compute = inference.segment_prepared

    def cancelled_afterwards(*arguments: Any, **options: Any) -> inference.Segmentation:
        result = compute(*arguments, **options)
        control.abort()
        return result

    monkeypatch.setattr(inference, "segment_prepared", cancelled_afterwards)
    before = set(os.listdir(tmp_path))
    with pytest.raises(CancelledError):
        segment(model, [image], control=control)
    assert set(os.listdir(tmp_path)) == before


def test_model_and_image_stay_warm_until_their_files_change(
    model: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(name: str, function: Any) -> Any:
        return lambda *args: read.append(name) or function(*args)

    monkeypatch.setattr(jobs, "load_model", counted("model", jobs.load_model))
    monkeypatch.setattr(image_io, "read_volume", counted("image", image_io.read_volume))
    monkeypatch.setattr(inference.engine, "FusedUNet", counted("form", inference.engine.FusedUNet))
    warm = jobs.Warm()
    segment(model, [image], warm=warm)
    segment(model, [image], warm=warm)
    assert read == ["model", "image", "form"]
    segment(model, [image], warm=warm, region=((0, 0, 0), (3, 9, 9)))
    assert read == ["model", "image", "form", "image"]
    save_small_model(model)
    segment(model, [image], warm=warm, region=((0, 0, 0), (3, 9, 9)))
    assert read == ["model", "image", "form", "image", "model", "form"]
    del read[:]
    warm.release()
    segment(model, [image], warm=warm)
    assert read == ["model", "image", "form"]


def test_describe_lists_what_the_tables_hold(model: Path, image: Path) -> None:
    found = jobs.describe([model, image])
    assert {network.name: network.presets for network in found.networks} == {
        name: tuple(networks.PRESETS[name]) for name in networks.NETWORKS
    }
    assert found.losses == tuple(losses.LOSSES)
    assert found.metrics == tuple(metrics.METRICS)
    assert found.modalities == ("CT", "MR", "microscopy", "ultrasound")
    assert [device.name for device in found.devices] == [device.name for device in inference.available_devices()]
    assert found.versions["Python"].startswith("3.")
    good, bad = found.models
    assert good.document is not None
    assert good.document["labels"] == [records.to_json(label) for label in DOCUMENT.labels]
    assert (bad.path, bad.document) == (str(image), None)
    assert "header" in bad.failure


def test_inspect_reads_the_document(model: Path) -> None:
    assert jobs.inspect(model).labels == DOCUMENT.labels


def test_evaluate_gives_every_metric_of_every_label(tmp_path: Path) -> None:
    a, b = np.zeros(OBLIQUE.shape, np.uint8), np.zeros(OBLIQUE.shape, np.uint8)
    a[2, 4:8, 4:8] = 1
    b[2, 4:8, 6:10] = 1
    b[4, 0, 0] = 3
    image_io.write_label_map(tmp_path / "a.nii.gz", LabelMap(a, OBLIQUE))
    image_io.write_label_map(tmp_path / "b.nii.gz", LabelMap(b, OBLIQUE))
    figures = jobs.evaluate(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", tolerance_mm=1.0).figures
    assert set(figures) == {"1", "3"}
    assert set(figures["1"]) == set(metrics.METRICS)
    assert figures["1"]["dice"] == pytest.approx(0.5)
    assert figures["3"]["dice"] == 0.0
    records.dumps(dict(figures))  # finite or None


def test_a_training_is_told_as_stages_and_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``training.train`` reports and returns, translated; the training itself is made up."""
    request, control = object(), Control()

    def train(given: object, *, control: Control, report: Any) -> training.TrainingResult:
        assert given is request
        report(training.Progress("preparing", 0.5))
        report(training.Progress("training", 0.25, 3, 9.0, {"dice": 0.5, "cross_entropy": float("nan")}))
        report(training.Progress("validating", 0.5, 4))
        report(training.Progress("validating", 0.5, 4, 8.0, held_out_dice=(0.75, None)))
        return training.TrainingResult(
            model=None,  # type: ignore[arg-type]
            path=Path("m.safetensors"),
            sha256="ab",
            iterations=5,
            seconds=1.23456,
            held_out_before=(),
            held_out_after=(0.75, None),
            held_out_slices=2,
            replay_before=0.9,
            replay_after=0.875,
            improved=False,
            warnings=("w",),
            notes=("n",),
        )

    monkeypatch.setattr(training, "train", train)
    told: list[Message] = []
    result = jobs.train(request, control=control, report=told.append)  # type: ignore[arg-type]
    assert told == [
        Progress("", "preparing", 0.5),
        Epoch("", 3, 0.25, {"dice": 0.5, "cross_entropy": None}, None, 9.0),
        Progress("", "validating", 0.5),
        Epoch("", 4, 0.5, {}, (0.75, None), 8.0),
    ]
    assert dataclasses.asdict(result) == {
        "request": "",
        "sha256": "ab",
        "iterations": 5,
        "seconds": 1.23,
        "dice_before": (),
        "dice_after": (0.75, None),
        "held_out_slices": 2,
        "replay_before": 0.9,
        "replay_after": 0.875,
        "improved": False,
        "warnings": ("w",),
        "notes": ("n",),
    }
