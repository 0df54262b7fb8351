"""How much of a volume need not be computed since all that its result depends on is air.

A voxel could be left out where its whole receptive field has one value: all such voxels far from the volume's border,
where zeros are padded, have one result. Counted is what is dark in the images; all at or below ``--darkest`` is taken
for one value, as a window for soft tissue makes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from results import publish
from speed_subjects import REAL, load_volume, missing
from unetseg.inference.layout import receptive_halo
from unetseg.networks import build, preset_arguments

FIRST_CONVOLUTIONS = (2, 2, 2)
"""The receptive field, to each side, of the encoder's output at full resolution."""


def surrounded(mask: NDArray[np.bool_], reach: Sequence[int]) -> NDArray[np.bool_]:
    """Where a mask (d, h, w) is True at every voxel up to ``reach`` away along each axis; beyond its border it is."""
    for axis, voxels in enumerate(reach):
        others = np.moveaxis(~mask, axis, 0)
        before = np.zeros((len(others) + 1, *others.shape[1:]), np.int32)
        np.cumsum(others, axis=0, out=before[1:])
        places = np.arange(len(others))
        stops, starts = np.minimum(places + voxels + 1, len(others)), np.maximum(places - voxels, 0)
        mask = np.moveaxis(before[stops] == before[starts], 0, axis)
    return mask


def inner(shape: Sequence[int], reach: Sequence[int]) -> tuple[slice, ...]:
    """The voxels that lie further than ``reach`` from every border."""
    return tuple(slice(voxels, max(voxels, size - voxels)) for size, voxels in zip(shape, reach, strict=True))


def shares(dark: NDArray[np.bool_], halo: Sequence[int]) -> list[str]:
    """Of a volume's voxels: dark; with dark around them as far as the first level sees, as the network sees, the same
    away from the border."""
    alone = surrounded(dark, halo)
    counts = (dark.sum(), surrounded(dark, FIRST_CONVOLUTIONS).sum(), alone.sum(), alone[inner(dark.shape, halo)].sum())
    return [f"{count / dark.size:.1%}" for count in counts]


def main(arguments: argparse.Namespace) -> None:
    network = build("unet_3d", in_channels=1, classes=2, **preset_arguments("unet_3d", "compact"))
    halo = receptive_halo(network)
    rows = [
        [name, *shares(load_volume(name)[0].array[0] <= arguments.darkest, halo)]
        for name in arguments.volumes
        if not missing(name)
    ]
    header = ["volume", "dark", "dark around the first level's field", "dark all over the field", "and off the border"]
    absent = [reason for reason in map(missing, arguments.volumes) if reason]
    notes = [
        f"Receptive field of the 3D U-Net: {halo} voxels to each side. Dark: at most {arguments.darkest:g}.",
        *absent,
    ]
    publish("What is air to the whole network", header, rows, notes=notes)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--volumes", nargs="+", choices=REAL, default=["large_ct", "ct_liver_chaos"])
    options.add_argument("--darkest", type=float, default=-200.0, help="HU")
    main(options.parse_args())
