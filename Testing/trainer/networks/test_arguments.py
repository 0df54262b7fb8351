from __future__ import annotations

import pytest

from unetseg.errors import SettingsError
from unetseg.networks import NETWORKS, build

GOOD = {"in_channels": 1, "classes": 2, "base_channels": 2, "depth": 3}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("in_channels", 0), ("in_channels", 65), ("in_channels", True), ("in_channels", 1.0),
        ("classes", 0), ("classes", 257), ("classes", 10**6),
        ("base_channels", 0), ("base_channels", 1025), ("base_channels", "8"),
        ("depth", 1), ("depth", 8), ("depth", 50), ("depth", 2.5),
        ("norm", "layer"), ("norm", None), ("norm", ["batch"]),
        ("dropout", -0.1), ("dropout", 1.0), ("dropout", float("nan")), ("dropout", "0.5"), ("dropout", True),
        ("pooling", []), ("pooling", [[2, 2]]), ("pooling", 2), ("pooling", [2, 2]), ("pooling", [[2], [2]]),
        ("pooling", [[0] * 3, [2] * 3]), ("pooling", [[5] * 2, [2] * 2]), ("pooling", [[2.0] * 3] * 2),
    ],
)  # fmt: skip
def test_an_argument_out_of_its_limits_is_refused_by_name(name, argument, value):
    with pytest.raises(SettingsError, match=argument):
        build(name, **(GOOD | {argument: value}))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_deepest_level_is_limited(name):
    with pytest.raises(SettingsError, match="1024 channels"):
        build(name, **(GOOD | {"base_channels": 512}))


def test_padding_is_one_of_two():
    with pytest.raises(SettingsError, match="same, valid"):
        build("unet_2d", **GOOD, padding="reflect")


@pytest.mark.parametrize("dimensions", [1, 4, "3", 3.0, True])
def test_attention_unet_has_2_or_3_dimensions(dimensions):
    with pytest.raises(SettingsError, match="2 or 3"):
        build("attention_unet", **GOOD, dimensions=dimensions)


def test_attention_unet_needs_a_level_for_a_gate():
    with pytest.raises(SettingsError, match="from 3 to 7"):
        build("attention_unet", **(GOOD | {"depth": 2}))
