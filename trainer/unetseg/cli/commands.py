"""The command line. torch is imported by the commands that compute, so that help is instant."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from .. import records
from ..errors import CancelledError, InternalError, SettingsError
from ..failures import explain
from .arguments import make_parser
from .progress import ProgressDisplay, dice_text

if TYPE_CHECKING:
    from ..training import Control


def main(argv: Sequence[str] | None = None, *, serve: Callable[[], int]) -> int:
    """Run one command; the exit code is 0 for done, 1 for failed, 2 for wrong use, 130 for cancelled.

    ``serve`` is what the command ``worker`` does.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    commands = {
        "describe": _describe,
        "segment": _segment,
        "train": _train,
        "evaluate": _evaluate,
        "calibrate": _calibrate,
        "suggest": _suggest,
        "inspect": _inspect,
        "phantom": _phantom,
        "worker": lambda _: serve(),
    }
    arguments = make_parser(commands).parse_args(argv)
    try:
        arguments.command(arguments)
    except KeyboardInterrupt:
        print("unetseg: Cancelled.", file=sys.stderr)
        return 130
    except Exception as error:
        explained = explain(error)
        if isinstance(explained, InternalError):
            traceback.print_exc()
        print(
            f"unetseg: {explained}{_hint(arguments) if isinstance(explained, CancelledError) else ''}", file=sys.stderr
        )
        return {SettingsError: 2, CancelledError: 130}.get(type(explained), 1)
    return 0


def _hint(arguments: argparse.Namespace) -> str:
    """What can still be done after a cancelled command."""
    if arguments.command is not _train:
        return ""
    from ..training.checkpoint import checkpoint_path

    return " The same command with --resume goes on." if checkpoint_path(arguments.output).is_file() else ""


def _describe(arguments: argparse.Namespace) -> None:
    from .. import jobs

    found = jobs.describe([])
    if arguments.json:
        return _print_json(found)
    for network in found.networks:
        print(f"network   {network.name} ({', '.join(network.presets)})")
    for kind, names in (("loss", found.losses), ("metric", found.metrics), ("modality", found.modalities)):
        for name in names:
            print(f"{kind:9} {name}")
    for device in found.devices:
        print(f"device    {device.name}: {device.title}, {device.memory_gb} GB")
    print("versions  " + ", ".join(f"{name} {version}" for name, version in found.versions.items()))


def _segment(arguments: argparse.Namespace) -> None:
    from .. import jobs
    from ..training import Control

    control = Control()
    with _ctrl_c_aborts(control), ProgressDisplay(sys.stderr) as display:
        result = jobs.segment(
            arguments.model,
            arguments.images,
            label_map=arguments.output,
            uncertainty=arguments.uncertainty,
            probabilities=arguments.probabilities,
            confirmed=arguments.confirmed,
            device=arguments.device,
            memory_gb=arguments.memory_gb,
            precision=arguments.precision,
            warm=jobs.Warm(),
            control=control,
            report=display,
        )
    if arguments.json:
        return _print_json(result)
    for note in result.notes:
        print(note)
    print(f"Wrote {arguments.output} in {result.seconds:.1f} s.")


def _train(arguments: argparse.Namespace) -> None:
    from .. import jobs
    from ..training import Control
    from .training import training_request

    control = Control()
    with _ctrl_c_aborts(control), ProgressDisplay(sys.stderr) as display:
        request = training_request(arguments, check_cancel=control.check)
        result = jobs.train(request, control=control, report=display)
    if arguments.json:
        return _print_json(result)
    for line in (*result.warnings, *result.notes):
        print(line)
    if result.dice_after:
        before = f"{dice_text(result.dice_before)} -> " if result.dice_before else ""
        where = f"{result.held_out_slices} held-out slices" if result.held_out_slices else "held-out cases"
        print(f"Dice on {where}, per class: {before}{dice_text(result.dice_after)}")
    if result.replay_before is not None and result.replay_after is not None:
        print(f"Mean Dice on pieces of earlier cases: {result.replay_before:.3f} -> {result.replay_after:.3f}")
    if not result.improved:
        print("Nothing that it learned was better: the new model has the weights of the one it started from.")
    print(f"Wrote {arguments.output} after {result.iterations} iterations, {result.seconds:.0f} s.")


def _evaluate(arguments: argparse.Namespace) -> None:
    from .. import jobs

    result = jobs.evaluate(arguments.prediction, arguments.reference, tolerance_mm=arguments.tolerance_mm)
    if arguments.json:
        return _print_json(result)
    if not result.figures:
        return print("There is nothing to compare: both label maps are background only.")
    names = list(next(iter(result.figures.values())))
    width = max(map(len, names))
    print(" ".join([" " * width, *(f"{'class ' + value:>12}" for value in result.figures)]))
    for name in names:
        values = [row[name] for row in result.figures.values()]
        print(" ".join([name.ljust(width), *(f"{'n/a' if v is None else format(v, '.4f'):>12}" for v in values)]))


def _calibrate(arguments: argparse.Namespace) -> None:
    from ..training import Control
    from .calibrating import calibrated

    control = Control()
    with _ctrl_c_aborts(control), ProgressDisplay(sys.stderr) as display:
        found = calibrated(arguments, check_cancel=control.check, report=display)
    if arguments.json:
        return _print_json(found)
    print(f"8 bit changes the Dice on {found.cases} held-out cases by {-found.dice_loss:+.4f}.")
    print(f"Wrote {arguments.output}.")


def _suggest(arguments: argparse.Namespace) -> None:
    from .suggesting import suggested

    found = suggested(arguments)
    if arguments.json:
        return _print_json(found)
    print(found)


def _inspect(arguments: argparse.Namespace) -> None:
    from .. import jobs

    document = jobs.inspect(arguments.model)
    if arguments.json:
        return _print_json(document)
    network, plan, training = document.network, document.plan, document.training
    print(f"network     {network.name}, {network.in_channels} channels, {network.classes} classes")
    for label in document.labels:
        print(f"label {label.value:3}   {label.name}")
    print(f"grid        {plan.spacing_mm} mm (D, H, W), patch {plan.patch_size}, {plan.modality}")
    print(f"trained     {training.iterations} iterations, {training.seconds:.0f} s on {training.device}")
    print(f"            {training.finished_utc}, {len(training.cases)} cases")
    if training.held_out_dice:
        print(f"held out    Dice per class {dice_text(training.held_out_dice)}")
    if document.int8 is not None:
        print(f"int8        Dice {-document.int8.dice_loss:+.4f} on {document.int8.cases} held-out cases")
    if training.parent_sha256:
        print(f"started from a model with sha256 {training.parent_sha256}")
    for name, text in document.provenance.items():
        print(f"{name:<11} {text}".replace("\n", "\n" + 12 * " "))


def _phantom(arguments: argparse.Namespace) -> None:
    from ..phantom import write_phantom_cases

    write_phantom_cases(arguments.output, count=arguments.count, seed=arguments.seed, domain=arguments.domain)
    print(f"Wrote {arguments.count} cases to {arguments.output}.")


def _print_json(record: Any) -> None:
    data = records.to_json(record)
    data.pop("request", None)
    print(records.dumps(data, indent=2))


@contextlib.contextmanager
def _ctrl_c_aborts(control: Control) -> Iterator[None]:
    """The first Ctrl-C ends the job cleanly, a second one at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, previous)
        control.abort()

    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
