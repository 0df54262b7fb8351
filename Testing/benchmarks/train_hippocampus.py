"""A compact U-Net on the hippocampus (MSD Task04): trained on case numbers ≡ 1 mod 3, tested on ≡ 2 mod 3.

``--slices 1,1,1`` trains on annotations that label only one slice across each of the three axes of a case, as in Çiçek
2016, ``--slices 0,3,0`` on three across the second. They lie in the middle of the structure or evenly over its extent,
with ``--random`` anywhere in the image, in each case elsewhere. Every tenth training case is held out for choosing the
weights, labelled just as sparsely. ``--whole`` makes one structure of the two parts.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from annotator import orthogonal_slices
from experiment import DATA, load_cases, measure, parser, run_training, settings
from results import publish
from unetseg.config import Label
from unetseg.data import Case, keep_slices
from unetseg.training import TrainingRequest

LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(1, "anterior hippocampus", (230, 159, 0)),
    Label(2, "posterior hippocampus", (86, 180, 233)),
)
WHOLE = (LABELS[0], Label(1, "hippocampus", (230, 159, 0)))


def case_number(name: str) -> int:
    return int(name.split("_")[1])


def sparse(case: Case, counts: tuple[int, int, int], generator: np.random.Generator | None) -> Case:
    """The case as if only so many slices across D, H and W had been labelled; at random with a ``generator``."""
    assert case.annotation is not None
    slices = orthogonal_slices(case.annotation, counts)
    if generator is not None:
        shape = case.annotation.array.shape
        slices = tuple(
            (axis, int(index))
            for axis, count in enumerate(counts)
            for index in generator.choice(shape[axis], size=count, replace=False)
        )
    return replace(case, annotation=keep_slices(case.annotation, slices))


def without_parts(case: Case) -> Case:
    """The case with both parts as class 1; 255 stays what nobody has labelled."""
    assert case.annotation is not None
    array = case.annotation.array
    return replace(case, annotation=replace(case.annotation, array=np.where(array == 2, np.uint8(1), array)))


def per_axis(text: str) -> tuple[int, int, int]:
    d, h, w = (int(count) for count in text.split(","))
    return d, h, w


def main(arguments: argparse.Namespace) -> None:
    folder = DATA / "hippocampus"
    training = load_cases(folder, keep=lambda name: case_number(name) % 3 == 1)
    test = load_cases(folder, keep=lambda name: case_number(name) % 3 == 2)
    if arguments.slices:
        generator = np.random.default_rng(arguments.seed) if arguments.random else None
        training = [sparse(case, arguments.slices, generator) for case in training]
    labels, parts, structure = LABELS, ["anterior", "posterior"], "hippocampus"
    if arguments.whole:
        training, test = ([without_parts(case) for case in cases] for cases in (training, test))
        labels, parts, structure = WHOLE, ["whole"], "whole hippocampus"
    flat = ["2d"] if arguments.network == "unet_2d" else []
    name = "_".join([*structure.split(), *flat, *map(str, arguments.slices or ("all",)), "slices"])
    request = TrainingRequest(
        cases=training,
        output=arguments.output / f"{name}.safetensors",
        settings=settings(arguments),
        labels=labels,
        network=arguments.network,
        modality="MR",
        validation=tuple(case.name for case in training[::10]),
        device=arguments.device,
    )
    result = run_training(request)
    scores = measure(result.model, test, device=arguments.device)
    slices = f"{sum(arguments.slices) if arguments.slices else 'all'} slices labelled per case"
    publish(
        f"{structure.capitalize()}, {arguments.network} compact, {slices}{' at random' if arguments.random else ''}",
        ["training cases", "test cases", *parts, "mean Dice", "worst case", "iterations", "seconds"],
        [
            [
                len(training) - len(request.validation),
                len(test),
                *scores.per_class,
                scores.mean,
                float(scores.dice.mean(axis=1).min()),
                result.iterations,
                round(result.seconds),
            ]
        ],
        notes=(f"{len(request.validation)} further training cases chose the weights; seed {arguments.seed}.",),
    )


if __name__ == "__main__":
    options = parser(__doc__ or "", seconds=1500)
    options.add_argument("--slices", type=per_axis, help="labelled slices per case across D, H, W; default: all")
    options.add_argument("--random", action="store_true", help="these slices anywhere in the image")
    options.add_argument("--whole", action="store_true", help="anterior and posterior part as one structure")
    options.add_argument("--network", default="unet_3d")
    chosen = options.parse_args()
    Path(chosen.output).mkdir(parents=True, exist_ok=True)
    main(chosen)
