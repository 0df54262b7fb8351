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

from .child_process import LaunchCommand, WorkerError

TORCH_REQUIREMENT = ">=2.2,<3"
LONGEST_PATH_IN_TORCH_2_13 = 168
"""Characters of the longest file name in its Windows package; Windows allows 259 with the folder."""
TAIL_CHARACTERS = 4000
"""Of a log, what tells about its end; before that may stand a fault that was overcome."""
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
    # A file in the current folder, or beside a script, is not taken for a package of the same name.
    environment["PYTHONSAFEPATH"] = "1"
    program = pythonPath or shutil.which("PythonSlicer") or sys.executable
    return LaunchCommand(program, ("-u", "-m", "unetseg", "worker"), environment)


def torchInstalled() -> bool:
    """Whether Slicer's own Python has PyTorch and what else the computation needs; nothing is imported."""
    return all(_installed(package) for package in _NEEDED)


def installPyTorch(ask: Ask) -> None:
    """Install what Slicer's own Python lacks for the computation, after asking once.

    PyTorch comes through Slicer's PyTorch extension, which chooses the package that fits the graphics card, and
    which other modules share.

    Raises:
        DeviceError: the user declined, Slicer has to be started again first, or the installation did not succeed.
    """
    if not _installed("torch"):
        _installTorch(ask)
    elif not _installed("safetensors"):
        _agree(ask, _("The package safetensors will be downloaded and installed in Slicer. Go on?"))
    if not _installed("safetensors"):
        _attempt(_pipInstall)
    importlib.invalidate_caches()
    missing = [package for package in _NEEDED if not _installed(package)]
    if missing:
        raise _notInstalled(", ".join(missing))


def explainFailure(log: str, error: UnetsegError) -> UnetsegError:
    """What the end of a worker's log says about why it ended; the error itself where it says nothing."""
    if error.code not in (InternalError.code, DeviceError.code, WorkerError.code):
        return error
    text = f"{log[-TAIL_CHARACTERS:]}\n{error}"
    packages = "|".join((*_NEEDED, "unetseg"))
    missing = re.search(rf"No module named '?({packages})\b|package ({packages}) must be installed", text)
    if missing:
        return _missingPackage(next(filter(None, missing.groups())))
    for pattern, rule, remedy in _explanations():
        if re.search(pattern, text, re.MULTILINE):
            return DeviceError(rule, remedy=remedy)
    return error


def _explanations() -> tuple[tuple[str, str, str], ...]:
    other = _("Choose another Python under Settings")
    return (
        (
            r"DLL load failed|\[WinError 126\]",
            _("PyTorch is installed, but Windows cannot load it"),
            _("Install the Microsoft Visual C++ Redistributable, then PyTorch anew"),
        ),
        (
            r"Numpy is not available",
            _("PyTorch and numpy in the chosen Python do not fit together"),
            _("Choose another Python under Settings; on a Mac, one made for Apple processors"),
        ),
        (
            r"^SyntaxError: |^TypeError: unsupported operand type\(s\) for \|: |'type' object is not subscriptable",
            _("The chosen Python is too old: it must be 3.10 or newer"),
            other,
        ),
        (
            r"[Ee]xec format error|[Bb]ad CPU type|valid Win32",
            _("The chosen Python is made for another kind of computer"),
            other,
        ),
        (
            r"^MemoryError\b|^Killed\b|[Oo]ut of memory|std::bad_alloc|\[WinError 1455\]",
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
        raise DeviceError(
            _("The extension PyTorch takes effect when Slicer is started again"),
            remedy=_("Save your scene, start Slicer again and press Install PyTorch"),
        ) from None
    _agree(ask, _("PyTorch will be downloaded and installed in Slicer; this may take some minutes. Go on?"))

    def install() -> None:
        with _notImporting("torch"):
            utilities.PyTorchUtilsLogic().installTorch(torchVersionRequirement=_torchRequirement())

    _attempt(install)


def _installExtension(ask: Ask) -> None:
    manager = slicer.app.extensionsManagerModel() if hasattr(slicer.app, "extensionsManagerModel") else None
    if manager is None:
        raise _notInstalled(_("this Slicer lacks the extension PyTorch and cannot install extensions"))
    if manager.isExtensionInstalled("PyTorch"):
        return
    _agree(ask, _("The extension PyTorch is needed. Install it now? Slicer has to be started again afterwards."))
    # The user has agreed to it here and is told here how it went; when to restart is for the user to choose.
    interactive, manager.interactive = manager.interactive, False
    try:
        if not manager.installExtensionFromServer("PyTorch", False):
            raise _notInstalled(_("the extension PyTorch could not be installed"))
    finally:
        manager.interactive = interactive


def _agree(ask: Ask, question: str) -> None:
    if ask(question, (("install", _("Install")), ("cancel", _("Cancel"))), "cancel") != "install":
        raise _notInstalled(_("you declined"))


def _attempt(install: Callable[[], Any]) -> None:
    """Whatever an installer raises means the same to the user; the cause stays in the report."""
    try:
        install()
    except Exception as error:  # of pip, the network or another extension
        raise _notInstalled(_("the download or the installation failed")) from error


def _notInstalled(reason: str) -> DeviceError:
    return DeviceError(
        _("PyTorch is needed for the computation and was not installed completely"),
        received=reason,
        remedy=_("Try again, or choose another Python that has PyTorch under Settings"),
    )


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
    try:
        packaging = importlib.import_module("slicer.packaging")
    except ModuleNotFoundError:  # Slicer 5.10
        slicer.util.pip_install(["-r", str(requirements)])
    else:
        needed = packaging.load_requirements(str(requirements))
        packaging.pip_ensure(needed, prompt_install=False, requester="UNetSegment")


def _foreignEnvironment() -> dict[str, str]:
    """What another program would have been given: without Slicer's own libraries and Python."""
    environment = slicer.util.startupEnvironment() if hasattr(slicer.app, "startupEnvironment") else dict(os.environ)
    return {name: value for name, value in environment.items() if name not in ("PYTHONHOME", "PYTHONPATH")}


def _torchRequirement() -> str:
    """What fits into the paths of this computer: without a version whose names Windows may refuse."""
    tooLong = len(sysconfig.get_paths()["purelib"]) + LONGEST_PATH_IN_TORCH_2_13 > 259
    return f"{TORCH_REQUIREMENT},!=2.13.*" if sys.platform == "win32" and tooLong else TORCH_REQUIREMENT
