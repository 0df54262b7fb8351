"""What can be said on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

DEFAULT_SECONDS = 900.0


def make_parser(commands: Mapping[str, Callable[[argparse.Namespace], object]]) -> argparse.ArgumentParser:
    """``commands`` are functions by the names listed here; that of the chosen one is the argument ``command``."""
    parser = argparse.ArgumentParser(
        prog="unetseg", description="U-Nets that learn from a few corrected slices: segment, retrain, measure."
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, text: str, *, json: bool = True) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=text, description=text)
        added.set_defaults(command=commands[name])
        if json:
            added.add_argument("--json", action="store_true", help="print the result as JSON")
        return added

    add("describe", "List networks, losses, metrics and devices.")
    _add_segment(add("segment", "Segment one case with a model."))
    _add_train(add("train", "Train a model, or retrain one, from fully or sparsely labelled cases."))
    evaluate = add("evaluate", "Compare two label maps.")
    evaluate.add_argument("prediction", type=Path, metavar="PREDICTION")
    evaluate.add_argument("reference", type=Path, metavar="REFERENCE")
    evaluate.add_argument(
        "--tolerance-mm", type=float, default=1.0, metavar="MM", help="of the surface Dice (default: 1)"
    )
    _add_calibrate(add("calibrate", "Let a model compute in 8 bit, if that costs it next to nothing."))
    _add_suggest(add("suggest", "Say which slice of a segmentation to correct next."))
    inspect = add("inspect", "Show what a model file says about itself.")
    inspect.add_argument("model", type=Path, metavar="MODEL")
    phantom = add("phantom", "Make artificial cases with known labels.", json=False)
    phantom.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    phantom.add_argument("--count", type=_at_least(1), default=8, metavar="N", help="number of cases (default: 8)")
    phantom.add_argument("--seed", type=_at_least(0), default=0, metavar="N")
    phantom.add_argument("--domain", choices=("first", "shifted"), default="first", help="look of the images")
    add("worker", "Serve another program: requests on stdin, replies on stdout.", json=False)
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
        "--precision", default="auto", metavar="P",
        help="auto (what is fastest there), float32, bfloat16, or, after calibrate, int8",
    )  # fmt: skip


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
    parser.add_argument(
        "--background-beyond-lines", action="store_true",
        help="for scribbles with a closed line of background around all structures of their slices: learn what lies "
        "beyond that line as background, too; a structure outside it would be unlearned (default: what nobody "
        "labelled teaches nothing)",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on where a cancelled or killed training stopped")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    _add_device(parser)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="stays as it is")
    parser.add_argument("cases", type=Path, metavar="CASES", help="labelled cases, as for train")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="a .safetensors file")
    parser.add_argument(
        "--validation", default="0.2", metavar="FRACTION|NAMES",
        help="cases to measure the loss on, and nothing else: as for train (default: 0.2)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N")


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
