"""How long whole volumes take, and how much memory: our engine, MONAI's sliding window and nnU-Net's predictor.

All compute with the same weights, those of ``--model`` or of networks that are first trained on phantoms, each in a
process of its own and in turn. Everything made is kept in ``--output``: a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from curves import FIGURES
from results import publish
from speed import Clock, Worker, measure_in_turn
from speed_methods import DEFAULT_METHODS, DTYPES, METHODS, fits_single_pass, missing_package
from speed_picture import draw
from speed_rows import Key, Row, Rows, peak_mb, ratio, warm_seconds
from speed_subjects import Subject, files, missing, phantom_shape, trained_model
from unetseg.inference import choose_device
from unetseg.model_file import load_model
from unetseg.networks import NETWORKS

VOLUMES = ["96x96x80", "192x192x160", "large_mr", "large_ct", "ct_liver_chaos"]
WHOLE = ("single-pass", "ours-float32")
"""What the others are compared with: the second where the first does not fit into memory."""
HEADER = [
    "volume", "method", "seconds", "first run, s", "MONAI / this", "nnU-Net / this", "best so precise / this",
    "memory, MB", "argmax agreement", "Dice",
]  # fmt: skip
NOTES = (
    "Seconds: median of the runs after the first of a process, or the first where there is no other. Ratios of time: "
    "median over the runs, in turn. Memory: the most beyond imports, network and image.",
    "MONAI and nnU-Net (without mirroring) as users run them: overlap 0.5, Gaussian weights, on a CPU float32, network "
    "as torch lays it out. Best: overlap 0.25, batch norm folded, channels last, autocast; the faster of both counts.",
    "Ours keeps freed memory on Linux, as its processes do; the others run as torch does by itself.",
    "Agreement: with one plain pass over the whole volume, or with our float32 where that does not fit.",
)


class Contest:
    """All methods on some volumes, under the same conditions."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device = choose_device(arguments.device).device
        self.rows, self.clock = Rows(arguments.output, "inference"), Clock(arguments.minutes)
        self._arguments = arguments
        wanted = arguments.methods or DEFAULT_METHODS[self.device.type]
        absent = {method: package for method in wanted if (package := missing_package(method))}
        self.methods = [method for method in wanted if method not in absent]
        self.volumes = [name for name in arguments.volumes if not missing(name)]
        self.notes = [reason for name in arguments.volumes if (reason := missing(name))]
        self.notes += [f"{method} was left out: {package} is not installed." for method, package in absent.items()]

    def models(self) -> list[tuple[str, Path]]:
        """Name and file of each network."""
        given = self._arguments
        if given.model:
            return [(given.model.stem, given.model)]
        shapes = [shape for name in given.volumes if (shape := phantom_shape(name))] or [phantom_shape(VOLUMES[0])]
        found = []
        for network in given.networks:
            for preset in given.presets:
                path = given.output / f"{network}_{preset}.safetensors"
                trained_model(
                    network, preset, path, shapes=shapes, seconds=given.train_seconds, device=str(self.device)
                )
                found.append((path.stem, path))
        return found

    def measure(self, label: str, path: Path, volume: str) -> list[str]:
        """All methods on one volume; a sentence for each that failed."""
        model = load_model(path)
        subject = files(volume, model, label, self._arguments.output)
        shape = np.load(subject.image, mmap_mode="r").shape
        references = {method: self._arguments.output / f"{label}_{volume}_{method}.npy" for method in WHOLE}
        kept = references[WHOLE[0]].is_file()  # by an earlier call, when more memory was free
        first = WHOLE[0] if kept or fits_single_pass(model.network, shape, self.device) else WHOLE[1]
        methods = [first, *(method for method in self.methods if method != first)]
        contestants = [
            (
                self.key(label, volume, method),
                self._turns(method),
                partial(self._worker, method, path, subject, references[first], keep=method == first),
            )
            for method in methods
        ]
        failed = measure_in_turn(self.rows, contestants, self.clock)
        return [f"{key.method} failed on {volume}: {reason.rstrip('.')}." for key, reason in failed.items()]

    def key(self, label: str, volume: str, method: str) -> Key:
        """Of the first turn."""
        conditions = f"{self.device.type}, {torch.get_num_threads()} threads, tiles of {self._arguments.tile}"
        return Key(volume, label, method, conditions, 0)

    def _turns(self, method: str) -> int:
        if method == "single-pass":
            return 1
        return self._arguments.rounds if method.startswith("ours") else self._arguments.competitor_rounds

    def _worker(self, method: str, model: Path, subject: Subject, reference: Path, *, keep: bool) -> Worker:
        given = {
            "method": method,
            "model": str(model),
            "image": str(subject.image),
            "truth": subject.truth and str(subject.truth),
            "reference": str(reference),
            "keep": keep,
            "device": str(self.device),
            "tile": self._arguments.tile,
        }
        return Worker("speed_methods:prepare", given, threads=torch.get_num_threads())


def table(contest: Contest, label: str) -> list[list[object]]:
    """One line for each volume and method that has been measured."""
    lines = []
    for volume in contest.volumes:
        found = {method: contest.rows.turns(contest.key(label, volume, method)) for method in METHODS}
        lines += [[volume, method, *_cells(method, found)] for method in METHODS if found[method]]
    return lines


def _cells(method: str, found: dict[str, list[Row]]) -> list[object]:
    rows = found[method]
    precision = method.removeprefix("ours-")
    rivals = [f"{engine}-best-{precision}" for engine in ("monai", "nnunet")] if precision in DTYPES else []
    memory = peak_mb(rows)
    agreement = rows[0].figures.get("agreement")
    dice = [value for name, value in rows[0].figures.items() if name.startswith("dice")]
    return [
        f"{warm_seconds(rows):.2f}",
        f"{rows[0].seconds:.2f}",
        *(_times([ratio(rows, found[other]) for other in others]) for others in (["monai"], ["nnunet"], rivals)),
        "n/a" if memory is None else f"{memory:.0f}",
        "n/a" if agreement is None else f"{agreement:.5f}",
        " ".join(f"{value:.3f}" for value in dice),
    ]


def _times(ratios: Sequence[float | None]) -> str:
    """Of the fastest of the others."""
    known = [value for value in ratios if value is not None]
    return f"{min(known):.2f}" if known else ""


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    contest = Contest(arguments)
    for label, path in contest.models():
        notes = [*NOTES, *contest.notes]
        notes += [sentence for volume in contest.volumes for sentence in contest.measure(label, path, volume)]
        if contest.clock.is_over:
            notes.append("Not all was measured: the minutes were over.")
        if arguments.picture:
            in_order = sorted(contest.rows, key=lambda row: list(METHODS).index(row.key.method))
            draw(in_order, FIGURES / f"{arguments.picture}.png")
            notes.append(f"![Time and memory](figures/{arguments.picture}.png)")
        publish(f"Whole volumes, {label}", HEADER, table(contest, label), notes=notes)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", nargs="+", default=VOLUMES, help="phantoms' shapes, or images of UNETSEG_DATA")
    parser.add_argument("--networks", nargs="+", choices=sorted(NETWORKS), default=["unet_3d"])
    parser.add_argument("--presets", nargs="+", default=["compact", "paper"])
    parser.add_argument("--model", type=Path, help="instead of networks trained here")
    parser.add_argument("--train-seconds", type=float, default=60, help="for each network that --output has not")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="as suit the device")
    parser.add_argument("--rounds", type=int, default=3, help="of our methods")
    parser.add_argument("--competitor-rounds", type=int, default=1)
    parser.add_argument("--tile", type=int, default=96, help="edge of a competitor's tile in 3D, voxels")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="of each process; as many as torch chooses")
    parser.add_argument("--minutes", type=float, help="after which nothing more is begun")
    parser.add_argument("--picture", help="draw all measurements of --output into figures/NAME.png")
    parser.add_argument("--output", type=Path, required=True, help="folder of everything made")
    return parser


if __name__ == "__main__":
    main(options().parse_args())
