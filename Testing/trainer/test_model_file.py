from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from small_models import DOCUMENT, network_of
from unetseg import networks, records
from unetseg.config import Int8, NetworkConfig
from unetseg.errors import ModelFileError
from unetseg.model_file import Model, file_sha256, load_model, read_document, save_model
from unetseg.tensor_file import write_tensors


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(DOCUMENT, network_of(DOCUMENT))


def forged(path: Path, *, tensors: dict[str, torch.Tensor] | None = None, text: str | None = None) -> Path:
    """A file with a right checksum over wrong content, as a hostile author would make it."""
    write_tensors(path, tensors or network_of(DOCUMENT).state_dict(), text or records.dumps(DOCUMENT))
    return path


def test_the_network_is_rebuilt_from_the_file_alone(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    sha256 = save_model(path, model)
    loaded = load_model(path)
    assert loaded.document == model.document
    assert sha256 == file_sha256(path)
    assert not loaded.network.training
    image = torch.randn(1, 2, 4, 8, 8)
    expected = model.network.eval()(image)
    assert torch.equal(loaded.network(image), expected)
    assert not any(tensor.is_meta for tensor in loaded.network.state_dict().values())
    assert all(parameter.requires_grad for parameter in loaded.network.parameters())


def test_what_8_bit_needs_is_kept_and_may_be_missing(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    int8 = Int8({"encoders.0.0": 4.5}, dice_loss=-0.001, cases=3)
    save_model(path, dataclasses.replace(model, document=dataclasses.replace(DOCUMENT, int8=int8)))
    assert read_document(path).int8 == int8
    before = records.to_json(DOCUMENT)
    del before["int8"]
    assert read_document(forged(path, text=json.dumps(before))) == DOCUMENT


def test_the_document_is_read_without_the_weights(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    assert read_document(path) == DOCUMENT


@pytest.mark.parametrize("name", networks.NETWORKS)
@pytest.mark.parametrize("norm", ["none", "batch", "instance", "group"])
def test_every_network_goes_through_a_file(name: str, norm: str, tmp_path: Path) -> None:
    config = NetworkConfig(name, 2, 3, {"base_channels": 8, "depth": 3, "norm": norm})
    dimensions = network_of(dataclasses.replace(DOCUMENT, network=config)).dimensions
    plan = dataclasses.replace(
        DOCUMENT.plan,
        dimensions=dimensions,
        patch_size=(1, 16, 16) if dimensions == 2 else (8, 16, 16),
        spacing_mm=(0.0, 1.0, 1.0) if dimensions == 2 else (1.0, 1.0, 1.0),
    )
    document = dataclasses.replace(DOCUMENT, network=config, plan=plan)
    network = network_of(document)
    save_model(tmp_path / "m.safetensors", Model(document, network))
    loaded = load_model(tmp_path / "m.safetensors").network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())
    assert loaded.keys() == network.state_dict().keys()


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    data = records.to_json(DOCUMENT)
    change(data)
    return json.dumps(data)


def label(value: int, name: str, color: list[int]) -> dict[str, object]:
    return {"value": value, "name": name, "color": color}


INT8 = {"ranges": {}, "dice_loss": 0.0, "cases": 1}
DOCUMENTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "newer": (lambda d: d.update(format_version=2, new_field=1), "Update UNetSegment"),
    "no loss below 0.005": (lambda d: d.update(int8=INT8 | {"dice_loss": 0.005}), "loss in 8 bit must be below 0.005"),
    "range of 0": (lambda d: d.update(int8=INT8 | {"ranges": {"a": 1.0, "b": 0.0}}), "must be positive. Received: 0.0"),
    "version 0": (lambda d: d.update(format_version=0), "format version must be 1"),
    "unknown field": (lambda d: d.update(extra=1), "no field 'extra'"),
    "missing field": (lambda d: d.pop("plan"), "needs the field 'plan'"),
    "unknown network": (lambda d: d["network"].update(name="unet_4d"), "network must be one of"),
    "depth 50": (lambda d: d["network"]["arguments"].update(depth=50), "depth"),
    "features": (lambda d: d["network"]["arguments"].update(base_channels=10**9), "base_channels"),
    "argument of another type": (lambda d: d["network"]["arguments"].update(norm=["batch"]), "cannot be built"),
    "unknown argument": (lambda d: d["network"]["arguments"].update(code="x"), "code"),
    "argument that is a parameter": (lambda d: d["network"]["arguments"].update(classes=3), "cannot be built"),
    "65 channels": (lambda d: d["network"].update(in_channels=65), "normalisation|channels"),
    "10^6 classes": (lambda d: d["network"].update(classes=10**6), "2 to 255 classes"),
    "one class": (lambda d: d["network"].update(classes=1), "2 to 255 classes"),
    "255 means unlabelled": (lambda d: d["network"].update(classes=256), "2 to 255 classes"),
    "label too few": (lambda d: d["labels"].pop(), "labels' values"),
    "label twice": (lambda d: d["labels"].__setitem__(2, label(1, "x", [0, 0, 0])), "labels' values"),
    "label name twice": (lambda d: d["labels"].__setitem__(2, label(2, "Hintergrund", [0, 0, 0])), "names"),
    "label without name": (lambda d: d["labels"].__setitem__(2, label(2, "", [0, 0, 0])), "names"),
    "colour": (lambda d: d["labels"].__setitem__(2, label(2, "x", [0, 0, 256])), "colour"),
    "spacing 0": (lambda d: d["plan"].update(spacing_mm=[1, 0, 1]), "spacing must be positive"),
    "spacing 0 along D in 3D": (lambda d: d["plan"].update(spacing_mm=[0, 1, 1]), "spacing must be positive"),
    "spacing negative": (lambda d: d["plan"].update(spacing_mm=[-1, 1, 1]), "spacing must be positive"),
    "spacing NaN": (lambda d: d["plan"].update(spacing_mm=[float("nan"), 1, 1]), "NaN is not JSON"),
    "spacing endless": (lambda d: d["plan"].update(spacing_mm=[10**400, 1, 1]), "finite"),
    "patch 513": (lambda d: d["plan"].update(patch_size=[8, 513, 8]), "patch size must be 1 to 512"),
    "patch 0": (lambda d: d["plan"].update(patch_size=[8, 0, 8]), "patch size must be 1 to 512"),
    "batch 0": (lambda d: d["plan"].update(batch_size=0), "batch size"),
    "dimensions": (lambda d: d["plan"].update(dimensions=2, patch_size=[1, 8, 8]), "dimensions must be those"),
    "2D patch of slices": (lambda d: d["plan"].update(dimensions=2), "one slice"),
    "normalisation missing": (lambda d: d["plan"]["normalisation"].pop(), "one normalisation for each"),
    "CT spread 0": (lambda d: d["plan"]["normalisation"][0].update(std=0), "positive standard deviation"),
    "CT window turned": (lambda d: d["plan"]["normalisation"][0].update(lower=999.0), "lower < upper"),
    "percentile 101": (lambda d: d["plan"]["normalisation"][1].update(upper=101.0), "percentiles"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_wrong_document_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    change, reason = DOCUMENTS[name]
    path = forged(tmp_path / "m.safetensors", text=changed(change))
    for read in (load_model, read_document):
        with pytest.raises(ModelFileError, match=reason):
            read(path)


@pytest.mark.parametrize("text", ["{}", "[]", "3", "not JSON", "[" * 100_000])
def test_a_text_that_is_no_document_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="description is malformed"):
        load_model(forged(tmp_path / "m.safetensors", text=text))


def first_weight(tensors: dict[str, torch.Tensor]) -> str:
    return next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.dim() > 1)


def test_tensors_that_are_not_those_of_the_network_are_refused(tmp_path: Path) -> None:
    good = network_of(DOCUMENT).state_dict()
    name = first_weight(good)
    shape = " x ".join(map(str, good[name].shape))
    renamed = {("other" if key == name else key): value for key, value in good.items()}
    for tensors, reason in (
        (renamed, "lacks|unknown tensor other"),
        ({key: value for key, value in good.items() if key != name}, f"lacks {name}"),
        (good | {"extra": torch.zeros(1)}, "unknown tensor extra"),
        (good | {name: good[name].double()}, f"must be float32 {shape}. Received: float64 {shape}"),
        (good | {name: good[name].to(torch.int8)}, "int8"),
        (good | {name: good[name].half()}, "float16"),
        (good | {name: good[name][None].clone()}, f"must be float32 {shape}. Received: float32 1 x"),
        (good | {name: good[name].flatten()[:0].clone()}, "must be"),
    ):
        with pytest.raises(ModelFileError, match=reason):
            load_model(forged(tmp_path / "m.safetensors", tensors=tensors))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_neither_read_nor_written(number: float, tmp_path: Path) -> None:
    network = network_of(DOCUMENT)
    name = first_weight(network.state_dict())
    network.state_dict()[name].view(-1)[-1] = number
    with pytest.raises(ModelFileError, match=f"infinity in {name}"):
        load_model(forged(tmp_path / "m.safetensors", tensors=network.state_dict()))
    with pytest.raises(ModelFileError, match="finite"):
        save_model(tmp_path / "new.safetensors", Model(DOCUMENT, network))
    assert not (tmp_path / "new.safetensors").exists()


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    other = dataclasses.replace(DOCUMENT, network=dataclasses.replace(DOCUMENT.network, arguments={}))
    with pytest.raises(ModelFileError, match=r"must be (those of its network|float32)"):
        save_model(tmp_path / "m.safetensors", Model(other, network_of(DOCUMENT)))
    unlabelled = dataclasses.replace(DOCUMENT, labels=DOCUMENT.labels[:2])
    with pytest.raises(ModelFileError, match="labels"):
        save_model(tmp_path / "m.safetensors", Model(unlabelled, network_of(DOCUMENT)))
    assert list(tmp_path.iterdir()) == []


def test_a_declared_giant_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The widest network that the limits allow is compared with the file's header, not allocated."""
    text = changed(lambda d: d["network"]["arguments"].update(base_channels=8, depth=7, pooling=[[2, 2, 2]] * 6))
    path = forged(tmp_path / "m.safetensors", text=text)
    built = []
    build = networks.build
    monkeypatch.setattr(networks, "build", lambda *args, **options: built.append(build(*args, **options)) or built[-1])
    with pytest.raises(ModelFileError, match="must be"):
        load_model(path)
    assert [all(tensor.is_meta for tensor in network.state_dict().values()) for network in built] == [True]
