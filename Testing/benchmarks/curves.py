"""Dice against the number of labelled slices, as a picture beside published figures, from the rows of a study.

Also how many slices each method needs until the whole volume, with these slices, reaches a Dice: with fewer of them the
user has less to do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from comparison import OURS
from results import publish
from retraining_ovule import CICEK_2016_DICE
from rows import Row, stored_rows
from summary import mean_over_cases
from unetseg.errors import SettingsError

FIGURES = Path(__file__).with_name("figures")

Curve = dict[int, float]
"""Mean Dice by number of slices, ascending."""


def slices_in_all(text: str) -> int:
    """3 for ``3`` and for ``1,1,1``."""
    return sum(int(count) for count in text.split(","))


ANCHORS: dict[str, Mapping[str, float]] = {
    "hippocampus": {
        "nnU-Net, all labels of the data set": 0.895,
        "nnU-Net, 4 % of its voxels": 0.885,
        "nnU-Net, 1.3 % of its voxels": 0.870,
    },
}
"""Dice of others, whatever the number of slices: nnActive's releases (arXiv 2511.19183)."""

PUBLISHED: dict[str, Mapping[str, Curve]] = {
    "ovule": {
        f"Çiçek 2016, kidney {kidney}": dict(zip(map(slices_in_all, CICEK_2016_DICE), dice, strict=True))
        for kidney, dice in enumerate(zip(*CICEK_2016_DICE.values(), strict=True), start=1)
    },
}
"""Curves of others."""


def curves(rows: Sequence[Row], figure: Callable[[Row], float | None]) -> dict[str, dict[str, Curve]]:
    """Means over cases of a figure, by domain and method.

    The start model's Dice on untouched slices changes a little with the slices that are left out.
    """
    groups: dict[str, dict[str, dict[int, list[Row]]]] = {}
    for row in rows:
        methods = groups.setdefault(row.key.domain, {})
        methods.setdefault(row.key.method, {}).setdefault(slices_in_all(row.key.slices), []).append(row)
    return {
        domain: {
            method: {count: mean_over_cases(by_count[count], figure) for count in sorted(by_count)}
            for method, by_count in methods.items()
        }
        for domain, methods in groups.items()
    }


def untouched(row: Row) -> float:
    """The Dice on slices that were never shown."""
    return row.figures.mean_dice


def whole(row: Row) -> float | None:
    """The Dice of the whole volume, the shown slices included."""
    return row.figures.whole_dice


def slices_needed(curve: Curve, goal: float) -> float | None:
    """The slices at which the curve first reaches a Dice, straight between its points; None where it never does.

    Of a curve that begins above the Dice it is the first point's: fewer were not measured.
    """
    below: tuple[int, float] | None = None
    for count, value in curve.items():
        if value >= goal:
            if below is None:
                return float(count)
            return below[0] + (goal - below[1]) / (value - below[1]) * (count - below[0])
        below = count, value
    return None


def draw(found: Mapping[str, Mapping[str, Curve]], path: Path, *, name: str) -> None:
    """One panel a domain; ours is the thick line. Published figures for data called ``name`` are grey."""
    import matplotlib  # an extra, only needed here

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    figure, panels = pyplot.subplots(1, len(found), figsize=(6 * len(found), 4.2), squeeze=False, layout="constrained")
    everywhere = sorted({method for methods in found.values() for method in methods})
    colours = {method: f"C{number}" for number, method in enumerate(everywhere)}  # the same in every panel
    for panel, (domain, methods) in zip(panels[0], found.items(), strict=True):
        for method, curve in methods.items():
            width = 3 if method == OURS else 1.3
            panel.plot(list(curve), list(curve.values()), "o-", label=method, linewidth=width, color=colours[method])
        for label, curve in PUBLISHED.get(name, {}).items():
            panel.plot(list(curve), list(curve.values()), "x:", color="grey", label=label)
        for style, (label, value) in zip(("-", "--", ":"), ANCHORS.get(name, {}).items(), strict=False):
            panel.axhline(value, color="grey", linestyle=style, linewidth=1, label=label)
        panel.set(title=domain, xlabel="labelled slices", ylabel="Dice on all other slices")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def effort(rows: Sequence[Row], goals: Sequence[float]) -> list[list[object]]:
    """One line for each domain and method: its Dice by slices, and the slices that it needs for each goal."""
    others, volumes = curves(rows, untouched), curves(rows, whole)
    lines: list[list[object]] = []
    for domain, methods in others.items():
        for method, curve in methods.items():
            needed = (slices_needed(volumes[domain][method], goal) for goal in goals)
            points = ", ".join(f"{count}: {value:.3f}" for count, value in curve.items())
            lines.append([domain, method, points, *("never" if one is None else f"{one:.1f}" for one in needed)])
    return lines


def main(arguments: argparse.Namespace) -> None:
    rows = list(stored_rows(arguments.output))
    if not rows:
        raise SettingsError("The folder must hold the rows of a study", received=arguments.output)
    if len({(row.key.budget_seconds, row.key.start) for row in rows}) > 1:
        raise SettingsError("A picture shows one study: one budget and one start model", received=arguments.output)
    path = FIGURES / f"{arguments.name}.png"
    draw(curves(rows, untouched), path, name=arguments.name)
    goals = (f"slices until the volume has {goal:g}" for goal in arguments.goals)
    header = ["domain", "method", "Dice on all other slices, by slices", *goals]
    picture = f"![Dice against labelled slices](figures/{path.name})"
    publish(f"Dice against labelled slices: {arguments.name}", header, effort(rows, arguments.goals), notes=(picture,))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the study's rows")
    parser.add_argument("--name", required=True, help="of the picture: hippocampus and ovule show published figures")
    parser.add_argument("--goals", type=float, nargs="+", default=[0.7, 0.8, 0.85], help="Dice to reach")
    main(parser.parse_args())
