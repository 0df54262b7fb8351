"""The limits of the networks' arguments, so that no file or request can ask for an absurd one."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SettingsError, unknown_name
from .blocks import NORMS

MAX_IN_CHANNELS = 64
MAX_CLASSES = 256
MAX_FEATURES = 1024
MAX_DEPTH = 7
MAX_POOLING = 4
PADDINGS = ("same", "valid")

Pooling = Sequence[Sequence[int]]
"""Per transition from level l to l + 1, the factor along each axis; lists as JSON has them, or tuples."""


def check_arguments(
    *,
    dimensions: int,
    supported_dimensions: tuple[int, ...],
    in_channels: int,
    classes: int,
    base_channels: int,
    depth: int,
    min_depth: int,
    norm: str,
    dropout: float,
    padding: str,
    pooling: Pooling | None,
) -> None:
    """Raises ``SettingsError`` with the first argument that is out of its limits."""
    if dimensions not in supported_dimensions or isinstance(dimensions, (bool, float)):
        raise SettingsError(
            f"The network's dimensions must be {' or '.join(map(str, supported_dimensions))}", received=dimensions
        )
    _check_int("in_channels", in_channels, 1, MAX_IN_CHANNELS)
    _check_int("classes", classes, 1, MAX_CLASSES)
    _check_int("base_channels", base_channels, 1, MAX_FEATURES)
    _check_int("depth", depth, min_depth, MAX_DEPTH)
    for kind, name, known in (("norm", norm, NORMS), ("padding", padding, PADDINGS)):
        if name not in known:
            raise unknown_name(kind, str(name), known)
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise SettingsError("The network's dropout must be a number from 0 to below 1", received=dropout)
    if pooling is not None:
        _check_pooling(pooling, depth, dimensions)


def check_width(channels: int) -> None:
    """Raises ``SettingsError`` where the deepest level would have more ``channels`` than any network may."""
    if channels > MAX_FEATURES:
        raise SettingsError(
            f"No level of a network may have more than {MAX_FEATURES} channels",
            received=f"{channels} at the deepest level",
            remedy="Choose a smaller base_channels or depth",
        )


def _check_int(name: str, value: int, smallest: int, largest: int) -> None:
    if type(value) is not int or not smallest <= value <= largest:
        raise SettingsError(
            f"The network's {name} must be a whole number from {smallest} to {largest}", received=repr(value)
        )


def _check_pooling(pooling: Pooling, depth: int, dimensions: int) -> None:
    fits = isinstance(pooling, (list, tuple)) and len(pooling) == depth - 1
    for factors in pooling if fits else ():
        fits = fits and isinstance(factors, (list, tuple)) and len(factors) == dimensions
        fits = fits and all(type(factor) is int and 1 <= factor <= MAX_POOLING for factor in factors)
    if not fits:
        raise SettingsError(
            f"With depth {depth}, pooling must be {depth - 1} lists of {dimensions} factors from 1 to {MAX_POOLING}",
            received=pooling,
        )
