"""The demo's pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display needed

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from unetseg.config import Label
from unetseg.volume import LabelMap, Volume


def draw_rounds(
    path: Path,
    volume: Volume,
    truth: LabelMap,
    rounds: Sequence[tuple[str, LabelMap]],
    labels: Sequence[Label],
    shown: Sequence[tuple[int, int]],
) -> None:
    """Three slices that were never shown (rows) in the image, the truth and after each round (columns)."""
    axis = shown[0][0]
    rows = _slices_never_shown(truth, axis, {index for _, index in shown})
    columns = [("image", None), ("truth", truth), *rounds]
    figure, axes = plt.subplots(
        len(rows),
        len(columns),
        figsize=(1.9 * len(columns), 2.0 * len(rows) + 0.3),
        squeeze=False,
        layout="constrained",
    )
    colors = ListedColormap([tuple(value / 255 for value in label.color) for label in labels])
    spacing = [volume.geometry.spacing_mm[i] for i in range(3) if i != axis]
    for row, index in zip(axes, rows, strict=True):
        image = np.take(volume.array[0], index, axis=axis)
        low, high = np.percentile(image, [1, 99])
        for place, (title, map_) in zip(row, columns, strict=True):
            place.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=spacing[0] / spacing[1], origin="upper")
            if map_ is not None:
                overlay = np.take(map_.array, index, axis=axis)
                place.imshow(
                    np.ma.masked_equal(overlay, 0),
                    cmap=colors,
                    vmin=0,
                    vmax=len(labels) - 1,
                    alpha=0.55,
                    interpolation="nearest",
                    aspect=spacing[0] / spacing[1],
                    origin="upper",
                )
            place.set_xticks([])
            place.set_yticks([])
            if index == rows[0]:
                place.set_title(title, fontsize=8)
        row[0].set_ylabel(f"slice {index}", fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_curve(path: Path, curves: Mapping[str, Path]) -> None:
    """Training loss against seconds, smoothed over 10 steps, one line a retraining."""
    figure, place = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    for name, file in curves.items():
        records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        points = [(record["seconds"], next(iter(record["loss"].values()))) for record in records if record.get("loss")]
        seconds, loss = np.array(points).T
        width = min(10, len(loss))
        smooth = np.convolve(loss, np.ones(width) / width, mode="valid")
        place.plot(seconds[width - 1 :], smooth, label=name)
    place.set_xlabel("training time in seconds")
    place.set_ylabel("loss (mean of 10 steps)")
    place.legend(title="retrained on")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _slices_never_shown(truth: LabelMap, axis: int, shown: set[int]) -> list[int]:
    """At about a quarter, a half and three quarters of the structures' extent."""
    occupied = np.flatnonzero((truth.array > 0).any(axis=tuple({0, 1, 2} - {axis})))
    free = [int(index) for index in occupied if int(index) not in shown]
    return sorted({free[len(free) * quarter // 4] for quarter in (1, 2, 3)})
