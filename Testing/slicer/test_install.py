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
from UNetSegmentLib.job import WorkerError
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
    }


def test_the_command_finds_the_trainer_from_any_folder(tmp_path):
    command = install.launchCommand(sys.executable)
    code = "import unetseg.messages; print(unetseg.messages.PROTOCOL_VERSION)"
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
    assert pytorchExtension == [{"torchVersionRequirement": ">=2.2"}]
    assert "torch" not in sys.modules


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
    with pytest.raises(ModuleNotFoundError, match="light_the_torch"):
        install.installPyTorch(answering("install"))
    assert "torch" not in sys.modules


def test_without_the_extension_it_is_offered_and_takes_effect_after_a_restart(packages, monkeypatch):
    installed = []
    manager = types.SimpleNamespace(installExtensionFromServer=installed.append)
    monkeypatch.setattr(slicer, "app", types.SimpleNamespace(extensionsManagerModel=lambda: manager))
    packages.remove("torch")
    with pytest.raises(DeviceError, match="started again"):
        install.installPyTorch(answering("install"))
    assert installed == ["PyTorch"]
    with pytest.raises(DeviceError, match="was not installed"):
        install.installPyTorch(answering("cancel"))
    assert installed == ["PyTorch"]


@pytest.mark.parametrize("modern", [True, False])
def test_the_small_packages_come_through_what_this_slicer_has(packages, monkeypatch, modern):
    calls = []
    if modern:
        packaging = types.SimpleNamespace(
            load_requirements=lambda path: Path(path).read_text().splitlines()[-1],
            pip_ensure=lambda requirements, requester: calls.append((requirements, requester)),
        )
        monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
    else:
        monkeypatch.delattr(slicer, "packaging", raising=False)
        monkeypatch.setattr(slicer.util, "pip_install", lambda text: calls.append((text.split("/")[-1], None)))
    packages.remove("safetensors")
    install.installPyTorch(answering("install"))
    assert calls == [("safetensors>=0.4", "UNetSegment") if modern else ('requirements.txt"', None)]


def test_a_path_too_long_for_windows_is_refused_before_the_download(packages, pytorchExtension, monkeypatch):
    packages.remove("torch")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(install.sysconfig, "get_paths", lambda: {"purelib": "C:\\" + "x" * 90})
    with pytest.raises(DeviceError, match="file names as long"):
        install.installPyTorch(answering("install"))
    assert pytorchExtension == []


@pytest.mark.parametrize(
    ("log", "rule"),
    [
        ("Traceback …\nModuleNotFoundError: No module named 'torch'", "lacks PyTorch"),
        ("ModuleNotFoundError: No module named 'safetensors'", "lacks safetensors"),
        ("/opt/python: No module named 'unetseg'", "part of UNetSegment"),
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
    internal = InternalError("The program met a fault of its own")
    assert install.explainFailure("KeyError: 3", internal) is internal


def test_an_error_that_explains_itself_is_never_overruled_by_a_log():
    error = ImageError("The volume must have voxels")
    assert install.explainFailure("No module named 'torch'", error) is error
