"""The networks by name, and the sizes they come in."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import unknown_name
from .attention_unet import AttentionUNet
from .base import UNet
from .unet_2d import UNet2d
from .unet_3d import UNet3d

__all__ = ["NETWORKS", "PRESETS", "AttentionUNet", "UNet", "UNet2d", "UNet3d", "build", "preset_arguments"]

NETWORKS: dict[str, type[UNet]] = {
    "attention_unet": AttentionUNet,
    "unet_2d": UNet2d,
    "unet_3d": UNet3d,
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "attention_unet": {"compact": {"base_channels": 8}, "paper": {"depth": 5}},
    "unet_2d": {"compact": {"base_channels": 16, "norm": "batch"}, "paper": {}},
    "unet_3d": {"compact": {"base_channels": 8}, "paper": {}},
}
"""Arguments per network and preset: "compact" (1–2 M parameters) answers while one waits on a CPU."""


def build(name: str, *, in_channels: int, classes: int, **arguments: Any) -> UNet:
    """A network with random weights (torch's global generator); its ``arguments`` default to the paper's.

    Under ``torch.device("meta")`` it takes no memory. Raises ``SettingsError`` for an unknown name or argument
    and for values out of their limits.
    """
    network = _network(name)
    known = set(inspect.signature(network).parameters) - {"in_channels", "classes"}
    for argument in arguments:
        if argument not in known:
            raise unknown_name(f"argument of {name}", argument, known)
    return network(in_channels=in_channels, classes=classes, **arguments)


def preset_arguments(name: str, preset: str) -> Mapping[str, Any]:
    """The arguments of a network's preset. Raises ``SettingsError`` for a name that is not in the tables."""
    _network(name)
    if preset not in PRESETS[name]:
        raise unknown_name(f"preset of {name}", preset, PRESETS[name])
    return dict(PRESETS[name][preset])


def _network(name: str) -> type[UNet]:
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    return NETWORKS[name]
