from __future__ import annotations

import json
import os
import pickle  # noqa: TID251
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from unetseg.errors import ModelFileError
from unetseg.tensor_file import file_sha256, read_header, read_tensors, write_tensors

TENSORS = {
    "weight": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "steps": torch.tensor(7),
    "state": torch.arange(5, dtype=torch.uint8),
    "none": torch.zeros(0, 3),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "größe #1.safetensors"
    write_tensors(path, TENSORS, "text – ü")
    return path


def container(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(start: int, stop: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(stop - start) // 4], "data_offsets": [start, stop]}


META = {"__metadata__": {"unetseg": "{}", "sha256": "0"}}


def test_what_was_written_comes_back(path: Path) -> None:
    tensors, text = read_tensors(path)
    assert text == "text – ü"
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert torch.equal(tensors[name], tensor)


def test_tensors_that_are_views_or_need_gradients_are_written_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(6.0, requires_grad=True).reshape(2, 3)
    write_tensors(tmp_path / "x.safetensors", {"turned": base.T}, "")
    assert read_tensors(tmp_path / "x.safetensors")[0]["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_tensors_read_are_not_tied_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"large": torch.ones(1_000_000)}, "")
    tensors, _ = read_tensors(path)
    with path.open("r+b") as file:
        file.seek(-1_000_000, os.SEEK_END)
        file.write(bytes(1_000_000))
    assert bool((tensors["large"] == 1).all())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match="header"):
        write_tensors(path, TENSORS, "x" * 2_000_000)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_file_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    """All of the length, and samples of the header and the data."""
    whole = path.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    bits = [*range(64), *draw.sample(range(64, 8 * header_end), 300)]
    bits += draw.sample(range(8 * header_end, 8 * len(whole)), 100)
    for bit in bits:
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with pytest.raises(ModelFileError):
            read_tensors(path)


def test_every_truncation_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError):
            read_tensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ModelFileError, match="declares"):
        read_tensors(path)


class Canary:
    """Unpickling it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_renamed_pickle_is_named_as_such_and_never_run(tmp_path: Path) -> None:
    canary, disguised = tmp_path / "canary", tmp_path / "model.safetensors"
    for write in (
        lambda: disguised.write_bytes(pickle.dumps(Canary(canary))),
        lambda: torch.save({"weight": Canary(canary)}, disguised),  # noqa: TID251
    ):
        write()
        with pytest.raises(ModelFileError, match="pickled PyTorch file"):
            read_tensors(disguised)
        assert not canary.exists()


HOSTILE = {
    "empty": (b"", "0 bytes"),
    "short": (b"\x08\0\0", "3 bytes"),
    "text": (b"this is no model at all", "header of"),
    "huge length": ((2**63).to_bytes(8, "little") + b"{}", str(2**63)),
    "length beyond the file": ((500).to_bytes(8, "little") + b"{}", "header of 500"),
    "header above 1 MB": (container(b" " * 1_000_001), "header of 1000001"),
    "not JSON": (container(b"{]"), "not valid JSON"),
    "not UTF-8": (container(b'{"\xff": 1}'), "codec"),
    "deep nesting": (container(b"[" * 100_000), "not valid JSON"),
    "an array": (container([]), "not an object"),
    "no metadata": (container({}), "'unetseg'"),
    "metadata of another kind": (container({"__metadata__": {"unetseg": 1, "sha256": "0"}}), "'unetseg'"),
    "wrong checksum": (container(META), "checksum"),
    "10^4 tensors": (container(META | {str(i): entry(0, 0) for i in range(10_000)}), "10000 tensors"),
    "overlap": (container(META | {"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "overlap"),
    "same place twice": (container(META | {"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)), "overlap"),
    "gap": (container(META | {"a": entry(4, 8)}, bytes(8)), "gap"),
    "data missing": (container(META | {"a": entry(0, 8)}, bytes(4)), "declares 8 bytes"),
    "unknown type": (container(META | {"a": entry(0, 4, "F8_E5M2")}, bytes(4)), "unknown type"),
    "type of another kind": (container(META | {"a": entry(0, 4) | {"dtype": ["F32"]}}, bytes(4)), "unknown type"),
    "size against shape": (container(META | {"a": entry(0, 4) | {"shape": [2]}}, bytes(4)), "match its shape"),
    "negative shape": (container(META | {"a": entry(0, 4) | {"shape": [-1, -1]}}, bytes(4)), "malformed"),
    "huge shape": (container(META | {"a": entry(0, 4) | {"shape": [2**62] * 8}}, bytes(4)), "match its shape"),
    "many axes": (container(META | {"a": entry(0, 4) | {"shape": [1] * 1000}}, bytes(4)), "malformed"),
    "boolean shape": (container(META | {"a": entry(0, 4) | {"shape": [True]}}, bytes(4)), "malformed"),
    "an entry too many": (container(META | {"a": entry(0, 4) | {"x": 1}}, bytes(4)), "malformed"),
    "backwards": (container(META | {"a": entry(0, 4) | {"data_offsets": [4, 0]}}, bytes(4)), "match its shape"),
    "an entry that is none": (container(META | {"a": 3}), "malformed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    content, reason = HOSTILE[name]
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match=reason):
        read_tensors(tmp_path / "x.safetensors")


def test_a_file_that_claims_much_allocates_little(tmp_path: Path) -> None:
    """A sparse file of 4 GB with a valid header of another size: refused from its header."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(container(META | {"a": entry(0, 4)}, bytes(4)))
    os.truncate(path, 4 * 2**30)
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="declares 4 bytes"):
        read_tensors(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 20e6


def test_the_header_alone_tells_names_types_and_shapes(path: Path) -> None:
    header = read_header(path)
    assert header.text == "text – ü"
    assert header.tensors["weight"].shape == (2, 3, 4)
    assert header.tensors["half"].dtype == torch.bfloat16
    assert header.tensors["steps"].shape == ()


@pytest.mark.skipif(os.name != "posix", reason="permissions in the POSIX way")
def test_a_file_may_be_read_by_whoever_may_read_other_new_files(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_tensors(tmp_path / "model.safetensors", {"a": torch.zeros(2)}, metadata="")
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
