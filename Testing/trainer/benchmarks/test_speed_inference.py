"""The benchmark of whole volumes, on volumes so small that its figures mean nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import results
import speed_inference
import speed_subjects
from same_process import SameProcess
from small_models import DOCUMENT, network_of, save_small_model
from speed import WorkError
from speed_inference import Contest, table
from speed_methods import METHODS, fits_single_pass, folded, missing_package, prepare, single_pass_bytes
from speed_rows import Key, Row
from unetseg import networks
from unetseg.config import NetworkConfig
from unetseg.errors import SettingsError
from unetseg.inference.quantised import is_available
from unetseg.model_file import Model, load_model, save_model
from unetseg.phantom import PHANTOM_LABELS

CUBE = (16, 16, 16)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_small_model(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def flat_model(tmp_path: Path) -> Path:
    network = NetworkConfig("unet_2d", 1, 3, {"base_channels": 2, "depth": 2, "norm": "batch"})
    plan = replace(DOCUMENT.plan, dimensions=2, patch_size=(1, 16, 16), normalisation=DOCUMENT.plan.normalisation[:1])
    document = replace(DOCUMENT, network=network, plan=plan)
    save_model(tmp_path / "flat.safetensors", Model(document, network_of(document).eval()))
    return tmp_path / "flat.safetensors"


def labels_of(method: str, model: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """What a method makes of noise in tiles of 16."""
    image, nothing = model.with_suffix(".npy"), str(model.with_name("none.npy"))
    np.save(image, np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32))
    work = prepare(method, str(model), str(image), None, nothing, False, "cpu", 16)
    labels = work.run()
    assert work.judge(labels) == {}  # there is neither truth nor reference
    return labels


@pytest.mark.parametrize("kind", ["model", "flat_model"])
def test_one_pass_is_the_network_on_the_image_grown_at_its_far_ends(kind, request):
    file = request.getfixturevalue(kind)
    network = load_model(file).network.eval()
    labels = labels_of("single-pass", file, (5, 11, 9))
    image = np.load(file.with_suffix(".npy"))
    grown = torch.from_numpy(np.pad(image, [(0, 0), (0, 0), (0, 1), (0, 1)], mode="edge"))
    with torch.no_grad():
        logits = network(grown.transpose(0, 1)) if kind == "flat_model" else network(grown[None])[0].transpose(0, 1)
    assert np.array_equal(labels, logits.argmax(1)[:, :11, :9].numpy())


@pytest.mark.parametrize("kind", ["model", "flat_model"])
@pytest.mark.parametrize(
    "method", ["ours-float32", "monai", "monai-best-float32", "monai-best-bfloat16", "nnunet", "nnunet-best-bfloat16"]
)
def test_every_way_finds_what_one_pass_finds_where_a_tile_is_the_volume(method, kind, request):
    if missing_package(method):
        pytest.skip(f"needs {missing_package(method)}")
    file = request.getfixturevalue(kind)
    expected = labels_of("single-pass", file, CUBE)
    assert len(np.unique(expected)) > 1
    found = labels_of(method, file, CUBE)
    assert (found.dtype, found.shape) == (np.uint8, CUBE)
    rounded = "bfloat16" in method or "nnunet" in method  # nnU-Net adds up its tiles in float16
    assert (found == expected).mean() > (0.97 if rounded else 0.9999)


def test_overlapping_tiles_are_not_what_one_pass_is(model):
    if missing_package("monai"):
        pytest.skip("needs MONAI")
    shape = (16, 24, 32)
    agreement = (labels_of("monai", model, shape) == labels_of("single-pass", model, shape)).mean()
    assert 0.5 < agreement < 1.0


def test_folding_takes_batch_norm_away_and_changes_nothing():
    torch.manual_seed(0)
    network = networks.build("unet_3d", in_channels=1, classes=3, base_channels=2, depth=2).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    image = torch.randn(1, 1, 8, 8, 8)
    assert not any(isinstance(module, torch.nn.BatchNorm3d) for module in folded(network).modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(network)(image), network(image), rtol=1e-4, atol=1e-4)


def test_the_memory_of_one_pass_is_that_of_the_papers_network_as_measured():
    network = networks.build("unet_3d", in_channels=1, classes=4)
    assert single_pass_bytes(network, (1, 192, 192, 160)) == pytest.approx(12_671 * 2**20, rel=0.1)
    assert not fits_single_pass(network, (1, 4096, 4096, 4096), torch.device("cpu"))
    assert fits_single_pass(network, (1, 8, 8, 8), torch.device("cpu"))


def test_work_judges_against_the_reference_and_the_truth(model, tmp_path):
    files = {name: tmp_path / f"{name}.npy" for name in ("image", "truth", "reference")}
    np.save(files["image"], np.random.default_rng(0).standard_normal((1, *CUBE)).astype(np.float32))
    labels = prepare("single-pass", str(model), str(files["image"]), None, "", False, "cpu", 16).run()
    np.save(files["truth"], np.where(labels == 2, 0, labels))
    given = (str(model), *(str(files[name]) for name in ("image", "truth", "reference")))
    work = prepare("single-pass", *given, True, "cpu", 16)
    assert work.judge(labels) == {"agreement": 1.0, "dice 1": 1.0, "dice 2": 0.0}
    half = labels.copy()
    half[:8] = 3
    expected = {
        "agreement": 0.5,
        "dice 1": pytest.approx(2 * (half == 1).sum() / ((half == 1).sum() + (labels == 1).sum())),
    }
    found = prepare("single-pass", *given, False, "cpu", 16).judge(half)
    assert {name: found[name] for name in expected} == expected
    with pytest.raises(SettingsError, match="monai"):
        prepare("monay", *given, False, "cpu", 16)


def test_a_volume_is_named_by_its_shape_or_of_the_data(tmp_path, monkeypatch):
    assert speed_subjects.phantom_shape("96x80x64") == (96, 80, 64)
    assert speed_subjects.phantom_shape("large_ct") is None
    monkeypatch.setattr(speed_subjects, "DATA", tmp_path)
    assert speed_subjects.missing("96x80x64") is None
    assert "UNETSEG_DATA" in speed_subjects.missing("large_ct")
    with pytest.raises(SettingsError, match="large_ct"):
        speed_subjects.missing("96×80×64")


@pytest.mark.skipif(not is_available(), reason="this processor has no int8")
@pytest.mark.parametrize("loss", [0.004, 0.006])
def test_a_network_that_loses_little_is_calibrated_on_what_it_was_trained_on(loss, tmp_path, monkeypatch):
    judged = []

    def known_loss(network: object, cases: list, ranges: dict, *, patch_size: tuple) -> float:
        judged.extend(cases)
        return loss

    monkeypatch.setattr(speed_subjects, "int8_dice_loss", known_loss)
    path = tmp_path / "compact.safetensors"
    document = speed_subjects.trained_model(
        "unet_3d", "compact", path, shapes=[CUBE], seconds=0.1, device="cpu"
    ).document
    held_out = speed_subjects.phantom(speed_subjects.HELD_OUT_SEED, CUBE)[1]
    assert np.array_equal(np.sort(judged[0][1], axis=None), np.sort(held_out.array, axis=None))
    if loss > 0.005:
        assert document.int8 is None
    else:
        assert (document.int8.dice_loss, document.int8.cases) == (loss, 1)
        assert labels_of("ours-int8", path, CUBE).shape == CUBE


def test_a_trained_network_is_kept_and_its_phantom_has_a_truth(tmp_path):
    path = tmp_path / "unet_3d_compact.safetensors"
    trained = speed_subjects.trained_model("unet_3d", "compact", path, shapes=[CUBE], seconds=0.1, device="cpu")
    assert trained.document.labels == PHANTOM_LABELS
    written = path.read_bytes()
    again = speed_subjects.trained_model("unet_3d", "compact", path, shapes=[], seconds=0.1, device="cpu")
    assert again.document == trained.document
    assert path.read_bytes() == written
    made = speed_subjects.files("8x10x12", trained, "compact", tmp_path)
    image, truth = np.load(made.image), np.load(made.truth)
    assert (image.dtype, image.shape, truth.shape) == (np.float32, (1, 8, 10, 12), (8, 10, 12))
    assert set(np.unique(truth)) <= {0, 1, 2, 3}
    assert truth.any()
    made.truth.write_bytes(b"as it was left")
    assert speed_subjects.files("8x10x12", trained, "compact", tmp_path) == made
    assert made.truth.read_bytes() == b"as it was left"


def arguments(model: Path, *more: str):
    fixed = ["--model", str(model), "--output", str(model.parent / "made"), "--device", "cpu", "--threads", "1"]
    return speed_inference.options().parse_args([*fixed, *more])


def test_a_table_of_volumes_is_measured_and_published(model, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(speed_subjects, "DATA", tmp_path)
    monkeypatch.setattr(speed_inference, "Worker", SameProcess)
    monkeypatch.setattr(speed_inference, "missing_package", lambda method: "monai" if method == "monai" else None)
    monkeypatch.setattr(speed_inference, "FIGURES", tmp_path)
    pytest.importorskip("matplotlib")
    given = ["--volumes", "16x16x16", "large_ct", "--methods", "ours-float32", "monai", "--rounds", "2"]
    speed_inference.main(arguments(model, *given, "--picture", "speed"))
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "## Whole volumes, small" in text
    assert "monai was left out: monai is not installed." in text
    assert "large_ct was left out: there is no file" in text
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 16x16x16")]
    assert [line[1] for line in lines] == ["single-pass", "ours-float32"]
    assert [line[8] for line in lines] == ["1.00000", "1.00000"]
    assert all(line[2:4] == ["0.50", "0.50"] and line[7] == "12" for line in lines)
    assert "![Time and memory](figures/speed.png)" in text
    assert (tmp_path / "speed.png").is_file()


def test_the_table_compares_with_the_faster_of_the_rivals_at_the_same_precision(model):
    contest = Contest(arguments(model, "--volumes", "16x16x16"))
    seconds = {
        "monai": 40.0,
        "nnunet": 60.0,
        "monai-best-float32": 10.0,
        "nnunet-best-float32": 12.0,
        "ours-float32": 4.0,
    }
    for method, each in seconds.items():
        contest.rows.add(
            Row(contest.key("small", "16x16x16", method), each, True, 100.0, {"dice 1": 0.5, "dice 2": 1.0})
        )
    lines = {line[1]: line[2:] for line in table(contest, "small")}
    assert lines["ours-float32"] == ["4.00", "4.00", "10.00", "15.00", "2.50", "100", "n/a", "0.500 1.000"]
    assert lines["monai"][2:5] == ["1.00", "1.50", ""]
    other = Contest(arguments(model, "--volumes", "16x16x16", "--tile", "64"))
    assert table(other, "small") == []  # measured under other conditions


def test_methods_that_failed_are_named(model, monkeypatch):
    contest = Contest(arguments(model, "--volumes", "16x16x16", "--methods", "ours-float32"))

    class Dying(SameProcess):
        def measure(self, key: Key) -> Row:
            raise WorkError(f"{key.method} had no memory")

    monkeypatch.setattr(speed_inference, "Worker", Dying)
    assert contest.measure("small", model, "16x16x16") == [
        "single-pass failed on 16x16x16: single-pass had no memory.",
        "ours-float32 failed on 16x16x16: ours-float32 had no memory.",
    ]


def test_every_method_named_by_default_exists():
    for methods in speed_inference.DEFAULT_METHODS.values():
        assert set(methods) <= set(METHODS)


def test_where_one_pass_does_not_fit_our_float32_is_the_reference_unless_there_is_one(model, monkeypatch):
    monkeypatch.setattr(speed_inference, "Worker", SameProcess)
    monkeypatch.setattr(speed_inference, "fits_single_pass", lambda *where: False)
    small = ["--volumes", "16x16x16", "--methods", "ours-bfloat16"]
    contest = Contest(arguments(model, *small))
    assert contest.measure("small", model, "16x16x16") == []
    assert [line[1] for line in table(contest, "small")] == ["ours-float32", "ours-bfloat16"]
    (model.parent / "made" / "small_16x16x16_single-pass.npy").write_bytes(
        (model.parent / "made" / "small_16x16x16_ours-float32.npy").read_bytes()
    )
    assert contest.measure("small", model, "16x16x16") == []
    assert [line[1] for line in table(contest, "small")] == ["single-pass", "ours-float32", "ours-bfloat16"]
