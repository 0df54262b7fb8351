"""The ways of using a few corrected slices of one volume that are measured side by side."""

from __future__ import annotations

from functools import partial
from importlib import import_module

from unetseg.errors import SettingsError
from unetseg.volume import LabelArray

from .task import Method, Task

MODULES = {
    "loop": "loop",
    "paste": "paste",
    "fill": "fill",
    "background": "background",
    "plain": "plain",
    "monai": "monai_unet",
}
"""Name of a method and its module here, whose ``run`` is the method."""


def _run(name: str, task: Task) -> LabelArray:
    """The module is imported only now: some need packages that not everyone has."""
    try:
        module = import_module(f"{__name__}.{MODULES[name]}")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The method {name} needs a package that is not installed",
            received=f"no {error.name}",
            remedy="Install the extra: pip install -c constraints.txt -e 'trainer[bench]'",
        ) from error
    labels: LabelArray = module.run(task)
    return labels


METHODS: dict[str, Method] = {name: partial(_run, name) for name in MODULES}
