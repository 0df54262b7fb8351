"""How long a step of retraining takes that computes only what the labelled slices need, and one that computes all.

Both kinds of step are taken in turn in the same process, on random numbers: the time does not depend on the values.
With the patch cut, the step sees less of what surrounds the slice: it is as fast as it is on the smaller patch, and its
gradient is that patch's.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from methods.all_logits import Whole
from results import publish
from unetseg.allocator import keep_freed_memory
from unetseg.config import TrainingSettings
from unetseg.data.batches import Batch
from unetseg.inference import CHANNELS_LAST, PRECISIONS, choose_device
from unetseg.losses import DiceCrossEntropy
from unetseg.networks import PRESETS, build, preset_arguments
from unetseg.training.state import TrainingState
from unetseg.training.step import training_step

CLASSES = 4
SETTINGS = TrainingSettings(iterations=1)
LABELLED = {
    "1": ((0, 0.5),),
    "3 within a sixth of an axis": ((0, 0.42), (0, 0.5), (0, 0.585)),
    "3 across one axis": ((0, 0.25), (0, 0.5), (0, 0.75)),
    "1 across each axis": ((0, 0.5), (1, 0.5), (2, 0.5)),
}
"""Labelled slices of a patch: each an axis and its place along it, from 0 to 1."""


def random_batch(size: tuple[int, ...], samples: int, slices: tuple[tuple[int, float], ...]) -> Batch:
    """The slices are labelled in every sample."""
    weight = torch.zeros((samples, *size))
    for axis, place in slices:
        weight.select(axis + 1, int(place * size[axis])).fill_(1.0)
    return Batch(torch.randn((samples, 1, *size)), torch.randint(CLASSES, weight.shape), weight)


def cut(batch: Batch, slices: int) -> Batch:
    """The middle slices of all."""
    before = (batch.weight.shape[1] - slices) // 2
    kept = slice(before, before + slices)
    return Batch(batch.image[:, :, kept].clone(), batch.target[:, kept], batch.weight[:, kept])


def seconds_of_step(state: TrainingState, batch: Batch, precision: torch.dtype) -> float:
    """The step ends with reading its loss, which waits for the device."""
    start = time.perf_counter()
    training_step(
        state,
        batch,
        DiceCrossEntropy(),
        settings=SETTINGS,
        learning_rate=1e-5,
        precision=precision,
        freeze_statistics=True,
    )
    return time.perf_counter() - start


def measure(arguments: argparse.Namespace, batch: Batch, targeted_batch: Batch, device: torch.device) -> list[str]:
    """Medians over the rounds: seconds of the whole step, of the targeted step, and their ratio."""
    network = build("unet_3d", in_channels=1, classes=CLASSES, **preset_arguments("unet_3d", arguments.preset))
    network = network.to(device, memory_format=CHANNELS_LAST[3])
    steps = [
        (TrainingState(Whole(network), settings=SETTINGS), batch, PRECISIONS[arguments.whole_precision]),
        (TrainingState(network, settings=SETTINGS), targeted_batch, PRECISIONS[arguments.precision]),
    ]
    for step in steps:  # the first step also chooses the kernels
        seconds_of_step(*step)
    times = [[seconds_of_step(*step) for step in steps] for _ in range(arguments.rounds)]
    columns = [*zip(*times, strict=True), [whole / targeted for whole, targeted in times]]
    return [f"{median(column):.3g}" for column in columns]


def main(arguments: argparse.Namespace) -> None:
    keep_freed_memory()  # as the product's processes do; it is good for both kinds of step
    torch.manual_seed(0)
    device = choose_device(arguments.device).device
    rows: list[list[object]] = []
    for size, samples in ((tuple(arguments.patch), 1), (tuple(arguments.small_patch), 2)):
        patch = f"{samples} × {' × '.join(map(str, size))}"
        for labelled, slices in LABELLED.items():
            batch = random_batch(size, samples, slices)
            rows.append([patch, labelled, *measure(arguments, batch, batch, device)])
        for thickness in arguments.cut_to if samples == 1 else ():
            batch = random_batch(size, samples, LABELLED["1"])
            times = measure(arguments, batch, cut(batch, thickness), device)
            rows.append([patch, f"1, the patch cut to {thickness} slices", *times])
    publish(
        f"One step of retraining, {arguments.preset} 3D U-Net",
        ["batch", "labelled slices", "seconds, all logits", "seconds, labelled voxels' needs", "ratio"],
        rows,
        notes=[
            f"Medians of {arguments.rounds} rounds on {device}, all logits in {arguments.whole_precision}, labelled "
            f"voxels' needs in {arguments.precision}, with frozen batch norm. Both give the same gradients, but for "
            "rounding and where the patch is cut."
        ],
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--preset", choices=sorted(PRESETS["unet_3d"]), default="compact")
    options.add_argument("--patch", type=int, nargs=3, default=(96, 96, 96), help="voxels, in batches of one")
    options.add_argument("--small-patch", type=int, nargs=3, default=(40, 56, 40), help="voxels, in batches of two")
    options.add_argument("--cut-to", type=int, nargs="*", default=(48, 32), help="slices of the first axis")
    options.add_argument("--precision", choices=PRECISIONS, default="float32", help="of what labelled voxels need")
    options.add_argument("--whole-precision", choices=PRECISIONS, default="float32", help="of all logits")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    main(options.parse_args())
