import importlib.metadata
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import slicer

from unetseg.errors import DeviceError, ImageError, InternalError
from unetseg.messages import Failed
from UNetSegmentLib import install
from UNetSegmentLib.child_process import WorkerError
from UNetSegmentLib.job_runner import WorkerFailedError

TRAINER = Path(__file__).parents[2] / "trainer"
LOST = WorkerError("The computation ended", received="exit code 1", remedy="Try again")


@pytest.fixture
def packages(monkeypatch):
    """The packages that the Python of the tests pretends to have."""
    present = set(install._NEEDED)

    def version(name):
        if name not in present:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    return present


@pytest.fixture
def pytorchExtension(monkeypatch, packages):
    """Slicer's PyTorch extension: installs, and imports what it has installed."""
    calls = []

    class PyTorchUtilsLogic:
        def installTorch(self, **options):
            calls.append(options)
            packages.add("torch")
            import torch  # noqa: F401

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return calls


def answering(answer):
    return lambda text, choices, default: answer


def test_slicers_own_python_gets_the_trainer_in_front_of_its_own_paths(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/slicer/paths")
    monkeypatch.setattr(install.shutil, "which", lambda name: f"/slicer/bin/{name}")
    command = install.launchCommand("")
    assert command.program == "/slicer/bin/PythonSlicer"
    assert command.arguments == ("-u", "-m", "unetseg", "worker")
    assert command.environment["PYTHONPATH"] == f"{TRAINER}{os.pathsep}/slicer/paths"


def test_without_a_launcher_the_running_python_computes(monkeypatch):
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    assert install.launchCommand("").program == sys.executable


def test_another_python_gets_none_of_slicers_environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/slicer/paths")
    monkeypatch.setenv("PYTHONHOME", "/slicer/python")
    monkeypatch.setattr(slicer, "app", types.SimpleNamespace(startupEnvironment=None))
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: {"PATH": "/bin", "PYTHONHOME": "/slicer/python"})
    command = install.launchCommand("/opt/python")
    assert command.program == "/opt/python"
    assert command.environment == {
        "PATH": "/bin",
        "PYTHONPATH": str(TRAINER),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "PYTHONSAFEPATH": "1",
    }


def test_the_command_finds_the_trainer_from_any_folder(tmp_path):
    command = install.launchCommand(sys.executable)
    code = "from unetseg.protocol import PROTOCOL_VERSION; print(PROTOCOL_VERSION)"
    done = subprocess.run(
        [command.program, "-c", code], env=command.environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout == "1\n"


def test_nothing_is_missing_only_when_every_package_is_there(packages):
    assert install.torchInstalled()
    packages.remove("safetensors")
    assert not install.torchInstalled()


def test_pytorch_comes_through_its_extension_and_is_not_imported(packages, pytorchExtension):
    packages.remove("torch")
    install.installPyTorch(answering("install"))
    assert pytorchExtension == [{"torchVersionRequirement": install.TORCH_REQUIREMENT}]
    assert "torch" not in sys.modules


def test_the_versions_asked_for_are_those_of_the_trainer():
    needed = (TRAINER / "pyproject.toml").read_text()
    assert f'"torch{install.TORCH_REQUIREMENT}"' in needed
    *_comments, safetensors = (TRAINER.parent / "UNetSegment/Resources/requirements.txt").read_text().splitlines()
    assert f'"{safetensors}"' in needed


def test_declining_installs_nothing_and_names_the_way_out(packages, pytorchExtension):
    packages.remove("torch")
    with pytest.raises(DeviceError) as caught:
        install.installPyTorch(answering("cancel"))
    assert pytorchExtension == []
    assert "another Python" in caught.value.remedy


def test_an_installation_that_leaves_no_pytorch_is_a_failure(packages, pytorchExtension, monkeypatch):
    packages.remove("torch")
    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", lambda self, **options: None)
    with pytest.raises(DeviceError, match="was not installed"):
        install.installPyTorch(answering("install"))


def test_a_missing_module_inside_the_extension_is_not_taken_for_success(packages, pytorchExtension, monkeypatch):
    def broken(self, **options):
        raise ModuleNotFoundError("No module named 'light_the_torch'", name="light_the_torch")

    packages.remove("torch")
    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", broken)
    with pytest.raises(DeviceError, match="installation failed") as caught:
        install.installPyTorch(answering("install"))
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert "torch" not in sys.modules


def test_a_failing_download_is_told_in_words_with_a_way_out(packages, pytorchExtension, monkeypatch):
    def broken(self, **options):
        raise subprocess.CalledProcessError(1, ["pip"])

    packages.remove("torch")
    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", broken)
    with pytest.raises(DeviceError, match="not installed completely") as caught:
        install.installPyTorch(answering("install"))
    assert "Settings" in caught.value.remedy


class ExtensionsManager:
    """As ``qSlicerExtensionsManagerModel``: asks on its own while ``interactive``, and restarts Slicer if told to."""

    def __init__(self, succeeds=True):
        self.interactive, self.installed, self._succeeds = True, [], succeeds

    def isExtensionInstalled(self, name):
        return name in self.installed

    def installExtensionFromServer(self, name, restart=True):
        assert not self.interactive
        assert not restart
        if self._succeeds:
            self.installed.append(name)
        return self._succeeds


@pytest.fixture
def managed(packages, monkeypatch):
    """Slicer without the extension PyTorch, with this manager."""

    def manage(manager):
        monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
        monkeypatch.setattr(slicer, "app", types.SimpleNamespace(extensionsManagerModel=lambda: manager))
        packages.remove("torch")
        return manager

    return manage


def test_without_the_extension_it_is_offered_and_takes_effect_after_a_restart(managed):
    manager = managed(ExtensionsManager())
    with pytest.raises(DeviceError, match="declined"):
        install.installPyTorch(answering("cancel"))
    assert manager.installed == []
    with pytest.raises(DeviceError, match="started again"):
        install.installPyTorch(answering("install"))
    assert (manager.installed, manager.interactive) == (["PyTorch"], True)
    with pytest.raises(DeviceError, match="started again"):
        install.installPyTorch(answering("cancel"))
    assert manager.installed == ["PyTorch"]


def test_an_extension_that_cannot_be_installed_is_not_taken_for_installed(managed):
    manager = managed(ExtensionsManager(succeeds=False))
    with pytest.raises(DeviceError, match="could not be installed"):
        install.installPyTorch(answering("install"))
    assert manager.interactive


@pytest.mark.parametrize("application", [types.SimpleNamespace(), None])
def test_a_slicer_that_installs_no_extensions_names_the_way_out(managed, monkeypatch, application):
    managed(None)
    if application is not None:
        monkeypatch.setattr(slicer, "app", application)
    with pytest.raises(DeviceError, match="cannot install extensions") as caught:
        install.installPyTorch(answering("install"))
    assert "another Python" in caught.value.remedy


@pytest.mark.parametrize("modern", [True, False])
def test_the_small_packages_come_through_what_this_slicer_has(packages, monkeypatch, modern):
    read = []

    def pip(requirements, **options):
        read.append((requirements, options))
        packages.add("safetensors")

    packaging = types.SimpleNamespace(load_requirements=lambda path: Path(path).read_text(), pip_ensure=pip)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging if modern else None)
    monkeypatch.setattr(slicer.util, "pip_install", pip, raising=False)
    packages.remove("safetensors")
    install.installPyTorch(answering("install"))
    ((requirements, options),) = read
    if modern:
        assert requirements.endswith("safetensors>=0.4\n")
        assert options == {"requester": "UNetSegment", "prompt_install": False}
    else:
        assert Path(requirements[1]).read_text().endswith("safetensors>=0.4\n")
        assert (requirements[0], options) == ("-r", {})


def test_the_small_packages_are_asked_for_and_a_skipped_installation_is_a_failure(packages, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", lambda requirements: None, raising=False)
    packages.remove("safetensors")
    with pytest.raises(DeviceError, match="declined"):
        install.installPyTorch(answering("cancel"))
    with pytest.raises(DeviceError, match="Received: safetensors"):
        install.installPyTorch(answering("install"))


def test_where_nothing_is_missing_nobody_is_asked(packages):
    install.installPyTorch(None)


@pytest.mark.parametrize(
    ("system", "length", "versions"),
    [("win32", 92, ">=2.2,<3,!=2.13.*"), ("win32", 91, ">=2.2,<3"), ("linux", 92, ">=2.2,<3")],
)
def test_a_version_whose_names_windows_may_refuse_is_left_out(
    packages, pytorchExtension, monkeypatch, system, length, versions
):
    packages.remove("torch")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(install.sysconfig, "get_paths", lambda: {"purelib": "x" * length})
    install.installPyTorch(answering("install"))
    assert pytorchExtension == [{"torchVersionRequirement": versions}]


@pytest.mark.parametrize(
    ("log", "rule"),
    [
        ("Traceback …\nModuleNotFoundError: No module named 'torch'", "lacks PyTorch"),
        ("ModuleNotFoundError: No module named 'safetensors'", "lacks safetensors"),
        ("/opt/python: No module named unetseg", "part of UNetSegment"),
        ("ModuleNotFoundError: No module named 'SimpleITK'", "lacks SimpleITK"),
        ("TypeError: unsupported operand type(s) for |: 'type' and 'type'", "too old"),
        ("RuntimeError: Numpy is not available", "do not fit"),
        ("job.sh: line 3\nKilled", "not enough memory"),
        ('  File "x.py"\n    match a:\nSyntaxError: invalid syntax', "too old"),
        ("ImportError: DLL load failed while importing _C", "Windows cannot load"),
        ("cannot execute: Exec format error", "another kind of computer"),
        ("MemoryError", "not enough memory"),
    ],
)
def test_the_log_of_a_lost_worker_is_put_into_words_with_a_way_out(log, rule):
    explained = install.explainFailure(log, LOST)
    assert rule in explained.rule
    assert explained.remedy


def test_a_workers_own_word_about_a_missing_package_is_explained_too():
    rule = "The package torch must be installed in the Python that computes"
    error = WorkerFailedError(Failed("r1", DeviceError.code, rule, "/opt/python", "pip install torch"))
    assert "lacks PyTorch" in install.explainFailure("", error).rule


def test_what_says_nothing_about_the_cause_is_left_as_it_is():
    assert install.explainFailure("some lines", LOST) is LOST
    assert install.explainFailure("W0801 torch: No module named 'triton'", LOST) is LOST
    internal = InternalError("The program met a fault of its own")
    assert install.explainFailure("KeyError: 3", internal) is internal


def test_a_fault_overcome_long_before_the_end_is_not_the_cause():
    log = "MemoryError\n" + "epoch 1\n" * install.TAIL_CHARACTERS
    assert install.explainFailure(log, LOST) is LOST


def test_an_error_that_explains_itself_is_never_overruled_by_a_log():
    error = ImageError("The volume must have voxels")
    assert install.explainFailure("No module named 'torch'", error) is error
