"""The benchmarks of retraining, with budgets so small that their figures mean nothing."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import forgetting
import results
import retraining_2d
import retraining_ablation
import retraining_hippocampus
import retraining_liver
import retraining_ovule
import retraining_scribbles
import retraining_time
from comparison import add_study_options, cases_of_seed, counts, share, task_options
from curves import curves, draw, effort, slices_needed, untouched
from measures import Figures
from methods import METHODS
from rows import START, Key, Row
from small_models import save_small_model
from study import Subject
from unetseg.config import TrainingSettings
from unetseg.data import Case
from unetseg.image_io import read_label_map
from unetseg.model_file import save_model
from unetseg.volume import Geometry, LabelMap, Volume


@pytest.fixture(autouse=True)
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tables go instead of RESULTS.md."""
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    return tmp_path / "RESULTS.md"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_small_model(tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


def table(published: Path) -> list[dict[str, str]]:
    """The rows of the one table, by the header's cells."""
    lines = [line for line in published.read_text("utf-8").splitlines() if line.startswith("| ")]
    header, _rule, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def hippocampus(model: Path, *more: str) -> argparse.Namespace:
    parser = add_study_options(retraining_hippocampus.hippocampus_options(None, cases=1, slices=[(3,)]))
    parser.add_argument("--variants", nargs="+", default=[])
    fixed = ["--model", str(model), "--output", str(model.parent / "rows"), "--seeds", "1", "--device", "cpu"]
    return parser.parse_args([*fixed, "--seconds", "1", "--tuning", *more])


def test_numbers_of_slices_and_shares_are_read() -> None:
    assert (counts("3"), counts("2,2,1"), share("1/4")) == ((3,), (2, 2, 1), (1, 4))
    for text in ("1,2", "0", "-1"):
        with pytest.raises(argparse.ArgumentTypeError, match="number of slices"):
            counts(text)
    with pytest.raises(argparse.ArgumentTypeError, match="no share"):
        share("2/2")


def test_each_seed_has_other_cases_spread_over_all() -> None:
    names = [str(number) for number in range(12)]
    assert cases_of_seed(names, seed=0, seeds=2, count=3) == ["0", "4", "8"]
    assert cases_of_seed(names, seed=1, seeds=2, count=3) == ["1", "5", "9"]
    assert cases_of_seed(names, seed=2, seeds=4, count=9) == ["2", "6", "10"]


def test_the_hippocampus_both_as_it_is_and_shifted(data_dir: Path, model: Path, published: Path) -> None:
    retraining_hippocampus.main(hippocampus(model, "--methods", "loop", "paste"))
    rows = table(published)
    assert [(row["domain"], row["method"]) for row in rows] == [
        (domain, method) for domain in ("in domain", "shifted") for method in ("start", "loop", "paste")
    ]
    for start, paste in (rows[0], rows[2]), (rows[3], rows[5]):
        assert start["per class"] == paste["per class"]  # pasting changes nothing where nothing was shown
        assert paste["worst against the start"] == "+0.00"
    text = published.read_text("utf-8")
    assert "of the gap between the start and full labels" in text
    before = len(text)
    retraining_hippocampus.main(hippocampus(model, "--methods", "loop", "paste", "--summarise"))
    assert table_again(published.read_text("utf-8")[before:]) == table_again(text)


def table_again(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_gains_are_paired_and_the_gap_is_that_of_the_shifted_start() -> None:
    rows = [
        *(measured(START, "3", 0.495, case=case, domain="shifted") for case in "ab"),
        *(measured("loop", "3", 0.695, case=case, domain="shifted") for case in "ab"),
        measured(START, "3", 0.88), measured(START, "3", 0.8, case="b"), measured("loop", "3", 0.89),
    ]  # fmt: skip
    assert retraining_hippocampus.gains(rows) == [
        "shifted, 3 slices: the loop gains +20.0 points, 50% of the gap between the start and full labels (0.895).",
        "in domain, 3 slices: the loop gains +1.0 points.",
    ]


def test_what_is_tuned_on_is_not_measured_on(data_dir: Path) -> None:
    tuning, measuring = (set(retraining_hippocampus.names_to_correct(tuning=chosen)) for chosen in (True, False))
    assert not tuning & measuring
    assert all(int(name.split("_")[1]) % 3 == 2 for name in tuning | measuring)
    assert len(tuning) >= forgetting.BASE_CASES


def test_each_variant_sets_something_else_than_the_product() -> None:
    defaults = dataclasses.asdict(TrainingSettings())
    for name, changes in retraining_ablation.VARIANTS.items():
        changed = dataclasses.asdict(TrainingSettings(**changes))
        assert (changed != defaults) == (name != "loop"), name


def test_the_ablation_trains_each_variant_with_its_settings(
    data_dir: Path, model: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def method(task):
        seen.append(task.changes)
        return task.prediction

    monkeypatch.setitem(METHODS, "loop", method)
    retraining_ablation.main(hippocampus(model, "--variants", "loop", "without edit weights", "--domains", "in domain"))
    assert seen == [{}, {"edit_weight": 1.0}]
    assert [row["method"] for row in table(published)] == ["start", "loop", "without edit weights"]


def test_a_network_that_learns_nothing_forgets_nothing(
    data_dir: Path, model: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def method(task):
        save_model(task.folder / "retrained.safetensors", task.start)
        return task.prediction

    monkeypatch.setitem(METHODS, "paste", method)
    monkeypatch.setattr(forgetting, "BASE_CASES", 2)
    forgetting.main(hippocampus(model, "--methods", "paste", "--domains", "shifted"))
    (row,) = table(published)
    assert row["change, points [95 %]"] == "+0.00 [+0.00, +0.00]"
    assert row["worst retraining, points"] == "+0.00"
    assert (row["method"], row["retrainings"]) == ("paste", "1")


def test_the_time_of_retraining(data_dir: Path, model: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining_time, "liver", lambda: cube((12, 16, 16)))
    retraining_time.main(argparse.Namespace(model=model, seconds=1.0, device="cpu"))
    rows = table(published)
    assert [row["volume"] for row in rows] == ["hippocampus", "cube"]
    assert rows[1]["voxels"] == "12 × 16 × 16"
    assert all(float(row["retraining and segmenting, s"]) >= 1.0 for row in rows)


def cube(shape: tuple[int, int, int]) -> Subject:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(size // 4, size - size // 4) for size in shape)] = 1
    noise = np.random.default_rng(0).normal(size=shape)
    geometry = Geometry(shape)
    return Subject(
        "cube", Volume((labels + noise)[None].astype(np.float32), geometry), LabelMap(labels, geometry), "cube"
    )


def test_coarser_voxels_lie_in_the_middle_of_those_they_replace() -> None:
    image = np.arange(2 * 7 * 6, dtype=np.float32).reshape(1, 2, 7, 6)
    geometry = Geometry((2, 7, 6), (5.0, 1.0, 1.0))
    labels = (image[0] == image[0, 1, 4, 1]).astype(np.uint8)
    found = retraining_liver.coarser(Case("a", Volume(image, geometry), LabelMap(labels, geometry)), 3)
    assert found.truth.array.shape == (2, 2, 2)
    assert found.truth.geometry.spacing_mm == (5.0, 3.0, 3.0)
    # The middle of the first 3 × 3 pixels of slice 1 is pixel (1, 1) there, at (d, h, w) = (5, 1, 1) mm.
    assert found.volume.array[0, 1, 0, 0] == pytest.approx(image[0, 1, 1, 1])
    np.testing.assert_allclose(
        found.truth.geometry.index_to_world @ [1, 0, 0, 1], geometry.index_to_world @ [1, 1, 1, 1]
    )
    assert np.argwhere(found.truth.array).tolist() == [[1, 1, 0]]


def test_a_region_is_centred_on_the_structures_and_stays_inside() -> None:
    labels = np.zeros((6, 10, 10), np.uint8)
    labels[0, 4:6, 7:10] = 1
    geometry = Geometry(labels.shape, (2.0, 1.0, 1.0))
    image = np.arange(labels.size, dtype=np.float32).reshape(1, *labels.shape)
    whole = Subject("a", Volume(image, geometry), LabelMap(labels, geometry), "a")
    found = retraining_liver.region(whole, (3, 4, 5))
    assert (found.volume.array[0] == image[0, 0:3, 3:7, 5:10]).all()
    assert found.truth.array.sum() == labels.sum()
    assert found.truth.geometry.matches(geometry.cropped((0, 3, 5), (3, 4, 5)))


def study(tmp_path: Path, *more: str, slices: str) -> argparse.Namespace:
    parser = add_study_options(task_options(None, seconds=1, seeds=1, slices=[]))
    parser.add_argument("--sets", nargs="+")
    fixed = ["--output", str(tmp_path / "rows"), "--device", "cpu", "--slices", slices]
    return parser.parse_args([*fixed, *more])


def test_the_liver_is_a_region_of_128_by_128_by_64(
    data_dir: Path, tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = retraining_liver.liver()
    assert subject.truth.array.shape == (64, 128, 128)
    assert subject.truth.geometry.spacing_mm == pytest.approx((2.0, 2.18, 2.18), abs=0.01)
    assert subject.volume.array[0][subject.truth.array == 1].mean() == pytest.approx(141, abs=10)  # HU, README
    monkeypatch.setattr(retraining_liver, "liver", lambda: subject)
    retraining_liver.main(study(tmp_path, "--methods", "paste", slices="3"))
    (row,) = table(published)
    assert (row["domain"], row["Dice"], row["better than the start"]) == ("CT region", "0.0000", "")


def test_the_ovules_stand_beside_the_paper(data_dir: Path, tmp_path: Path, published: Path) -> None:
    retraining_ovule.main(study(tmp_path, "--methods", "paste", slices="2,2,1"))
    (row,) = table(published)
    assert (row["slices"], row["per class"]) == ("2,2,1", "0.0000 / 0.0000")
    assert "2,2,1 slices: Dice 0.81, 0.73, 0.85." in published.read_text("utf-8")
    iou = {"1,1,1": (0.331, 0.483, 0.475), "5,5,3": (0.856, 0.849, 0.872)}
    for slices, values in iou.items():
        dice = [2 * one / (1 + one) for one in values]
        assert retraining_ovule.CICEK_2016_DICE[slices] == pytest.approx(dice, abs=0.0006)


def test_sections_become_a_stack(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [cube((1, 32, 32)) for _ in range(6)]
    cases = [Case("", one.volume, one.truth) for one in sections]
    found = retraining_2d.stack(cases, "membranes")
    assert found.truth.array.shape == (6, 32, 32)
    assert found.truth.geometry.spacing_mm == (12.5, 1.0, 1.0)
    assert (found.volume.array[0, 1] == sections[1].volume.array[0, 0]).all()
    monkeypatch.setattr(retraining_2d, "load_cases", lambda folder, keep: cases)
    retraining_2d.main(study(tmp_path, "--methods", "paste", "--sets", "sandstone", slices="2"))
    (row,) = table(published)
    assert (row["domain"], row["per class"]) == ("sandstone", "0.0000 / n/a / n/a")


@pytest.mark.parametrize("name", retraining_2d.SETS)
def test_the_classes_of_a_stack_are_those_of_its_labels(data_dir: Path, name: str) -> None:
    subject = retraining_2d.load_stack(name)
    assert np.unique(subject.truth.array).tolist() == [label.value for label in retraining_2d.SETS[name]]


def test_scribbles_are_labels_and_the_rest_is_not(
    data_dir: Path, tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = retraining_scribbles.load_cases(data_dir / "acdc_cine", keep=lambda name: name < "patient005")
    case = retraining_scribbles.scribbled(cases[0], 255)
    raw = read_label_map(data_dir / "acdc_cine" / "scribbles" / f"{case.name}.nii.gz").array
    labelled = case.annotation.array != 255
    assert (labelled == (raw != 4)).all()
    assert (case.annotation.array[labelled] == raw[labelled]).all()
    # Those who scribbled and those who outlined agree.
    assert (case.annotation.array == cases[0].annotation.array)[labelled].mean() > 0.95
    monkeypatch.setattr(retraining_scribbles, "load_cases", lambda folder, keep: cases)
    options = argparse.Namespace(
        teachers=retraining_scribbles.TEACHERS[:2], output=tmp_path, network="unet_3d", device="cpu", seconds=2, seed=0
    )
    retraining_scribbles.main(options)
    rows = table(published)
    assert [row["taught by"] for row in rows] == ["scribbles", "scribbles, background beyond closed lines"]
    assert all((row["training cases"], row["test cases"]) == ("2", "1") for row in rows)
    assert all(0 < float(row["labelled voxels"].rstrip("%")) < 10 for row in rows)
    assert published.read_text("utf-8").count("voxels that nobody labelled, in 2 of 2 cases.") == 1


def measured(method: str, slices: str, dice: float, *, domain: str = "in domain", case: str = "a") -> Row:
    return Row(Key(domain, case, slices, 0, method, 60.0, ""), Figures((dice,), (1.0,), (1.0,), 0.0, dice / 2), 1.0)


def test_curves_are_means_over_cases_by_the_slices_in_all() -> None:
    rows = [
        measured("loop", "5,5,3", 0.9), measured("loop", "1,1,1", 0.4), measured("loop", "1,1,1", 0.6, case="b"),
        measured("fill", "1,1,1", 0.3), measured("loop", "1,1,1", 0.1, domain="shifted"),
    ]  # fmt: skip
    assert curves(rows, untouched) == {
        "in domain": {"loop": {3: pytest.approx(0.5), 13: 0.9}, "fill": {3: 0.3}},
        "shifted": {"loop": {3: 0.1}},
    }


def test_slices_needed_are_read_off_the_line() -> None:
    curve = {1: 0.4, 3: 0.8, 5: 0.7, 9: 0.9}
    assert slices_needed(curve, 0.6) == pytest.approx(2.0)
    assert slices_needed(curve, 0.8) == 3.0
    assert slices_needed(curve, 0.85) == pytest.approx(8.0)
    assert slices_needed(curve, 0.4) == slices_needed(curve, 0.1) == 1.0
    assert slices_needed(curve, 0.91) is None


def test_effort_is_that_for_the_whole_volume() -> None:
    rows = [measured("loop", "1", 0.5), measured("loop", "3", 0.7)]  # the whole volumes have half of that
    assert effort(rows, [0.3, 0.4]) == [["in domain", "loop", "1: 0.500, 3: 0.700", "2.0", "never"]]


@pytest.mark.parametrize("name", ["ovule", "hippocampus"])
def test_the_picture_is_small(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra bench")
    methods = {f"method {index}": {3: 0.1 * index, 5: 0.11 * index} for index in range(8)}
    path = tmp_path / "figures" / "a.png"
    draw({"in domain": methods, "shifted": methods}, path, name=name)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert path.stat().st_size < 300_000
