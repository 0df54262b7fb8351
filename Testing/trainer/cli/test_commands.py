from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_models import DOCUMENT, network_of, save_small_model
from unetseg import cli, jobs, records
from unetseg.cli import training
from unetseg.cli.training import held_out
from unetseg.config import TrainingSettings
from unetseg.errors import CancelledError, SettingsError, TrainingDataError
from unetseg.image_io import read_label_map, write_image, write_label_map
from unetseg.messages import Progress, Trained
from unetseg.model_file import Model, save_model
from unetseg.volume import Geometry, LabelMap

TRAINER = Path(cli.__file__).resolve().parents[2]
GEOMETRY = Geometry((6, 12, 14), (2.5, 1.0, 1.0), (1.0, 2.0, 3.0))


def run(*words: object) -> int:
    return cli.main([str(word) for word in words], serve=lambda: 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_small_model(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    array = np.random.default_rng(0).normal(50, 80, GEOMETRY.shape).astype(np.float32)
    write_image(tmp_path / "image.nii.gz", array, GEOMETRY)
    return tmp_path / "image.nii.gz"


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Five labelled cases, case_0 … case_4, and one without a label."""
    for folder in ("images", "labels"):
        (tmp_path / "cases" / folder).mkdir(parents=True)
    for number in range(6):
        array = np.full(GEOMETRY.shape, number, np.float32)
        write_image(tmp_path / "cases" / "images" / f"case_{number}.nii.gz", array, GEOMETRY)
        labels = LabelMap((array > 3).astype(np.uint8) * 2, GEOMETRY)
        if number < 5:
            write_label_map(tmp_path / "cases" / "labels" / f"case_{number}.nii.gz", labels)
    return tmp_path / "cases"


def test_help_names_every_command_and_loads_no_torch() -> None:
    code = "import sys; from unetseg.__main__ import main\n"
    code += "try: main()\nfinally: print('torch' in sys.modules, 'numpy' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(TRAINER)}
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "False False"
    for command in ("describe", "segment", "train", "evaluate", "calibrate", "suggest", "inspect", "phantom", "worker"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["segment"], ["train", "x", "-o", "m", "--seconds", "1", "--iterations", "2"]]
)
def test_wrong_use_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(*words)
    assert exit_.value.code == 2


def test_segment_writes_its_results(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, uncertainty = tmp_path / "out.seg.nrrd", tmp_path / "u.nrrd"
    assert run("segment", model, image, "-o", out, "--uncertainty", uncertainty, "--device", "cpu") == 0
    printed = capsys.readouterr()
    assert f"Wrote {out}" in printed.out
    assert "100 % writing" in printed.err
    assert read_label_map(out).geometry.matches(GEOMETRY)
    assert uncertainty.exists()


def test_segment_keeps_confirmed_labels_and_refuses_those_of_another_grid(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed, out = tmp_path / "confirmed.nrrd", tmp_path / "out.nrrd"
    given = np.full(GEOMETRY.shape, 255, np.uint8)
    given[2] = np.random.default_rng(1).integers(0, 3, (12, 14))
    write_label_map(confirmed, LabelMap(given, GEOMETRY))
    assert run("segment", model, image, "-o", out, "--confirmed", confirmed, "--device", "cpu") == 0
    np.testing.assert_array_equal(read_label_map(out).array[2], given[2])

    write_label_map(confirmed, LabelMap(given[:5], Geometry((5, 12, 14), GEOMETRY.spacing_mm, GEOMETRY.origin_mm)))
    out.unlink()
    assert run("segment", model, image, "-o", out, "--confirmed", confirmed) == 1
    assert "grid of its image" in capsys.readouterr().err
    assert not out.exists()


def test_segment_prints_json_and_nothing_else(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("segment", model, image, "-o", tmp_path / "out.nii.gz", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"labels", "device", "seconds", "notes"}
    assert [label["name"] for label in told["labels"]] == [label.name for label in DOCUMENT.labels]


@pytest.mark.parametrize(
    ("error", "code"),
    [(SettingsError("The rule", received=3), 2), (TrainingDataError("The rule", received=3), 1), (ValueError("3"), 1)],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(models: object) -> None:
        raise error

    monkeypatch.setattr(jobs, "describe", fail)
    assert run("describe") == code
    lines = capsys.readouterr().err.splitlines()
    if type(error) is ValueError:
        assert lines[0].startswith("Traceback")
        assert "ValueError: 3" in lines[-1]
    else:
        assert lines == ["unetseg: The rule. Received: 3."]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--iterations", 0], "iterations must be at least 1"),
        (["--iterations", 1, "--seed", -1], "seed must be 0"),
        (["--iterations", 1, "--seed", 2**64], "seed must be 0"),
        (["--iterations", 1, "--network", "unet3d"], "Did you mean unet_3d?"),
        (["--iterations", 1, "--preset", "big"], "preset of unet_3d must be"),
        (["--iterations", 1, "-o", "nowhere/model.safetensors"], "folder must exist"),
        (["--iterations", 1, "-o", "model.pt"], "must end in .safetensors"),
        (["--iterations", 1, "--resume"], "left a checkpoint"),
    ],
)
def test_wrong_options_of_a_training_are_refused_before_any_image_is_read(
    words: list[object],
    told: str,
    cases: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("unetseg.cli.training.load_case", lambda files: pytest.fail("read an image"))
    assert run("train", cases, "-o", tmp_path / "model.safetensors", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize(("option", "value"), [("--count", "0"), ("--count", "x"), ("--seed", "-4")])
def test_wrong_numbers_for_phantoms_are_wrong_use(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("phantom", "-o", tmp_path / "phantoms", option, value)
    assert f"must be a whole number of at least {int(option == '--count')}" in capsys.readouterr().err
    assert not (tmp_path / "phantoms").exists()


def test_missing_and_damaged_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    assert run("inspect", tmp_path / "no.safetensors") == 1
    assert run("inspect", tmp_path / "bad.safetensors") == 1
    missing, damaged = capsys.readouterr().err.splitlines()
    assert "no.safetensors: No such file" in missing
    assert "A model must be a .safetensors file that UNetSegment has saved" in damaged


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to itself the POSIX way")
def test_ctrl_c_aborts_cleanly_and_exits_with_130(
    model: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*paths: object, control: Any, report: Any, **options: object) -> None:
        report(Progress("", "segmenting", 0.5))
        os.kill(os.getpid(), signal.SIGINT)
        control.check()

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(jobs, "segment", interrupted)
    assert run("segment", model, image, "-o", tmp_path / "out.nrrd") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "unetseg: Cancelled."
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "out.nrrd").exists()


def test_inspect_shows_the_document(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", model) == 0
    text = capsys.readouterr().out
    for part in ("unet_3d, 1 channels, 3 classes", "label   1   Leber – ü", "5 iterations", "Dice per class 0.500 n/a"):
        assert part in text
    assert run("inspect", model, "--json") == 0
    assert json.loads(capsys.readouterr().out)["labels"] == [records.to_json(label) for label in DOCUMENT.labels]


def test_inspect_shows_where_a_shipped_model_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    provenance = {"licence": "CC-BY-4.0", "figures": "one\ntwo"}
    path = tmp_path / "shipped.safetensors"
    save_model(path, Model(replace(DOCUMENT, provenance=provenance), network_of(DOCUMENT)))
    assert run("inspect", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == ["licence     CC-BY-4.0", "figures     one", "            two"]


def test_describe_in_words_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe") == 0
    assert "network   unet_3d (compact, paper)" in capsys.readouterr().out.splitlines()
    assert run("describe", "--json") == 0
    assert "unet_3d" in [network["name"] for network in json.loads(capsys.readouterr().out)["networks"]]


def test_evaluate_prints_a_row_a_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[2:4, 3:6, 3:6] = 1
    write_label_map(tmp_path / "a.nrrd", LabelMap(array, GEOMETRY))
    array[0, 0, 0] = 2
    write_label_map(tmp_path / "b.nrrd", LabelMap(array, GEOMETRY))
    assert run("evaluate", tmp_path / "a.nrrd", tmp_path / "b.nrrd") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["class", "1", "class", "2"]
    assert ["dice", "1.0000", "0.0000"] in rows
    assert run("evaluate", tmp_path / "a.nrrd", tmp_path / "b.nrrd", "--json") == 0
    assert json.loads(capsys.readouterr().out)["figures"]["1"]["dice"] == 1.0
    assert run("evaluate", tmp_path / "a.nrrd", tmp_path / "b.nrrd", "--tolerance-mm", "-1") == 2


def test_evaluate_says_when_there_is_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_label_map(tmp_path / "a.nrrd", LabelMap(np.zeros(GEOMETRY.shape, np.uint8), GEOMETRY))
    assert run("evaluate", tmp_path / "a.nrrd", tmp_path / "a.nrrd") == 0
    assert capsys.readouterr().out == "There is nothing to compare: both label maps are background only.\n"


def test_phantom_writes_cases_that_train_can_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("phantom", "-o", tmp_path / "cases", "--count", 1, "--domain", "shifted") == 0
    assert len(list((tmp_path / "cases" / "images").iterdir())) == 1


def test_worker_is_handed_on() -> None:
    served = []
    assert cli.main(["worker"], serve=lambda: served.append(True) or 0) == 0
    assert served == [True]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The training requests that reach ``jobs.train``."""
    requests: list[Any] = []

    def train(request: object, **options: object) -> Trained:
        requests.append(request)
        return Trained("", "ab", 80, 90.0, (0.5, None), (0.75, 1.0), warnings=("a warning",), notes=("a note",))

    monkeypatch.setattr(jobs, "train", train)
    return requests


def test_train_holds_out_a_fifth_and_says_what_it_decided(
    cases: Path, tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", cases, "-o", tmp_path / "new.safetensors", "--seed", 3) == 0
    (request,) = asked
    assert request.settings == TrainingSettings(seconds=900.0, seed=3)
    assert [case.name for case in request.cases] == [f"case_{number}" for number in range(5)]
    assert len(request.validation) == 1
    assert [label.name for label in request.labels] == ["background", "class 1", "class 2"]
    assert (request.network, request.preset, request.modality, request.start) == ("unet_3d", "compact", None, None)
    printed = capsys.readouterr()
    assert "Training for 15 minutes" in printed.err
    assert "1 cases without labels are left out." in printed.err
    assert f"Training on 4 cases; held out: {request.validation[0]}." in printed.err
    assert printed.out.splitlines() == [
        "a warning",
        "a note",
        "Dice on held-out cases, per class: 0.500 n/a -> 0.750 1.000",
        f"Wrote {tmp_path / 'new.safetensors'} after 80 iterations, 90 s.",
    ]


def test_train_passes_its_options_on(cases: Path, model: Path, tmp_path: Path, asked: list[Any]) -> None:
    (tmp_path / "new.checkpoint.safetensors").touch()
    words = ["--start-from", model, "--iterations", 7, "--validation", "case_1, case_3", "--resume", "--device", "cpu"]
    words += ["--memory-gb", 2, "--background-beyond-lines"]
    assert run("train", cases, "-o", tmp_path / "new.safetensors", *words) == 0
    (request,) = asked
    assert (request.settings.seconds, request.settings.iterations) == (None, 7)
    assert request.validation == ("case_1", "case_3")
    assert request.start.document.labels == request.labels == DOCUMENT.labels
    assert len(request.start_sha256) == 64
    assert (request.resume, request.device, request.memory_gb) == (True, "cpu", 2.0)
    assert request.settings.background_beyond_lines


def test_a_case_whose_name_is_a_number_can_be_held_out() -> None:
    names, generator = ["05", "09", "1", "11"], np.random.default_rng(0)
    assert held_out("05", names, generator) == ("05",)
    assert held_out("1, 11", names, generator) == ("1", "11")
    assert len(held_out("0.5", names, generator)) == 2
    with pytest.raises(SettingsError, match="at least 0 and below 1"):
        held_out("5", names, generator)


def test_train_passes_the_choices_for_a_new_model_on(cases: Path, tmp_path: Path, asked: list[Any]) -> None:
    words = ["--modality", "CT", "--network", "unet_2d", "--preset", "paper"]
    assert run("train", cases, "-o", tmp_path / "new.safetensors", "--iterations", 7, *words) == 0
    (request,) = asked
    assert (request.modality, request.network, request.preset) == ("CT", "unet_2d", "paper")


@pytest.mark.parametrize("words", [["--network", "unet_2d"], ["--preset", "paper"], ["--modality", "CT"]])
def test_retraining_refuses_choices_that_it_would_ignore(
    words: list[str], cases: Path, model: Path, tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", cases, "-o", tmp_path / "new.safetensors", "--start-from", model, *words) == 2
    assert f"keeps its network and normalisation. Received: {words[0]} {words[1]}" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--validation", "case_9"], 2, "Did you mean case_"),
        (["--validation", "1.5"], 2, "at least 0 and below 1"),
        (["--modality", "MRI"], 2, "Did you mean MR?"),
        (["--start-from", "no.safetensors"], 1, "no.safetensors: No such file"),
    ],
)
def test_a_wrong_option_is_explained(
    words: list[str],
    code: int,
    reason: str,
    cases: Path,
    tmp_path: Path,
    asked: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("train", cases, "-o", tmp_path / "new.safetensors", *words) == code
    assert reason in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(("left", "told"), [(True, " The same command with --resume goes on."), (False, "")])
def test_a_cancelled_training_that_left_a_checkpoint_says_how_to_go_on(
    left: bool, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cancelled(*arguments: object, **options: object) -> None:
        raise CancelledError()

    monkeypatch.setattr(training, "training_request", cancelled)
    if left:
        (tmp_path / "liver.checkpoint.safetensors").touch()
    assert run("train", tmp_path, "-o", tmp_path / "liver.safetensors") == 130
    assert capsys.readouterr().err == f"unetseg: Cancelled.{told}\n"


def test_train_says_on_how_many_slices_it_was_judged_and_what_it_forgot(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(request: Any, **_: Any) -> Trained:
        return Trained("", "ab", 80, 90.0, (0.5,), (0.5,), 2, replay_before=0.9, replay_after=0.895, improved=False)

    monkeypatch.setattr(jobs, "train", train)
    assert run("train", cases, "-o", tmp_path / "new.safetensors") == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "Dice on 2 held-out slices, per class: 0.500 -> 0.500",
        "Mean Dice on pieces of earlier cases: 0.900 -> 0.895",
        "Nothing that it learned was better: the new model has the weights of the one it started from.",
    ]
