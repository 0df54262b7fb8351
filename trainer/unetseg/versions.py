"""The versions that a result depends on."""

from __future__ import annotations

import importlib.metadata
import platform

PACKAGES = ("unetseg", "torch", "numpy", "SimpleITK", "safetensors")


def versions() -> dict[str, str]:
    """Of this package, those it needs and Python; "unknown" where a package was not installed as one."""
    return {**{name: _version(name) for name in PACKAGES}, "Python": platform.python_version()}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
