"""The wire format is pinned by golden files: a change of one breaks every client in the field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unetseg.messages import (
    Cancel,
    Cancelled,
    Capabilities,
    Describe,
    DeviceDescription,
    Epoch,
    Evaluate,
    Evaluated,
    Failed,
    Message,
    ModelDescription,
    NetworkDescription,
    Progress,
    Release,
    Segment,
    Segmented,
    Shutdown,
    Train,
    Trained,
    TrainingCase,
)
from unetseg.protocol import MESSAGES, decode, encode

GOLDEN = Path(__file__).resolve().parents[1] / "fixtures" / "messages"

EXAMPLES: list[Message] = [
    Describe(id="1", models=("models/liver.safetensors",)),
    Segment(
        id="2",
        folder="/job",
        model="/models/liver.safetensors",
        images=("t1.npz", "t2.npz"),
        label_map="labels.npz",
        uncertainty="uncertainty.npz",
        region=((0, 8, 8), (16, 64, 48)),
        memory_gb=4.0,
    ),
    Train(
        id="3",
        folder="/job",
        cases=(
            TrainingCase("a", ("a.npz",), "a_labels.npz", edited="a_edited.npz", held_out_slices=((0, 12), (2, 30))),
            TrainingCase("b", ("b.npz",), "b_labels.npz"),
        ),
        output="round1.safetensors",
        labels=({"value": 0, "name": "Hintergrund – süß", "color": [0, 0, 0]},),
        start_from="/models/liver.safetensors",
        settings={"seconds": 120.0, "augmentation": {"flip_axes": [2]}},
        validation=("b",),
    ),
    Evaluate(id="4", folder="/job", prediction="labels.npz", reference="/data/truth.nii.gz", tolerance_mm=2.0),
    Cancel(id="5", job="3", keep=True),
    Release(id="6"),
    Shutdown(id="7"),
    Capabilities(
        request="1",
        networks=(NetworkDescription("unet_3d", ("compact", "paper")),),
        losses=("dice_cross_entropy",),
        metrics=("dice",),
        modalities=("CT", "MR"),
        devices=(DeviceDescription("cpu", "CPU", 7.8),),
        versions={"unetseg": "0.1.0"},
        models=(ModelDescription("models/liver.safetensors", None, "The model file is damaged."),),
    ),
    Progress(request="2", stage="segmenting", fraction=0.25, seconds_left=3.5),
    Epoch(
        request="3",
        iteration=40,
        fraction=0.5,
        loss={"cross_entropy": 0.25, "dice": None},
        held_out_dice=(0.875, None),
        seconds_left=60.0,
    ),
    Segmented(
        request="2",
        labels=({"value": 0, "name": "background", "color": [0, 0, 0], "terminology": ""},),
        device="cpu",
        seconds=4.5,
        notes=("cpu: no accelerator was found",),
    ),
    Trained(
        request="3",
        sha256="ab" * 32,
        iterations=80,
        seconds=120.5,
        dice_before=(0.5, None),
        dice_after=(0.75, 1.0),
        held_out_slices=1,
        replay_before=0.875,
        replay_after=0.872,
        warnings=("spleen is never labelled",),
    ),
    Evaluated(request="4", figures={"1": {"dice": 0.5, "hd95_mm": None}}),
    Cancelled(request="3"),
    Failed(request=None, code="protocol", rule="A line must be one message in JSON", received="not valid JSON"),
]


def name(message: Message) -> str:
    return type(message).__name__


def test_every_message_has_an_example() -> None:
    assert sorted(map(name, EXAMPLES)) == sorted(MESSAGES)
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MESSAGES)


@pytest.mark.parametrize("message", EXAMPLES, ids=name)
def test_the_wire_format_is_the_golden_file(message: Message) -> None:
    golden = (GOLDEN / f"{name(message)}.json").read_text(encoding="utf-8")
    assert json.loads(encode(message)) == json.loads(golden)


@pytest.mark.parametrize("message", EXAMPLES, ids=name)
def test_decode_is_the_inverse_of_encode(message: Message) -> None:
    line = encode(message)
    assert decode(line.encode()) == message
    assert line.isascii()
    assert line.endswith("\n")
    assert line.count("\n") == 1
