"""The benchmark of the training step, on patches so small that its figures mean nothing."""

import argparse

import results
import speed_training_step


def test_both_kinds_of_step_are_timed_for_every_arrangement_of_slices(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    sizes = {"patch": (16, 8, 8), "small_patch": (8, 8, 8), "cut_to": (8,)}
    speed_training_step.main(
        argparse.Namespace(
            preset="compact", rounds=2, device="cpu", precision="float32", whole_precision="bfloat16", **sizes
        )
    )
    printed = capsys.readouterr().out
    assert (tmp_path / "RESULTS.md").read_text("utf-8").strip() == printed.strip()
    assert "## One step of retraining, compact 3D U-Net" in printed
    table = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")][2:]
    arrangements = ["1", "3 within a sixth of an axis", "3 across one axis", "1 across each axis"]
    assert [row[:2] for row in table] == [
        *(["1 × 16 × 8 × 8", slices] for slices in [*arrangements, "1, the patch cut to 8 slices"]),
        *(["2 × 8 × 8 × 8", slices] for slices in arrangements),
    ]
    assert all(float(number) >= 0 for row in table for number in row[2:])


def test_the_labelled_slices_of_a_batch_lie_where_they_are_said_to():
    batch = speed_training_step.random_batch((8, 4, 6), 2, speed_training_step.LABELLED["3 across one axis"])
    assert batch.image.shape == (2, 1, 8, 4, 6)
    assert batch.weight.sum((0, 2, 3)).tolist() == [0, 0, 48, 0, 48, 0, 48, 0]


def test_a_cut_patch_keeps_its_labelled_slice():
    batch = speed_training_step.random_batch((8, 4, 6), 1, speed_training_step.LABELLED["1"])
    cut = speed_training_step.cut(batch, 2)
    assert cut.image.shape == (1, 1, 2, 4, 6)
    assert cut.weight.sum((0, 2, 3)).tolist() == [0, 24]
    assert cut.image.equal(batch.image[:, :, 3:5])
