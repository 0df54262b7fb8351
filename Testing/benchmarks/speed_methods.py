"""The ways of segmenting a whole volume that are measured side by side.

Each has everything ready before its clock runs: the network on the device and in its form. It is timed from the image
in main memory to the labels there. MONAI and nnU-Net run their own code, with our network and weights.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speed import Work
from unetseg.allocator import keep_freed_memory
from unetseg.errors import unknown_name
from unetseg.inference import AUTO, CHANNELS_LAST, PRECISIONS, Engine, available_devices, predict_labels, without_tf32
from unetseg.inference.layout import padded_shape
from unetseg.metrics import dice_per_class
from unetseg.model_file import Model, load_model
from unetseg.networks import UNet
from unetseg.networks.blocks import BATCH_NORM
from unetseg.volume import LabelArray

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SLICE_TILE = 512
"""Voxels along both axes of a tile in 2D, or all that there are: whole slices, as both competitors take them."""
USERS_OVERLAP, LEAST_OVERLAP = 0.5, 0.25
TILES_AT_ONCE = {"cpu": 1, "cuda": 4}
"""Of MONAI: more make it no faster on a CPU, and take more memory."""
MOST_OF_FREE = 0.7
"""The share of the free memory that a single pass may take: other processes wait for their turn beside it."""

Segment = Callable[[], LabelArray]


def single_pass(model: Model, image: Tensor, *, device: torch.device, tile: int) -> Segment:
    """Plain torch over the whole volume at once, padded at its far ends as ours is; in 2D slice by slice."""
    network = model.network.to(device)

    def run() -> LabelArray:
        sizes = zip(image.shape[1:], padded_shape(network, image.shape[1:]), strict=True)
        d, h, w = (length - own for own, length in sizes)
        padded = functional.pad(image[None], (0, w, 0, h, 0, d), mode="replicate")
        batches = padded[0].transpose(0, 1).split(1) if network.dimensions == 2 else [padded]
        with without_tf32(device):
            parts = [network(batch.to(device)).argmax(1).to("cpu", torch.uint8) for batch in batches]
        labels = torch.cat(parts) if network.dimensions == 2 else parts[0][0]
        d, h, w = image.shape[1:]
        return labels[:d, :h, :w].numpy()

    return run


def single_pass_bytes(network: UNet, shape: tuple[int, ...]) -> int:
    """About what the memory of a single pass comes to: at level 0 skip, up-sampled map, both and the result."""
    channels = network.head.in_channels
    voxels = math.prod(shape[-network.dimensions :])
    return 4 * voxels * 9 * channels


def monai(
    model: Model,
    image: Tensor,
    *,
    device: torch.device,
    tile: int,
    overlap: float = USERS_OVERLAP,
    precision: str = "float32",
    best: bool = False,
) -> Segment:
    """MONAI's ``sliding_window_inference`` with Gaussian weights."""
    from monai.inferers import sliding_window_inference  # seconds, and only needed here

    network = _network(model, device, best=best)
    sizes, flat = _tile(network, image, tile), network.dimensions == 2

    def run() -> LabelArray:
        batch = image.to(device).transpose(0, 1) if flat else image.to(device)[None]
        # Users let a GPU round float32 (TF32), as torch does; what is compared as float32 must be it.
        with _autocast(device, precision), without_tf32(device) if best else contextlib.nullcontext():
            logits = sliding_window_inference(
                batch, sizes, TILES_AT_ONCE[device.type], network, overlap=overlap, mode="gaussian"
            )
        labels = logits.argmax(1).to("cpu", torch.uint8)
        return (labels if flat else labels[0]).numpy()

    return run


def nnunet(
    model: Model,
    image: Tensor,
    *,
    device: torch.device,
    tile: int,
    overlap: float = USERS_OVERLAP,
    precision: str = "float32",
    mirroring: bool = False,
    best: bool = False,
) -> Segment:
    """nnU-Net's ``nnUNetPredictor``, which computes in float16 on a CUDA device."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # seconds, and only needed here

    network = _network(model, device, best=best)
    predictor = nnUNetPredictor(tile_step_size=1 - overlap, use_mirroring=mirroring, device=device, allow_tqdm=False)
    predictor.network = network
    predictor.allowed_mirroring_axes = tuple(range(network.dimensions))
    predictor.configuration_manager = SimpleNamespace(patch_size=_tile(network, image, tile))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=network.classes)

    def run() -> LabelArray:
        with contextlib.nullcontext() if device.type == "cuda" else _autocast(device, precision):
            logits = predictor.predict_sliding_window_return_logits(image)
        return logits.argmax(0).to("cpu", torch.uint8).numpy()

    return run


def ours(model: Model, image: Tensor, *, device: torch.device, tile: int, precision: str = AUTO) -> Segment:
    """The product's own engine, in a process that treats memory as the product's processes do."""
    keep_freed_memory()
    return partial(predict_labels, Engine.of(model), image, device=device, precision=precision)


METHODS: Mapping[str, Callable[..., Segment]] = {
    "single-pass": single_pass,
    "monai": monai,
    "nnunet": nnunet,
    "nnunet-mirrored": partial(nnunet, mirroring=True),
    **{f"monai-best-{name}": partial(monai, overlap=LEAST_OVERLAP, precision=name, best=True) for name in DTYPES},
    **{f"nnunet-best-{name}": partial(nnunet, overlap=LEAST_OVERLAP, precision=name, best=True) for name in DTYPES},
    "ours-auto": ours,
    **{f"ours-{name}": partial(ours, precision=name) for name in (*PRECISIONS, "int8")},
}
"""As users run them, and with ``best`` settings: folded batch norm, channels last, least overlap, at a precision."""

OURS = tuple(f"ours-{name}" for name in PRECISIONS)
DEFAULT_METHODS = {
    "cpu": [
        *("monai", "monai-best-float32", "monai-best-bfloat16"),
        *("nnunet", "nnunet-best-float32", "nnunet-best-bfloat16"),
        *(*OURS, "ours-int8"),
    ],
    "cuda": [
        *("monai", "monai-best-float32", "monai-best-bfloat16", "monai-best-float16"),
        *("nnunet", "nnunet-best-float16"),
        *OURS,
    ],
}
"""By kind of device: nnU-Net computes in float16 on CUDA whatever it is told."""
PACKAGES = {"monai": "monai", "nnunet": "nnunetv2"}


def missing_package(method: str) -> str | None:
    """What the method needs and is not installed."""
    package = PACKAGES.get(method.split("-")[0])
    return package if package and find_spec(package) is None else None


def prepare(
    method: str, model: str, image: str, truth: str | None, reference: str, keep: bool, device: str, tile: int
) -> Work:
    """The work of a process (see ``speed.Worker``).

    Args:
        model, image, truth: files.
        reference: labels (.npy) that the method's are compared with; with ``keep`` they become these.
        tile: edge of a competitor's tile in 3D, voxels.
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    there = torch.device(device)
    loaded = load_model(Path(model))
    loaded.network.eval()
    segment = METHODS[method](loaded, torch.from_numpy(np.load(image)), device=there, tile=tile)

    def judge(labels: LabelArray) -> dict[str, float]:
        if keep:
            np.save(reference, labels)
        figures = {}
        if Path(reference).is_file():
            figures["agreement"] = float((labels == np.load(reference)).mean())
        if truth is not None:
            dice = dice_per_class(labels, np.load(truth), loaded.network.classes)
            figures |= {f"dice {number}": value for number, value in enumerate(dice, start=1) if value is not None}
        return figures

    return Work(torch.inference_mode()(segment), there, judge)


def fits_single_pass(network: UNet, shape: tuple[int, ...], device: torch.device) -> bool:
    """Whether a single pass leaves memory of the device for others."""
    free = next(each.free_bytes for each in available_devices() if each.name.startswith(device.type))
    return single_pass_bytes(network, shape) < MOST_OF_FREE * free


def _network(model: Model, device: torch.device, *, best: bool) -> UNet:
    network = model.network.to(device)
    if not best:
        return network
    return folded(network).to(memory_format=CHANNELS_LAST[network.dimensions])


def folded(network: UNet) -> UNet:
    """A copy without batch norm: its scales and shifts are in the convolutions before."""
    network = copy.deepcopy(network)
    for block in network.modules():
        if isinstance(block, nn.Sequential):
            for index, layer in enumerate(block):
                if isinstance(layer, tuple(BATCH_NORM.values())):
                    block[index - 1] = nn.utils.fuse_conv_bn_eval(block[index - 1], layer)
                    block[index] = nn.Identity()
    return network


def _tile(network: UNet, image: Tensor, edge: int) -> tuple[int, ...]:
    if network.dimensions == 3:
        return (edge,) * 3
    return tuple(min(SLICE_TILE, size) for size in padded_shape(network, image.shape[1:])[1:])


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])
