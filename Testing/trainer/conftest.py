"""What every test of the trainer may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read when torch is first imported, here and in the processes that tests start: small tensors gain nothing
# from threads, and sums in a fixed order keep the bitwise tests independent of the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real images (see CONTRIBUTING.md); tests that need it are skipped where it is absent."""
    folder = (REPOSITORY / os.environ.get("UNETSEG_DATA", "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set UNETSEG_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else is asked for, 32 bit: also on a machine on which 16 bit is faster, values stay the same."""
    import torch

    monkeypatch.setattr("unetseg.inference.precision._fastest", lambda *where: torch.float32)
    monkeypatch.setattr("unetseg.training.precision._fastest_on_cpu", lambda *where: torch.float32)
