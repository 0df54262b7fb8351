from __future__ import annotations

import pickle  # noqa: TID251 - to prove that it is refused
from pathlib import Path

import numpy as np
import pytest

from unetseg.array_file import load_array, save_array
from unetseg.errors import FileAccessError, ImageError
from unetseg.volume import Geometry

GEOMETRY = Geometry(
    (2, 3, 4), (0.1, 1 / 3, 5.0), (1e6, -2.0, 1e-3), ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (1.0, 0.0, 0.0))
)
PARTS = {"spacing_mm": np.ones(3), "origin_mm": np.zeros(3), "direction": np.eye(3)}


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("leading", [(), (2,)])
def test_array_and_geometry_come_back_exactly(tmp_path: Path, dtype: type, leading: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, (*leading, 2, 3, 4)).astype(dtype)
    save_array(tmp_path / "a.npz", array, GEOMETRY)
    loaded, geometry = load_array(tmp_path / "a.npz")
    assert loaded.dtype == dtype
    assert np.array_equal(loaded, array)
    assert geometry == GEOMETRY


def test_the_file_has_the_agreed_keys(tmp_path: Path) -> None:
    save_array(tmp_path / "a.npz", np.zeros((2, 3, 4)), GEOMETRY)
    with np.load(tmp_path / "a.npz") as file:
        assert set(file) == {"array", "spacing_mm", "origin_mm", "direction"}


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"grid \(2, 3, 4\)\. Received: shape \(4, 3, 2\)"):
        save_array(tmp_path / "a.npz", np.zeros((4, 3, 2)), GEOMETRY)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match=r"writable.*no_folder"):
        save_array(tmp_path / "no_folder" / "a.npz", np.zeros((2, 3, 4)), GEOMETRY)


def canary(path: str) -> None:
    Path(path).touch()


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return canary, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    hostile = np.array([[[Hostile(tmp_path / "canary")]]], dtype=object)
    np.savez(tmp_path / "hostile.npz", array=hostile, **PARTS)
    (tmp_path / "renamed.npz").write_bytes(pickle.dumps(Hostile(tmp_path / "canary")))
    for name in ("hostile.npz", "renamed.npz"):
        with pytest.raises(ImageError, match=name):
            load_array(tmp_path / name)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"array": np.zeros((2, 3))},
        {"array": np.zeros((2, 3, 4)), "direction": np.eye(4)},
        {"array": np.zeros((2, 3, 4)), "spacing_mm": np.array(["a", "b", "c"])},
        {"array": np.zeros((2, 3, 4)), "spacing_mm": np.array([1.0, 0.0, 1.0])},
        {"array": np.zeros((2, 3, 4)), "origin_mm": np.array([1.0, np.nan, 1.0])},
        {"array": np.zeros((2, 0, 4))},
    ],
)
def test_other_contents_are_refused(tmp_path: Path, parts: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **{**PARTS, **parts})
    with pytest.raises(ImageError):
        load_array(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"text"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ImageError, match="npz"):
        load_array(tmp_path / "a.npz")
    with pytest.raises(ImageError, match="missing"):
        load_array(tmp_path / "missing.npz")


def test_a_plain_npy_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    with pytest.raises(ImageError, match="with its geometry"):
        load_array(tmp_path / "a.npy")
