"""The demo with budgets too small to learn anything: every scene is played, and leaves the picture it promises."""

import functools
import re
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import qt

from appearance import shift_appearance
from unetseg.errors import TrainingDataError
from unetseg.image_io import write_label_map
from unetseg.phantom import make_phantom, write_phantom_cases
from unetseg.volume import Geometry, LabelMap, Volume

DEMO = Path(__file__).resolve().parents[1] / "demo"
MAX_BYTES = 300_000


@pytest.fixture
def demo(scene, monkeypatch):
    """The demo's main module; it and those beside it are forgotten afterwards."""
    monkeypatch.syspath_prepend(DEMO)
    import run_demo

    yield run_demo
    for path in DEMO.glob("*.py"):
        sys.modules.pop(path.stem, None)


def pixels(path):
    """(height, width, 3) uint8."""
    picture = qt.QImage(str(path)).convertToFormat(qt.QImage.Format_RGB888)
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), -1).copy()
    return rows[:, : 3 * picture.width()].reshape(picture.height(), picture.width(), 3)


def parts(image):
    """The panel and the four views of a picture, without the bars above the views."""
    views = [image[top + 20 : top + 396, left + 4 : left + 396] for top in (0, 400) for left in (400, 800)]
    return image[:, :400], *views


def test_every_scene_leaves_its_picture_and_the_page_shows_them(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cases.FIRST_CASES", 1)
    monkeypatch.setattr("cases.make_phantom", functools.partial(make_phantom, shape=(14, 20, 20)))
    monkeypatch.setattr("UNetSegmentLib.retraining.Retraining.seconds", lambda self, budget: 0.5)
    output, workspace = tmp_path / "demo", tmp_path / "work"
    workspace.mkdir()
    demo.main(Namespace(output=output, cases=None, first_seconds=1, minutes=0.5, seed=0), workspace)

    scenes = ["choose", "segment", "suggest", "paint", "confirm", "retrain", "compare", "keep", "again", "back"]
    promised = [f"{number:02}-{scene}.png" for number, scene in enumerate(scenes, start=1)]
    assert sorted(path.name for path in output.iterdir()) == [*promised, "index.html"]
    for name in promised:
        assert (output / name).stat().st_size < MAX_BYTES
        image = pixels(output / name)
        assert image.shape == (800, 1200, 3)
        assert all(part.std() > 5 for part in parts(image)), name
        assert image[8, 600].tolist() == pytest.approx([243, 74, 51], abs=6)  # the bar of the red view

    page = (output / "index.html").read_text("utf-8")
    assert re.findall(r'src="([^"]+)"', page) == promised
    assert not re.search(r"<script|https?:|\{", page.partition("</style>")[2])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if re.match(r" +\d+ ", line)]
    assert [row[0] for row in rows] == ["0", "3", "5"]
    for row in rows:
        assert f"<td>{row[0]}</td><td>{row[1]}</td>" in page


def test_the_slices_to_watch_show_as_much_as_there_is_together(demo):
    """Half of two structures is better than all of one."""
    from story import telling_slices

    truth = np.zeros((4, 5, 6), np.uint8)
    truth[0, :4, :4] = 1
    truth[2, :2, :4] = 1
    truth[2, 2:4, :4] = 2
    truth[3, :4, :4] = 2
    assert telling_slices(truth)[0] == (0, 2)


def test_real_cases_are_split_into_those_to_learn_from_and_one_to_correct(demo, tmp_path):
    from cases import real_cases

    write_phantom_cases(tmp_path, count=4, seed=0, shape=(8, 12, 12))
    found = real_cases(tmp_path, seed=0)
    assert [case.name for case in found.first] == ["phantom_000", "phantom_003"]
    assert found.name == "phantom_001"
    assert [label.name for label in found.labels] == ["background", "liver", "kidneys", "aorta"]
    assert found.truth.shape == found.volume.geometry.shape == (8, 12, 12)
    truth = found.truth.copy()
    truth[3] = 255
    write_label_map(tmp_path / "labels" / "phantom_001.nii.gz", LabelMap(truth, found.volume.geometry))
    with pytest.raises(TrainingDataError, match="phantom_001"):
        real_cases(tmp_path, seed=0)


def test_the_other_scanner_turns_the_contrast_round():
    ramp = np.linspace(0, 500, 12 * 12 * 12, dtype=np.float32).reshape(1, 12, 12, 12)
    shifted = shift_appearance(Volume(ramp, Geometry((12, 12, 12))), np.random.default_rng(0))
    assert np.corrcoef(ramp.ravel(), shifted.array.ravel())[0, 1] < -0.8
    assert shifted.array.dtype == np.float32
