"""The command line. torch is imported by the commands that compute, so that help is instant."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from .. import records
from ..errors import CancelledError, InternalError, SettingsError
from ..failures import explain
from .progress import ProgressDisplay, dice_text

if TYPE_CHECKING:
    from ..training import Control

DEFAULT_SECONDS = 900.0


def main(argv: Sequence[str] | None = None, *, serve: Callable[[], int]) -> int:
    """Run one command; the exit code is 0 for done, 1 for failed, 2 for wrong use, 130 for cancelled.

    ``serve`` is what the command ``worker`` does.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    arguments = _parser(serve).parse_args(argv)
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


def _parser(serve: Callable[[], int]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unetseg", description="U-Nets that learn from a few corrected slices: segment, retrain, measure."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Any, text: str, *, json: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        if json:
            added.add_argument("--json", action="store_true", help="print the result as JSON")
        return added

    add("describe", _describe, "List networks, losses, metrics and devices.")
    _add_segment(add("segment", _segment, "Segment one case with a model."))
    _add_train(add("train", _train, "Train a model, or retrain one, from fully or sparsely labelled cases."))
    evaluate = add("evaluate", _evaluate, "Compare two label maps.")
    evaluate.add_argument("prediction", type=Path, metavar="PREDICTION")
    evaluate.add_argument("reference", type=Path, metavar="REFERENCE")
    evaluate.add_argument(
        "--tolerance-mm", type=float, default=1.0, metavar="MM", help="of the surface Dice (default: 1)"
    )
    _add_suggest(add("suggest", _suggest, "Say which slice of a segmentation to correct next."))
    inspect = add("inspect", _inspect, "Show what a model file says about itself.")
    inspect.add_argument("model", type=Path, metavar="MODEL")
    phantom = add("phantom", _phantom, "Make artificial cases with known labels.", json=False)
    phantom.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    phantom.add_argument("--count", type=_at_least(1), default=8, metavar="N", help="number of cases (default: 8)")
    phantom.add_argument("--seed", type=_at_least(0), default=0, metavar="N")
    phantom.add_argument("--domain", choices=("first", "shifted"), default="first", help="look of the images")
    add(
        "worker",
        lambda _: serve(),
        "Serve another program: requests on stdin, replies on stdout.",
        json=False,
    )
    return parser


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="one file or DICOM folder a channel, all of one case"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT",
        help="label map; its ending decides the format, .seg.nrrd keeps names and colors",
    )  # fmt: skip
    parser.add_argument("--uncertainty", type=Path, metavar="FILE", help="also write the uncertainty, 0 to 255")
    parser.add_argument("--probabilities", type=Path, metavar="FILE", help="also write a probability per class")
    parser.add_argument(
        "--confirmed", type=Path, metavar="FILE",
        help="labels that are right: a label map, 255 elsewhere, or slices of a project; kept, and carried around them",
    )  # fmt: skip
    _add_device(parser)
    parser.add_argument(
        "--precision", default="auto", metavar="P", help="auto (what is fastest there), float32, bfloat16"
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cases", type=Path, metavar="CASES", help="folder with images/ and labels/, dataset.json, or JSON list"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="a .safetensors file")
    parser.add_argument("--network", metavar="N", help="see describe (default: unet_3d)")
    parser.add_argument("--preset", metavar="P", help="its size, see describe (default: compact)")
    parser.add_argument("--modality", metavar="M", help="CT, MR, microscopy or ultrasound (default: guessed)")
    parser.add_argument("--start-from", type=Path, metavar="MODEL", help="retrain this model; it stays as it is")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--seconds", type=float, metavar="S", help=f"time to train (default: {DEFAULT_SECONDS:.0f}, a quarter hour)"
    )
    budget.add_argument("--iterations", type=int, metavar="N", help="steps to train, instead of a time")
    parser.add_argument(
        "--validation", default="0.2", metavar="FRACTION|NAMES",
        help="cases to measure on and not train on: a share, rounded down, or names joined by commas (default: 0.2)",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on where a cancelled or killed training stopped")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    _add_device(parser)


def _add_suggest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, metavar="LABELS", help="the segmentation as it is now")
    parser.add_argument(
        "--uncertainty", type=Path, metavar="FILE",
        help="its uncertainty, from segment: go where the model is least sure, not to the largest gap",
    )  # fmt: skip
    parser.add_argument(
        "--start", type=Path, metavar="LABELS", help="what the start model made of it: also go where both differ"
    )
    parser.add_argument("--seed", type=_at_least(0), metavar="N", help="let chance have a say in it, always the same")
    parser.add_argument("--slices", type=Path, metavar="JSON", help="slices that are labelled already, of a project")
    parser.add_argument(
        "--skip", type=_slice_position, action="append", default=[], metavar="AXIS:INDEX",
        help="a slice that is labelled elsewhere, or not wanted; axis 0, 1, 2 = D, H, W, index from 0; repeatable",
    )  # fmt: skip
    parser.add_argument("--count", type=_at_least(1), default=1, metavar="N", help="number of slices (default: 1)")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps, xpu ...")
    parser.add_argument("--memory-gb", type=float, metavar="G", help="use at most this much memory")


def _at_least(lowest: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {lowest}, received {text}")
        return int(text)

    return whole_number


def _slice_position(text: str) -> tuple[int, int]:
    axis, _, index = text.partition(":")
    if axis not in ("0", "1", "2") or not index.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an axis 0, 1 or 2, a colon and an index, received {text}")
    return int(axis), int(index)


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
        request = training_request(arguments, default_seconds=DEFAULT_SECONDS, check_cancel=control.check)
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
