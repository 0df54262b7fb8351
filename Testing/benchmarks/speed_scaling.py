"""How the cost of a whole volume grows with its size, the classes and the threads, and how near it is to the limit.

The limit is what the machine reaches in a matrix product of the same precision. Weights are random: the time does not
depend on them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from results import publish
from segment_everything import random_model
from speed import Clock, Work, Worker, measure_in_turn
from speed_methods import DTYPES, METHODS, OURS
from speed_rows import Key, Rows, peak_mb, warm_seconds
from speed_subjects import files, load_volume, missing
from unetseg.errors import ImageError
from unetseg.inference import choose_device
from unetseg.model_file import load_model, save_model
from unetseg.networks import NETWORKS, build, preset_arguments

PARTS: dict[str, tuple[int, ...]] = {"1/8": (0, 1, 2), "1/4": (1, 2), "1/2": (2,), "1": ()}
"""Parts of a volume: the axes along which only the middle half is taken."""
LEAST = "1/8"
"""On which classes and threads are measured."""
CLASSES = 4
TILE = 96
MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices: large enough for the full rate."""
MATRIX_SECONDS = 2.0
MATRIX_PRODUCT = "matrix product"
HEADER = [
    "part", "voxels", "classes", "threads", "method", "seconds", "memory, MB", "nominal GFLOP/s",
    "share of the matrix rate",
]  # fmt: skip
NOTE = (
    "Nominal: the operations of the plain network over the seconds; an engine that finds a way with fewer operations "
    "can exceed the matrix rate."
)


@dataclass(frozen=True)
class Setting:
    """One line of the table for each method."""

    part: str
    classes: int
    threads: int

    def key(self, device: torch.device, volume: str, network: str, method: str) -> Key:
        """Of the first turn."""
        conditions = f"{device.type}, {self.threads} threads, {self.classes} classes"
        return Key(f"{self.part} of {volume}", network, method, conditions, 0)


def settings(classes: Sequence[int], threads: Sequence[int]) -> list[Setting]:
    """Every part, then every number of classes and of threads, each varied alone."""
    usual = torch.get_num_threads()
    found = [Setting(part, CLASSES, usual) for part in PARTS]
    found += [Setting(LEAST, count, usual) for count in classes]
    found += [Setting(LEAST, CLASSES, count) for count in threads]
    return list(dict.fromkeys(found))


def part_of(shape: Sequence[int], part: str) -> tuple[slice, ...]:
    """The part of a volume (d, h, w)."""
    halved = PARTS[part]
    return tuple(
        slice(size // 4, size // 4 + size // 2) if axis in halved else slice(0, size) for axis, size in enumerate(shape)
    )


def segmenting(method: str, model: str, image: str, part: str, classes: int, device: str) -> Work:
    """The work of a process: segment a part of an image (.npy) with a network like the model's."""
    loaded, there = load_model(Path(model)), torch.device(device)
    config = loaded.document.network
    torch.manual_seed(0)
    network = build(config.name, in_channels=config.in_channels, classes=classes, **config.arguments).eval()
    whole = np.load(image)
    own = np.ascontiguousarray(whole[(slice(None), *part_of(whole.shape[1:], part))])
    segment = METHODS[method](replace(loaded, network=network), torch.from_numpy(own), device=there, tile=TILE)
    return Work(torch.inference_mode()(segment), there)


def multiplying(precision: str, device: str) -> Work:
    """The work of a process: multiply matrices; the figure is the median rate."""
    there = torch.device(device)
    size = MATRIX_SIZE[there.type]
    first, second = torch.randn((2, size, size), device=there, dtype=DTYPES[precision])

    def run() -> float:
        rates, end = [], time.perf_counter() + MATRIX_SECONDS
        while len(rates) < 2 or time.perf_counter() < end:
            began = time.perf_counter()
            (first @ second)[0, 0].item()  # which waits for the device
            rates.append(2 * size**3 / (time.perf_counter() - began))
        return median(rates)

    return Work(run, there, lambda rate: {"GFLOP/s": rate / 1e9})


def flops_per_voxel(network: str, preset: str, classes: int) -> float:
    """Nominal floating-point operations of the plain network for one voxel; a multiplication and an addition are 2."""
    with torch.device("meta"):
        empty = build(network, in_channels=1, classes=classes, **preset_arguments(network, preset)).eval()
        image = torch.empty((1, 1, *(2 * size for size in empty.size_multiple)))
    with FlopCounterMode(display=False) as counter:
        empty(image)
    return counter.get_total_flops() / image.numel()


def measure(arguments: argparse.Namespace, rows: Rows, device: torch.device) -> list[str]:
    """Everything that the table needs; a sentence for each that failed."""
    network = f"{arguments.network}_{arguments.preset}"
    path = arguments.output / f"{network}_random.safetensors"
    model = random_model(load_volume(arguments.volume)[0], arguments.network, arguments.preset, 1.0)
    save_model(path, model)
    subject = files(arguments.volume, model, path.stem, arguments.output)
    failed: dict[Key, str] = {}
    clock = Clock(arguments.minutes)
    for setting in settings(arguments.classes, arguments.threads):
        contestants = []
        for method in arguments.methods:
            given = {"method": method, "model": str(path), "image": str(subject.image), "part": setting.part}
            given |= {"classes": setting.classes, "device": str(device)}
            worker = partial(Worker, "speed_scaling:segmenting", given, threads=setting.threads)
            contestants.append((setting.key(device, arguments.volume, network, method), arguments.rounds, worker))
            worker = partial(
                Worker,
                "speed_scaling:multiplying",
                {"precision": precision_of(method), "device": str(device)},
                threads=setting.threads,
            )
            contestants.append((matrix_key(device, setting.threads, method), 1, worker))
        failed |= measure_in_turn(rows, contestants, clock)
    return [
        f"{key.method} failed on {key.subject} ({key.conditions}): {reason.rstrip('.')}."
        for key, reason in failed.items()
    ]


def precision_of(method: str) -> str:
    """That a method names, or float32."""
    last = method.split("-")[-1]
    return last if last in DTYPES else "float32"


def matrix_key(device: torch.device, threads: int, method: str) -> Key:
    return Key(MATRIX_PRODUCT, "", precision_of(method), f"{device.type}, {threads} threads", 0)


def table(arguments: argparse.Namespace, rows: Rows, device: torch.device) -> list[list[object]]:
    """One line for each setting and method that has been measured."""
    network = f"{arguments.network}_{arguments.preset}"
    shape = np.load(arguments.output / f"{network}_random_{arguments.volume}_image.npy", mmap_mode="r").shape[1:]
    lines = []
    for setting in settings(arguments.classes, arguments.threads):
        voxels = np.prod([part.stop - part.start for part in part_of(shape, setting.part)])
        flops = voxels * flops_per_voxel(arguments.network, arguments.preset, setting.classes)
        for method in arguments.methods:
            found = rows.turns(setting.key(device, arguments.volume, network, method))
            limit = rows.turns(matrix_key(device, setting.threads, method))
            if found:
                rate = flops / warm_seconds(found) / 1e9
                share = f"{rate / limit[0].figures['GFLOP/s']:.0%}" if limit else "n/a"
                memory = peak_mb(found)
                lines.append([
                    setting.part, voxels, setting.classes, setting.threads, method, f"{warm_seconds(found):.2f}",
                    "n/a" if memory is None else f"{memory:.0f}", f"{rate:.0f}", share,
                ])  # fmt: skip
    return lines


def main(arguments: argparse.Namespace) -> None:
    reason = missing(arguments.volume)
    if reason:
        raise ImageError("The cost is measured on parts of a volume", received=reason, remedy="Name another --volume")
    device = choose_device(arguments.device).device
    rows = Rows(arguments.output, "scaling")
    failed = measure(arguments, rows, device)
    rates = [
        f"Matrix product, {row.key.method}, {row.key.conditions}: {row.figures['GFLOP/s']:.0f} GFLOP/s."
        for row in rows
        if row.key.subject == MATRIX_PRODUCT
    ]
    title = f"How the cost grows: {arguments.network}_{arguments.preset} on {arguments.volume}"
    publish(title, HEADER, table(arguments, rows, device), notes=[NOTE, *rates, *failed])


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume", default="large_ct", help="a phantom's shape, or an image of UNETSEG_DATA")
    parser.add_argument("--network", choices=sorted(NETWORKS), default="unet_3d")
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(OURS))
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 8, 16, 25])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2, help="the first is not counted where there are more")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, help="after which nothing more is begun")
    parser.add_argument("--output", type=Path, required=True, help="folder of everything made")
    return parser


if __name__ == "__main__":
    main(options().parse_args())
