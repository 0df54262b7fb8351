"""The ways of using a few corrected slices of one volume that are measured side by side."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.util import find_spec

from unetseg.volume import LabelArray

from .task import Method, Task

MODULES = {
    "loop": "loop",
    "paste": "paste",
    "fill": "fill",
    "background": "background",
    "plain": "plain",
    "plain, all logits": "all_logits",
    "monai": "monai_unet",
    "nnunet": "nnunet",
}
"""Name of a method and its module here, whose ``run`` is the method."""

PACKAGES = {"fill": "slicer_core", "monai": "monai", "nnunet": "nnunetv2"}
"""What a method needs beside the trainer: the extras ``dev``, ``bench`` and ``nnunet``."""


def _run(name: str, task: Task) -> LabelArray:
    """The module is imported only now: some take seconds."""
    labels: LabelArray = import_module(f"{__name__}.{MODULES[name]}").run(task)
    return labels


MISSING = {name: package for name, package in PACKAGES.items() if find_spec(package) is None}
"""Methods that cannot run here, and the package that is not installed, for a table to name."""

METHODS: dict[str, Method] = {name: partial(_run, name) for name in MODULES if name not in MISSING}
