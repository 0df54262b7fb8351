"""The worker of the module's self test: it speaks the same messages and takes what is brighter than the mean.

It runs as a program in the interpreter that would compute, and needs numpy, but no PyTorch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from unetseg.array_file import load_array, save_array
from unetseg.messages import Capabilities, Describe, DeviceDescription, Reply, Request, Segment, Segmented, Shutdown
from unetseg.protocol import decode, encode


def answer(request: Request) -> Reply | None:
    """The final reply to a request; None for those that have none."""
    if isinstance(request, Describe):
        device = DeviceDescription("cpu", "Processor", None)
        return Capabilities(request.id, (), (), (), (), (device,), {})
    if isinstance(request, Segment):
        image, geometry = load_array(Path(request.images[0]))
        folder = Path(request.folder)
        save_array(folder / request.label_map, brightLabels(image), geometry)
        save_array(folder / request.uncertainty, np.zeros(image.shape, np.uint8), geometry)
        return Segmented(request.id, labels=(), device="cpu", seconds=0.0)
    return None


def brightLabels(image: np.ndarray) -> np.ndarray:
    """1 where the image is brighter than its mean, else 0."""
    return (image > image.mean()).astype(np.uint8)


def main() -> None:
    """Answer one line after the other until ``Shutdown``, or until the input ends."""
    for line in sys.stdin.buffer:
        request = decode(line)
        if isinstance(request, Shutdown):
            return
        reply = answer(request)
        if reply is not None:
            print(encode(reply), end="", flush=True)


if __name__ == "__main__":
    main()
