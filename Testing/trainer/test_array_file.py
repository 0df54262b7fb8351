from __future__ import annotations

import contextlib
import errno
import os
import pickle  # noqa: TID251 - to prove that it is refused
import zipfile
from pathlib import Path

import numpy as np
import pytest

from unetseg import array_file
from unetseg.array_file import exhaust, load_array, load_array_in_steps, save_array, save_array_in_steps
from unetseg.errors import FileAccessError, ImageError
from unetseg.image_io.volumes import read_volume
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


def numbers(shape: tuple[int, ...], dtype: str = "<i2") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "|b1", "<c16"])
def test_numpy_itself_reads_the_file(tmp_path: Path, dtype: str) -> None:
    array = numbers((2, 3, 4), dtype)
    save_array(tmp_path / "a.npz", array, GEOMETRY)
    with np.load(tmp_path / "a.npz") as file:
        assert file["array"].dtype == np.dtype(dtype)
        assert np.array_equal(file["array"], array)
        assert np.array_equal(file["direction"], GEOMETRY.direction)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_has_written_is_read(tmp_path: Path, save: object, order: str) -> None:
    array = np.asarray(numbers((2, 3, 4)), order=order)
    save(tmp_path / "a.npz", array=array, **PARTS)
    assert np.array_equal(load_array(tmp_path / "a.npz")[0], array)


@pytest.mark.parametrize("view", [np.s_[:], np.s_[::-1, :, ::-2], np.s_[:, 1:3]])
def test_a_view_of_any_strides_is_written_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: tuple[slice, ...]
) -> None:
    array = numbers((5, 4, 6)).transpose(2, 0, 1)[view]
    geometry = Geometry(array.shape)
    monkeypatch.setattr(array_file, "STEP_BYTES", 64)
    assert len(list(save_array_in_steps(tmp_path / "a.npz", array, geometry))) >= array.nbytes / 64
    assert np.array_equal(load_array(tmp_path / "a.npz")[0], array)


def test_no_step_moves_more_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = numbers((2, 3, 4))
    monkeypatch.setattr(array_file, "STEP_BYTES", 20)
    assert len(list(save_array_in_steps(tmp_path / "a.npz", array, GEOMETRY))) == 3
    assert len(list(load_array_in_steps(tmp_path / "a.npz"))) == 3
    loaded, geometry = exhaust(load_array_in_steps(tmp_path / "a.npz"))
    assert np.array_equal(loaded, array)
    assert geometry == GEOMETRY


def test_the_old_file_stays_until_the_last_step(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_array(path, np.zeros((2, 3, 4)), GEOMETRY)
    steps = save_array_in_steps(path, np.ones((2, 3, 4)), GEOMETRY)
    next(steps)
    assert not load_array(path)[0].any()
    exhaust(steps)
    assert load_array(path)[0].all()


def test_a_writer_that_is_closed_early_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_array(path, np.zeros((2, 3, 4)), GEOMETRY)
    steps = save_array_in_steps(path, np.ones((2, 3, 4)), GEOMETRY)
    next(steps)
    assert len(os.listdir(tmp_path)) == 2
    steps.close()
    assert os.listdir(tmp_path) == ["a.npz"]
    assert not load_array(path)[0].any()


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    save_array(path, np.zeros((2, 3, 4)), GEOMETRY)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileAccessError, match="No space left"):
        save_array(path, np.ones((2, 3, 4)), GEOMETRY)
    assert os.listdir(tmp_path) == ["a.npz"]
    assert not load_array(path)[0].any()


def test_every_step_but_the_last_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_file, "STEP_BYTES", 16)
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor)))
    steps = save_array_in_steps(tmp_path / "a.npz", numbers((2, 3, 4)), GEOMETRY)
    assert [len(synced) for _ in steps] == [0, 1, 2]


def test_an_array_beyond_4_gb_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = numbers((20, 30, 40))
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    save_array(tmp_path / "a.npz", array, Geometry(array.shape))
    assert np.array_equal(load_array(tmp_path / "a.npz")[0], array)


def test_an_image_of_integers_is_read_as_float32(tmp_path: Path) -> None:
    save_array(tmp_path / "a.npz", numbers((2, 3, 4)) - 1024, GEOMETRY)
    volume = read_volume(tmp_path / "a.npz")
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array[0], np.arange(24).reshape(2, 3, 4) - 1024.0)


@pytest.mark.parametrize("dtype", [object, "U3", "M8[s]"])
def test_only_numbers_are_written(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(ImageError, match="numbers"):
        save_array(tmp_path / "a.npz", np.zeros((2, 3, 4), dtype), GEOMETRY)
    assert not os.listdir(tmp_path)


def test_a_file_damaged_anywhere_is_refused_or_as_it_was(tmp_path: Path) -> None:
    array = numbers((2, 3, 4))
    save_array(tmp_path / "a.npz", array, GEOMETRY)
    np.savez_compressed(tmp_path / "b.npz", array=array, **PARTS)
    for name in ("a.npz", "b.npz"):
        content = (tmp_path / name).read_bytes()
        for position in range(0, len(content), 3):
            flipped = bytearray(content)
            flipped[position] ^= 0x41
            for damaged in (bytes(flipped), content[:position]):
                (tmp_path / "damaged.npz").write_bytes(damaged)
                with contextlib.suppress(ImageError):
                    assert np.array_equal(load_array(tmp_path / "damaged.npz")[0], array)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"(2, 3, 4), }          ", b"(9999999999999, 3, 4)}"),
        (b"(2, 3, 4)", b"(1, 3, 4)"),
        (b"{'descr'", b"(((((((("),
        (b"'<i2'", b"'|O' "),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, text: bytes, said: bytes) -> None:
    save_array(tmp_path / "a.npz", numbers((2, 3, 4)), GEOMETRY)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, zipfile.ZipFile(tmp_path / "b.npz", "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            changed.writestr(name, content.replace(text, said, 1) if name == "array.npy" else content)
    with pytest.raises(ImageError, match="with its geometry"):
        load_array(tmp_path / "b.npz")


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
        {"array": np.full((2, 3, 4), "text")},
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
