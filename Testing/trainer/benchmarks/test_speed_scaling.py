"""The benchmark of how the cost grows, on a volume so small that its figures mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import results
import speed_scaling
from same_process import SameProcess
from segment_everything import random_model
from speed_rows import Rows
from speed_scaling import Setting, flops_per_voxel, multiplying, part_of, segmenting, settings
from unetseg.errors import ImageError
from unetseg.model_file import save_model
from unetseg.volume import Geometry, Volume

SHAPE = (8, 16, 24)


def test_parts_of_a_volume_have_the_voxels_that_they_say():
    whole = np.zeros(SHAPE)
    sizes = {part: whole[part_of(SHAPE, part)].shape for part in speed_scaling.PARTS}
    assert sizes == {"1/8": (4, 8, 12), "1/4": (8, 8, 12), "1/2": (8, 16, 12), "1": SHAPE}
    assert part_of(SHAPE, "1/8") == (slice(2, 6), slice(4, 12), slice(6, 18))


def test_each_thing_is_varied_alone_and_nothing_twice(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert settings([2, 4], [1, 2]) == [
        *(Setting(part, 4, 2) for part in ("1/8", "1/4", "1/2", "1")),
        Setting("1/8", 2, 2),
        Setting("1/8", 4, 1),
    ]


def test_the_nominal_operations_are_those_of_the_convolutions():
    weights = [1 * 8, 8 * 16, 48 * 16, 16 * 16]  # of level 0: twice down, twice up, each with 27 taps
    weights += [(16 * 16 + 16 * 32 + 96 * 32 + 32 * 32) / 8, (32 * 32 + 32 * 64 + 192 * 64 + 64 * 64) / 64]
    weights += [(64 * 64 + 64 * 128) / 512]
    ups = 32 * 32 + 64 * 64 / 8 + 128 * 128 / 64  # one tap for each fine voxel
    expected = 2 * (27 * sum(weights) + ups + 16 * 5)
    assert flops_per_voxel("unet_3d", "compact", 5) == pytest.approx(expected)


def test_the_part_is_segmented_with_so_many_classes(tmp_path):
    volume = Volume(np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32), Geometry(SHAPE))
    save_model(tmp_path / "model.safetensors", random_model(volume, "unet_3d", "compact", 1.0))
    np.save(tmp_path / "image.npy", volume.array)
    files = str(tmp_path / "model.safetensors"), str(tmp_path / "image.npy")
    work = segmenting("ours-float32", *files, "1/8", 25, "cpu")
    labels = work.run()
    assert labels.shape == (4, 8, 12)
    assert labels.max() > 4
    assert np.array_equal(labels, segmenting("single-pass", *files, "1/8", 25, "cpu").run())


def test_the_matrix_rate_is_operations_over_seconds(monkeypatch):
    monkeypatch.setattr(speed_scaling, "MATRIX_SIZE", {"cpu": 64})
    monkeypatch.setattr(speed_scaling, "MATRIX_SECONDS", 0.0)
    clock = iter([0.0, 1.0, 2.0, 3.0, 5.0, 9.0])
    monkeypatch.setattr(speed_scaling.time, "perf_counter", lambda: next(clock))
    work = multiplying("bfloat16", "cpu")
    assert work.judge(work.run()) == {"GFLOP/s": pytest.approx(2 * 64**3 * (1 / 1 + 1 / 2) / 2 / 1e9)}


def test_the_table_has_every_setting_and_its_share_of_the_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(speed_scaling, "Worker", SameProcess)
    monkeypatch.setattr(speed_scaling, "MATRIX_SIZE", {"cpu": 64})
    monkeypatch.setattr(speed_scaling, "MATRIX_SECONDS", 0.0)
    given = ["--volume", "16x16x16", "--methods", "ours-float32", "--classes", "2", "--threads", "1", "--device", "cpu"]
    speed_scaling.main(speed_scaling.options().parse_args([*given, "--output", str(tmp_path / "made")]))
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 1")]
    assert [line[:5] for line in lines] == [
        [part, str(voxels), classes, "1", "ours-float32"]
        for part, voxels, classes in [
            ("1/8", 512, "4"), ("1/4", 1024, "4"), ("1/2", 2048, "4"), ("1", 4096, "4"), ("1/8", 512, "2"),
        ]
    ]  # fmt: skip
    (limit,) = (row for row in Rows(tmp_path / "made", "scaling") if row.key.subject == "matrix product")
    rate = 4096 * flops_per_voxel("unet_3d", "compact", 4) / 0.5 / 1e9
    assert lines[3][5:] == ["0.50", "12", f"{rate:.0f}", f"{rate / limit.figures['GFLOP/s']:.0%}"]
    assert "Matrix product, float32, cpu, 1 threads" in text


def test_a_volume_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("speed_subjects.DATA", tmp_path)
    with pytest.raises(ImageError, match="there is no file"):
        speed_scaling.main(speed_scaling.options().parse_args(["--output", str(tmp_path)]))
