"""The table of a study: means over cases, and how surely one method beats the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from intervals import case_means, paired_interval
from measures import mean_known
from rows import START, Row

POINTS = 100.0
"""Dice points in a Dice of 1."""


def table(rows: Sequence[Row], *, ours: str) -> tuple[list[str], list[list[object]]]:
    """Header and one line for each domain, number of slices and method, in the order of the rows.

    All means are over cases, of one case over its seeds. "against the start" compares each volume with the start
    model's own result on the same slices; the last column is the method ``ours`` minus this one.
    """
    header = [
        "domain", "slices", "method", "cases", "Dice", "per class", "HD95 mm", "surface Dice 1 mm", "seam", "s",
        "better than the start", "worst against the start", f"{ours} minus this, points [95 %]",
    ]  # fmt: skip
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        methods = groups.setdefault((row.key.domain, row.key.slices), {})
        methods.setdefault(row.key.method, []).append(row)
    lines = []
    for (domain, slices), methods in groups.items():
        for method, some in methods.items():
            lead = difference(methods.get(ours, []), some) if method != ours else ""
            change = _against_start(some, methods.get(START, []))
            cases = len({row.key.case for row in some})
            lines.append([domain, slices, method, cases, *_means(some), *change, lead])
    return header, lines


def mean_over_cases(rows: Sequence[Row], figure: Callable[[Row], float | None]) -> float | None:
    """Each case's mean over its seeds, then the mean over cases; None where no row has the figure."""
    known = [(row.key.case, value) for row in rows if (value := figure(row)) is not None]
    return mean_known(case_means(known).values())


def paired(ours: Sequence[Row], theirs: Sequence[Row]) -> list[tuple[str, float]]:
    """Case and difference in mean Dice, in points, of each case and seed that both have been measured on."""
    other = {(row.key.case, row.key.seed): row.figures.mean_dice for row in theirs}
    return [
        (row.key.case, POINTS * (row.figures.mean_dice - other[row.key.case, row.key.seed]))
        for row in ours
        if (row.key.case, row.key.seed) in other
    ]


def difference(ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    """Mean difference in points with its interval; a single case has none."""
    pairs = paired(ours, theirs)
    if not pairs:
        return "n/a"
    found = paired_interval(pairs)
    bounds = f" [{found.lower:+.2f}, {found.upper:+.2f}]" if found.cases > 1 else ""
    return f"{found.mean:+.2f}{bounds}"


def _means(rows: Sequence[Row]) -> list[object]:
    classes = range(len(rows[0].figures.dice))
    per_class = [mean_over_cases(rows, lambda row, k=k: row.figures.dice[k]) for k in classes]
    return [
        mean_over_cases(rows, lambda row: row.figures.mean_dice),
        " / ".join("n/a" if value is None else f"{value:.4f}" for value in per_class),
        _text(mean_over_cases(rows, lambda row: mean_known(row.figures.hd95_mm)), ".2f"),
        mean_over_cases(rows, lambda row: mean_known(row.figures.surface_dice)),
        _text(mean_over_cases(rows, lambda row: row.figures.seam), "+.3f"),
        _text(mean_over_cases(rows, lambda row: row.seconds), ".1f"),
    ]


def _against_start(rows: Sequence[Row], start: Sequence[Row]) -> list[object]:
    if not start or rows[0].key.method == START:
        return ["", ""]
    changes = [change for _case, change in paired(rows, start)]
    return [f"{sum(change > 0 for change in changes)} of {len(changes)}", f"{min(changes):+.2f}"]


def _text(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)
