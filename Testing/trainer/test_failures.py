from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
import torch

from unetseg.errors import CancelledError, ImageError, SettingsError
from unetseg.failures import explain


@pytest.mark.parametrize("error", [SettingsError("x"), ImageError("y"), CancelledError()])
def test_our_own_errors_are_what_they_are(error: Exception) -> None:
    assert explain(error) is error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/d/m.safetensors"), "file", "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/d"), "file", "/d: Permission denied. Choose a folder"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a b"), "file", "a b: No such file"),
        (OSError("unclear"), "file", "Received: unclear."),
        (MemoryError(), "memory", "more memory than there is"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried\nx"), "memory", "Received: CUDA out of memory. Tried."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), "memory", "DefaultCPUAllocator"),
        (RuntimeError("shape mismatch"), "internal", "RuntimeError: shape mismatch"),
        (KeyError("x"), "internal", "KeyError: 'x'"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "device", "pip install torch"),
        (ModuleNotFoundError("No module named 'ours'", name="ours"), "internal", "No module named 'ours'"),
    ],
)
def test_other_exceptions_are_explained(error: Exception, code: str, text: str) -> None:
    explained = explain(error)
    assert explained.code == code
    assert text in str(explained)


def test_a_missing_package_names_the_python_that_lacks_it() -> None:
    assert sys.executable in explain(ModuleNotFoundError(name="torch")).received


def test_a_real_file_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        tmp_path.open()
    assert str(tmp_path) in explain(caught.value).received
