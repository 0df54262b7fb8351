"""The benchmark of the event loop, on a volume so small that its figures mean nothing."""

import argparse

import event_loop
import results


def test_every_kind_of_work_is_timed_and_the_longest_is_named(scene, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    event_loop.main(argparse.Namespace(shape=(12, 64, 64), rounds=2, minutes=5.0), tmp_path)
    printed = capsys.readouterr().out
    assert (tmp_path / "RESULTS.md").read_text("utf-8").strip() == printed.strip()
    assert "## Event loop while training, 12 × 64 × 64 voxels, 25 structures" in printed
    table = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")][2:]
    times = {kind: int(count) for kind, count, *_milliseconds in table}
    assert times.pop("turns from Start to the first step") > 0
    assert times.pop("turns while training") > 100
    assert times.pop("turns from Abort to the end") > 0
    assert times == {
        "a click on Start": 1,
        "a jump to a slice": 2,
        "a stroke of the brush (Slicer's own work)": 2,
        "a click on This slice is right": 2,
        "a click on Next slice": 2,
        "a click on Skip": 2,
        "a click on Remove": 1,
        "a click on Abort": 1,
    }
    longest = max(float(row[3]) for row in table if "Slicer" not in row[0])
    assert f"blocks the window: {longest:.1f} ms (limit 50 ms)" in printed
