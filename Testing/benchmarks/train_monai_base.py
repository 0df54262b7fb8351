"""MONAI's UNet on the very cases that a model of ours was trained on: what the method "monai" fine-tunes.

It is written beside ``--model``, and measured on the cases that chose that model's weights and trained none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiment import DATA, load_cases
from methods.monai_unet import (
    Description,
    base_path,
    build_unet,
    prepared_case,
    save_base,
    segment_volume,
    train_unet,
    with_usable_patch,
)
from results import publish
from train_hippocampus import WHOLE, without_parts
from unetseg.config import ModelDocument
from unetseg.data import Case
from unetseg.inference import choose_device
from unetseg.metrics import dice_per_class
from unetseg.model_file import read_document
from unetseg.volume import LabelArray, Volume


def cases_of(folder: Path, names: tuple[str, ...], *, classes: int) -> list[Case]:
    """By name; with two classes as one structure."""
    cases = load_cases(folder, keep=lambda name: name in names)
    return [without_parts(case) for case in cases] if classes == len(WHOLE) else cases


def main(arguments: argparse.Namespace) -> None:
    document = read_document(arguments.model)
    record, classes = document.training, document.network.classes
    seconds = arguments.seconds or record.seconds
    description = Description(
        with_usable_patch(document.plan), document.network.in_channels, classes, record.cases, seconds=seconds
    )
    network = build_unet(description, seed=arguments.seed).to(choose_device(arguments.device).device)
    training = cases_of(arguments.data, record.cases, classes=classes)
    prepared = [prepared_case(case, description.plan) for case in training]
    iterations = train_unet(network, prepared, description.plan, seconds=seconds, seed=arguments.seed)
    path = (arguments.output or arguments.model.parent) / base_path(arguments.model).name
    save_base(path, replace(description, iterations=iterations), network)
    publish_base(
        f"MONAI's UNet on the cases of {arguments.model.stem}",
        document,
        cases_of(arguments.data, record.validation_cases, classes=classes),
        lambda volume: segment_volume(network, volume, description.plan),
        facts=(iterations, round(seconds)),
    )


def publish_base(
    title: str,
    document: ModelDocument,
    cases: Sequence[Case],
    segment: Callable[[Volume], LabelArray],
    *,
    facts: tuple[int, int],
) -> None:
    """Measure on the cases and publish; ``facts`` are the iterations and seconds of the training."""
    classes = document.network.classes
    dice = np.mean([dice_per_class(segment(case.volume), case.annotation.array, classes) for case in cases], axis=0)
    structures = [label.name for label in document.labels[1:]]
    publish(
        title,
        ["training cases", "test cases", *structures, "mean Dice", "iterations", "seconds"],
        [[len(document.training.cases), len(cases), *map(float, dice), float(dice.mean()), *facts]],
    )


def base_options(description: str | None) -> argparse.ArgumentParser:
    """Of every script that trains a network to start from."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="ours, whose cases, classes and plan are taken")
    parser.add_argument("--data", type=Path, default=DATA / "hippocampus", help="folder of these cases")
    parser.add_argument("--seconds", type=float, help="training time; default: as long as the model was trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="another folder than the model's")
    parser.add_argument("--device", default="auto")
    return parser


if __name__ == "__main__":
    main(base_options(__doc__).parse_args())
