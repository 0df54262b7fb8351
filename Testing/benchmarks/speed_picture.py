"""Time and memory of measurements as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from speed_rows import Row, peak_mb, warm_seconds

PANELS: dict[str, Callable[[Sequence[Row]], float | None]] = {"seconds": warm_seconds, "memory, MB": peak_mb}
COLOURS = {"monai": "Blues", "nnunet": "Greens", "ours": "Reds", "single": "Greys"}
"""Colour map by the first word of a method: shades tell its variants apart."""


def draw(rows: Iterable[Row], path: Path) -> None:
    """One line of panels a network: time and memory of each method, grouped by subject, on logarithmic axes."""
    import matplotlib  # an extra, only needed here

    matplotlib.use("Agg")
    from matplotlib import patches, pyplot

    networks = grouped(rows)
    methods = list(dict.fromkeys(method for found in networks.values() for of in found.values() for method in of))
    colours = {method: pyplot.get_cmap(COLOURS[method.split("-")[0]])(shade(method, methods)) for method in methods}
    width = 1 / (len(methods) + 1)
    size = (7 * len(PANELS), 3.6 * len(networks) + 0.6)
    figure, axes = pyplot.subplots(len(networks), len(PANELS), figsize=size, squeeze=False, layout="constrained")
    for line, (network, found) in zip(axes, networks.items(), strict=True):
        for panel, (title, value) in zip(line, PANELS.items(), strict=True):
            for number, method in enumerate(methods):
                heights = {place: value(of[method]) for place, of in enumerate(found.values()) if method in of}
                known = {place: height for place, height in heights.items() if height is not None}
                places = [place + (number + 0.5) * width for place in known]
                bars = panel.bar(places, list(known.values()), width, color=colours[method])
                panel.bar_label(bars, fmt=readable, fontsize=7, rotation=90, padding=2)
            panel.set(title=f"{network}: {title}", yscale="log")
            panel.margins(y=0.25)
            panel.set_xticks([place + 0.5 - width / 2 for place in range(len(found))], list(found))
    handles = [patches.Patch(color=colour, label=method) for method, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def readable(value: float) -> str:
    """Three figures, and thousands as they are."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def grouped(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, list[Row]]]]:
    """All turns by network, subject and method."""
    found: dict[str, dict[str, dict[str, list[Row]]]] = {}
    for row in rows:
        of_subject: Any = found.setdefault(row.key.network, {}).setdefault(row.key.subject, {})
        of_subject.setdefault(row.key.method, []).append(row)
    return found


def shade(method: str, methods: Sequence[str]) -> float:
    """0.4 … 0.9 over the variants of what the method's first word names, in their order."""
    variants = [other for other in methods if other.split("-")[0] == method.split("-")[0]]
    return 0.4 + 0.5 * variants.index(method) / max(1, len(variants) - 1)
