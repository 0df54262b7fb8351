"""How sure a mean over cases is: the paired bootstrap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from unetseg.errors import SettingsError

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over ``cases`` cases and the bounds between which it lies in 95 % of the resamplings.

    Of a single case nothing is known about others: both bounds are its value.
    """

    mean: float
    lower: float
    upper: float
    cases: int


def case_means(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of each case's values, such as those of several seeds."""
    found: dict[str, list[float]] = {}
    for case, value in values:
        found.setdefault(case, []).append(value)
    return {case: float(np.mean(several)) for case, several in found.items()}


def paired_interval(differences: Iterable[tuple[str, float]]) -> Interval:
    """Mean and 95 % interval of the differences between two methods: percentile bootstrap over cases (Efron 1979).

    Differences of one case (several seeds) are averaged first: seeds of the same case are no independent cases.
    The same input always gives the same interval.

    Args:
        differences: case name and difference.

    Raises:
        SettingsError: there is none.
    """
    values = np.array(list(case_means(differences).values()))
    if not values.size:
        raise SettingsError("An interval needs at least one case", received="none")
    drawn = np.random.default_rng(0).integers(values.size, size=(RESAMPLES, values.size))
    lower, upper = np.quantile(values[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(lower), float(upper), values.size)
