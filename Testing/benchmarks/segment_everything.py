"""Does every kind of volume come back on its own grid, and in how much memory?

Each set of UNETSEG_DATA goes through reading, ``segment`` with a random network, and writing, in a process of
its own; its peak memory counts everything. The geometry is that of the file written, read again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from results import publish
from unetseg import networks
from unetseg.config import Label, ModelDocument, NetworkConfig, Normalisation, Plan, TrainingRecord
from unetseg.image_io import read_label_map, read_volume, write_label_map
from unetseg.inference import segment
from unetseg.model_file import Model
from unetseg.preprocessing import Reorientation
from unetseg.volume import Volume

DATA = Path(os.environ.get("UNETSEG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CLASSES = 4
SETS = ("geometry", "dicom", "multigrid_ms_patient12", "large_mr", "large_ct")


def cases() -> list[list[Path]]:
    """The images of the sets; those of the multigrid patient are channels of one case."""
    found: list[list[Path]] = []
    for name in SETS:
        images = [path for path in sorted((DATA / name).iterdir()) if "_label" not in path.name]
        found += [images] if name.startswith("multigrid") else [[image] for image in images]
    return found


def random_model(volume: Volume, network: str, preset: str, zoom: float) -> Model:
    """A model for volumes like this one, whose grid is coarser than the volume's by ``zoom``."""
    arguments = dict(networks.preset_arguments(network, preset))
    channels = volume.array.shape[0]
    torch.manual_seed(0)
    built = networks.build(network, in_channels=channels, classes=CLASSES, **arguments)
    spacing = Reorientation.towards(volume.geometry, "canonical").apply_geometry(volume.geometry).spacing_mm
    plan = Plan(
        dimensions=3 if built.dimensions == 3 else 2,
        orientation="canonical",
        spacing_mm=(zoom * spacing[0], zoom * spacing[1], zoom * spacing[2]),
        patch_size=(32, 64, 64) if built.dimensions == 3 else (1, 256, 256),
        batch_size=2,
        modality="MR",
        normalisation=(Normalisation("zscore"),) * channels,
    )
    labels = tuple(Label(value, f"Label {value}", (60 * value, 100, 100)) for value in range(CLASSES))
    untrained = TrainingRecord("", (), (), (), {}, 0, 0.0, "", (), {}, "")
    return Model(ModelDocument(NetworkConfig(network, channels, CLASSES, arguments), labels, plan, untrained), built)


def segment_one(images: list[Path], options: argparse.Namespace) -> None:
    """Print one row as JSON."""
    volume = read_volume(images)
    model = random_model(volume, options.network, options.preset, options.zoom)
    started = time.perf_counter()
    result = segment(model, volume, memory_gb=options.memory_gb, uncertainty=True)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "labels.nii.gz"
        write_label_map(written, result.label_map)
        unchanged = read_label_map(written).geometry.matches(volume.geometry, tolerance_voxel=1e-3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps([volume.geometry.shape, seconds, peak / 2**30, unchanged, list(result.notes)]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--network", choices=networks.NETWORKS, default="unet_3d")
    options.add_argument("--preset", default="compact")
    options.add_argument("--memory-gb", type=float)
    options.add_argument("--zoom", type=float, default=1.0, help="spacing of the network's grid over the image's")
    options.add_argument("--one", type=Path, nargs="+", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        segment_one(chosen.one, chosen)
        return
    rows = []
    for images in cases():
        run = subprocess.run(
            [sys.executable, *sys.argv, "--one", *images], capture_output=True, encoding="utf-8", check=False
        )
        name = " + ".join(str(image.relative_to(DATA)) for image in images)
        if run.returncode:
            rows.append((name, "", "", "", run.stderr.strip().splitlines()[-1]))
        else:
            shape, seconds, peak, unchanged, _ = json.loads(run.stdout.splitlines()[-1])
            grid = "×".join(map(str, shape))
            rows.append((name, grid, f"{seconds:.1f}", f"{peak:.2f}", "yes" if unchanged else "NO"))
        print(*rows[-1], file=sys.stderr, flush=True)
    publish("Every volume through segment", ("images", "grid", "seconds", "peak GB", "geometry unchanged"), rows)


if __name__ == "__main__":
    main()
