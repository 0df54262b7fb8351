"""The Python that computes: where it is, what it needs, and what its failures mean.

PyTorch is never imported here: Slicer would hold its libraries, so that it could not be replaced any more.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from unetseg import messages
from unetseg.errors import DeviceError, InternalError, UnetsegError

from .job import LaunchCommand, WorkerError

TORCH_REQUIREMENT = ">=2.2"
LONGEST_TORCH_PATH = 168
"""Characters of the longest file name in the Windows package of PyTorch 2.13, which Windows must fit into 259."""
_NEEDED = ("torch", "safetensors", "SimpleITK", "numpy")

Ask = Callable[[str, tuple[tuple[str, str], ...], str], str]


def trainerFolder() -> Path:
    """The folder that holds the package ``unetseg``, in the source tree as in an installed extension."""
    return Path(messages.__file__).resolve().parents[1]


def launchCommand(pythonPath: str) -> LaunchCommand:
    """How to start a worker with an interpreter; empty: Slicer's own."""
    if pythonPath:
        environment = _foreignEnvironment()
        paths = [str(trainerFolder())]
    else:
        environment = dict(os.environ)
        paths = [str(trainerFolder()), *filter(None, [environment.get("PYTHONPATH")])]
    environment.update(PYTHONPATH=os.pathsep.join(paths), PYTHONUNBUFFERED="1", PYTHONUTF8="1")
    program = pythonPath or shutil.which("PythonSlicer") or sys.executable
    return LaunchCommand(program, ("-u", "-m", "unetseg", "worker"), environment)


def torchInstalled() -> bool:
    """Whether Slicer's own Python has PyTorch and what else the computation needs; nothing is imported."""
    return all(_installed(package) for package in _NEEDED)


def installPyTorch(ask: Ask) -> None:
    """Install what Slicer's own Python lacks for the computation, after asking.

    PyTorch comes through Slicer's PyTorch extension, which chooses the package that fits the graphics card, and
    which other modules share.

    Raises:
        DeviceError: the user declined, the extension is missing, or the installation did not succeed.
    """
    _checkPathLength()
    if not _installed("torch"):
        _installTorch(ask)
    missing = [package for package in _NEEDED if not _installed(package)]
    if "torch" in missing:
        raise DeviceError(
            _("PyTorch was not installed"),
            remedy=_("Try again, or choose another Python that has PyTorch under Settings"),
        )
    if "safetensors" in missing:
        _pipInstall()


def explainFailure(log: str, error: UnetsegError) -> UnetsegError:
    """What the end of a worker's log says about why it ended; the error itself where it says nothing."""
    if error.code not in (InternalError.code, DeviceError.code, WorkerError.code):
        return error
    text = f"{log}\n{error}"
    missing = re.search(r"No module named '(\w+)|package (\w+) must be installed", text)
    if missing:
        return _missingPackage(next(filter(None, missing.groups())))
    for pattern, rule, remedy in _explanations():
        if re.search(pattern, text):
            return DeviceError(rule, remedy=remedy)
    return error


def _explanations() -> tuple[tuple[str, str, str], ...]:
    other = _("Choose another Python under Settings")
    return (
        (
            r"DLL load failed",
            _("PyTorch is installed, but Windows cannot load it"),
            _("Install PyTorch anew under Settings"),
        ),
        (
            r"SyntaxError|requires a different Python",
            _("The chosen Python is too old: it must be 3.10 or newer"),
            other,
        ),
        (r"[Ee]xec format error|bad CPU type", _("The chosen Python is made for another kind of computer"), other),
        (
            r"MemoryError|[Oo]ut of memory|exit code 137|\bKilled\b",
            _("The computer has not enough memory for this"),
            _("Close other programs, or restrict the work with a region of interest"),
        ),
    )


def _missingPackage(package: str) -> DeviceError:
    if package == "unetseg":
        return DeviceError(
            _("A part of UNetSegment is missing"), remedy=_("Install the extension again in the Extensions Manager")
        )
    return DeviceError(
        _("The Python that computes lacks {package}").format(package="PyTorch" if package == "torch" else package),
        remedy=_("Press Install PyTorch under Settings, or choose another Python there"),
    )


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _installTorch(ask: Ask) -> None:
    try:
        utilities: Any = importlib.import_module("PyTorchUtils")
    except ModuleNotFoundError:
        _installExtension(ask)
        return
    question = _("PyTorch will be downloaded and installed in Slicer; this may take some minutes. Go on?")
    if not _agreed(ask, question):
        raise DeviceError(
            _("PyTorch is needed for the computation and was not installed"),
            remedy=_("Choose another Python that has PyTorch under Settings"),
        )
    with _notImporting("torch"):
        utilities.PyTorchUtilsLogic().installTorch(torchVersionRequirement=TORCH_REQUIREMENT)


def _installExtension(ask: Ask) -> None:
    manager = slicer.app.extensionsManagerModel() if hasattr(slicer.app, "extensionsManagerModel") else None
    question = _("The extension PyTorch is needed. Install it now? Slicer has to be started again afterwards.")
    if (
        manager is not None
        and ask(question, (("install", _("Install")), ("cancel", _("Cancel"))), "cancel") == "install"
    ):
        manager.installExtensionFromServer("PyTorch")
        raise DeviceError(
            _("The extension PyTorch takes effect when Slicer is started again"),
            remedy=_("Save your scene, start Slicer again and press Install PyTorch"),
        )
    raise DeviceError(
        _("PyTorch is needed for the computation and was not installed"),
        remedy=_("Install the extension PyTorch in the Extensions Manager, or choose another Python under Settings"),
    )


def _agreed(ask: Ask, question: str) -> bool:
    return ask(question, (("install", _("Install")), ("cancel", _("Cancel"))), "cancel") == "install"


@contextmanager
def _notImporting(module: str) -> Iterator[None]:
    """The extension imports PyTorch once it is installed; here that import fails and nothing else does."""
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    finally:
        del sys.modules[module]


def _pipInstall() -> None:
    requirements = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
    if hasattr(slicer, "packaging"):
        slicer.packaging.pip_ensure(slicer.packaging.load_requirements(str(requirements)), requester="UNetSegment")
    else:
        slicer.util.pip_install(f'-r "{requirements}"')


def _foreignEnvironment() -> dict[str, str]:
    """What another program would have been given: without Slicer's own libraries and Python."""
    environment = slicer.util.startupEnvironment() if hasattr(slicer.app, "startupEnvironment") else dict(os.environ)
    return {name: value for name, value in environment.items() if name not in ("PYTHONHOME", "PYTHONPATH")}


def _checkPathLength() -> None:
    folder = sysconfig.get_paths()["purelib"]
    if sys.platform == "win32" and len(folder) + LONGEST_TORCH_PATH > 259:
        raise DeviceError(
            _("Windows allows no file names as long as PyTorch would need here"),
            received=folder,
            remedy=_("Install Slicer in a folder with a short name, for example C:\\Slicer"),
        )
