"""Made-up abdominal MR volumes with known labels: the data of ``make demo`` and of many tests.

The anatomy is a list of ellipsoids in body coordinates (superior, posterior, left; -1 … 1 over the field of view),
painted one over the other, each with its own random size, place and bumps and all of them bent by one smooth random
warp. A voxel on a surface takes the share of each tissue that lies inside it (partial volume); bowel loops and a vein
look like the organs but are background. Noise is that of a magnitude image (Rician), shading a smooth bias field.

The domain ``shifted`` is another scanner and sequence: kidneys and fluid are bright, the liver is darker than spleen
and fat, shading and noise are stronger and bodies have other proportions. A network trained on ``first`` loses much of
the organs there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .config import Label
from .errors import SettingsError, unknown_name
from .files import atomic_path
from .image_io import write_image, write_label_map
from .volume import FloatArray, Geometry, LabelMap, Shape, Vector, Volume

Domain = Literal["first", "shifted"]

LIVER, KIDNEYS, AORTA = 1, 2, 3

PHANTOM_LABELS = (
    Label(0, "background", (0, 0, 0)),
    Label(LIVER, "liver", (221, 130, 101)),
    Label(KIDNEYS, "kidneys", (111, 184, 210)),
    Label(AORTA, "aorta", (214, 39, 40)),
)

INFINITE = 1e6
"""The radius of what runs through the whole image."""


@dataclass(frozen=True)
class _Part:
    """One ellipsoid of the body, of one tissue or of several in layers.

    Attributes:
        layers: tissues and the sizes relative to ``radii`` up to which they reach, from outside to inside.
        centre, radii: in body coordinates (superior, posterior, left).
        label: of the layers of relative size up to 1; 0 is background.
    """

    layers: tuple[tuple[str, float], ...]
    centre: Vector
    radii: Vector
    label: int = 0


@dataclass(frozen=True)
class _Look:
    """How a domain images the body.

    Attributes:
        intensity: per tissue, arbitrary units; air is 0.
        noise_std: of the real and imaginary part, in the same units.
        bias: standard deviation of the logarithm of the shading.
        stretch: mean size of all organs relative to ``ANATOMY``, per axis.
    """

    intensity: Mapping[str, float]
    noise_std: float
    bias: float
    stretch: Vector


KIDNEY = (("fat", 1.3), ("kidney", 1.0), ("medulla", 0.45))
BODY = (
    _Part((("fat", 1.0), ("muscle", 0.88)), (0.0, 0.0, 0.0), (INFINITE, 0.86, 0.92)),
    _Part((("fat", 1.0),), (-0.25, 0.05, 0.0), (0.95, 0.56, 0.66)),
    _Part((("bone", 1.0),), (0.0, 0.6, 0.0), (INFINITE, 0.17, 0.15)),
    _Part((("spleen", 1.0),), (0.4, 0.12, 0.56), (0.36, 0.3, 0.16)),
    _Part((("fluid", 1.0),), (0.4, -0.3, 0.36), (0.3, 0.24, 0.26)),
)
ORGANS = (
    _Part((("liver", 1.0),), (0.35, -0.12, -0.36), (0.55, 0.46, 0.36), LIVER),
    _Part(KIDNEY, (-0.3, 0.34, -0.48), (0.44, 0.21, 0.18), KIDNEYS),
    _Part(KIDNEY, (-0.2, 0.34, 0.48), (0.44, 0.21, 0.18), KIDNEYS),
    _Part((("blood", 1.0),), (0.0, 0.33, -0.15), (INFINITE, 0.07, 0.1)),
    _Part((("blood", 1.0),), (0.0, 0.33, 0.13), (INFINITE, 0.12, 0.12), AORTA),
)
BOWEL_LOOPS = 4
LOOKALIKES = ("liver", "kidney", "blood", "fluid")

LOOKS: dict[str, _Look] = {
    "first": _Look(
        {
            "fat": 210.0,
            "muscle": 85.0,
            "bone": 150.0,
            "liver": 135.0,
            "spleen": 105.0,
            "kidney": 110.0,
            "medulla": 80.0,
            "blood": 45.0,
            "fluid": 60.0,
        },
        noise_std=7.0,
        bias=0.1,
        stretch=(1.0, 1.0, 1.0),
    ),
    "shifted": _Look(
        {
            "fat": 125.0,
            "muscle": 55.0,
            "bone": 90.0,
            "liver": 85.0,
            "spleen": 130.0,
            "kidney": 165.0,
            "medulla": 190.0,
            "blood": 40.0,
            "fluid": 210.0,
        },
        noise_std=12.0,
        bias=0.2,
        stretch=(0.9, 1.15, 1.05),
    ),
}


def make_phantom(
    generator: np.random.Generator,
    *,
    shape: Shape = (48, 64, 64),
    spacing_mm: Vector = (2.5, 1.25, 1.25),
    oblique: bool = False,
    domain: Domain = "first",
) -> tuple[Volume, LabelMap]:
    """Draw one body.

    Args:
        generator: the same state gives the same volume.
        shape, spacing_mm: of the grid (D, H, W); the body is scaled to fill it.
        oblique: the grid is turned by up to 20° about each axis, so that the body lies aslant in it.
        domain: a name of the two scanners ``first`` and ``shifted``.

    Returns:
        One-channel volume (1, D, H, W) with values ≥ 0, and its labels (``PHANTOM_LABELS``).

    Raises:
        SettingsError: an unknown domain, or an axis with fewer than 8 voxels.
    """
    if domain not in LOOKS:
        raise unknown_name("domain", domain, LOOKS)
    if min(shape) < 8:
        raise SettingsError("A phantom needs at least 8 voxels along each axis", received=shape)
    look = LOOKS[domain]
    geometry = _geometry(generator, shape, spacing_mm, oblique=oblique)
    points = _body_coordinates(geometry)
    bent = points + 0.05 * np.stack([_smooth_field(generator, points, wavelength=1.5) for _ in range(3)])
    image = np.zeros(shape, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    for part in _individual(generator, look.stretch):
        bumps = 1 + 0.05 * _smooth_field(generator, points, wavelength=1.0)
        texture = 1 + 0.05 * _smooth_field(generator, points, wavelength=0.2)
        for tissue, size in part.layers:
            share = _inside_share(part, size * bumps, bent)
            image += share * (look.intensity[tissue] * texture - image)
            labels[share > 0.5] = part.label if size <= 1 else 0
    image *= np.exp(look.bias * _smooth_field(generator, points, wavelength=2.5))
    real, imaginary = look.noise_std * generator.standard_normal((2, *shape), dtype=np.float32)
    magnitude = np.hypot(image + real, imaginary).astype(np.float32)
    return Volume(magnitude[None], geometry), LabelMap(labels, geometry)


def write_phantom_cases(
    folder: Path,
    *,
    count: int,
    seed: int,
    domain: Domain = "first",
    shape: Shape = (48, 64, 64),
    spacing_mm: Vector = (2.5, 1.25, 1.25),
    oblique: bool = False,
) -> tuple[str, ...]:
    """Write cases as ``images/NAME.nii.gz``, ``labels/NAME.nii.gz`` and a ``dataset.json`` as in MSD.

    Case *i* depends on ``seed`` and *i* only, so that a larger ``count`` adds cases to the same ones.

    Returns:
        The cases' names.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = tuple(f"phantom_{index:03d}" for index in range(count))
    for index, name in enumerate(names):
        volume, label_map = make_phantom(
            np.random.default_rng([seed, index]), shape=shape, spacing_mm=spacing_mm, oblique=oblique, domain=domain
        )
        write_image(folder / "images" / f"{name}.nii.gz", volume.array, volume.geometry)
        write_label_map(folder / "labels" / f"{name}.nii.gz", label_map)
    description = {
        "name": "phantom",
        "modality": {"0": "MR"},
        "labels": {str(label.value): label.name for label in PHANTOM_LABELS},
        "numTraining": count,
        "training": [{"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"} for name in names],
    }
    with atomic_path(folder / "dataset.json") as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return names


def _geometry(generator: np.random.Generator, shape: Shape, spacing_mm: Vector, *, oblique: bool) -> Geometry:
    """A grid around the origin."""
    axes = np.array(Geometry(shape).direction)
    for a, b in ((0, 1), (0, 2), (1, 2)) if oblique else ():
        angle = np.radians(generator.uniform(8.0, 20.0) * generator.choice([-1, 1]))
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        axes = turn @ axes
    centre = axes @ ((np.array(shape) - 1) / 2 * spacing_mm)
    x, y, z = (float(-value) for value in centre)
    rows = [(float(row[0]), float(row[1]), float(row[2])) for row in axes]
    return Geometry(shape, spacing_mm, (x, y, z), (rows[0], rows[1], rows[2]))


def _body_coordinates(geometry: Geometry) -> FloatArray:
    """(3, D, H, W): superior, posterior, left of each voxel, ±1 at the faces of an upright grid of this size."""
    indices = np.indices(geometry.shape, dtype=np.float32).reshape(3, -1)
    matrix = geometry.index_to_world.astype(np.float32)
    left, posterior, superior = matrix[:3, :3] @ indices + matrix[:3, 3:]
    half = np.multiply(geometry.shape, geometry.spacing_mm).astype(np.float32) / 2
    points = np.asarray(np.stack([superior, posterior, left]) / half[:, None], dtype=np.float32)
    return points.reshape(3, *geometry.shape)


def _smooth_field(generator: np.random.Generator, points: FloatArray, *, wavelength: float) -> FloatArray:
    """A random function of place, mean 0 and standard deviation 1: a sum of plane waves of random directions."""
    waves = 8
    directions = generator.standard_normal((waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    steps = (2 * np.pi / wavelength * generator.uniform(0.7, 1.3, (waves, 1)) * directions).astype(np.float32)
    phases = generator.uniform(0, 2 * np.pi, waves).astype(np.float32)
    field: FloatArray = np.zeros(points.shape[1:], dtype=np.float32)
    for step, phase in zip(steps, phases, strict=True):
        field += np.cos(np.tensordot(step, points, axes=1) + phase)
    field *= np.sqrt(2 / waves)
    return field


def _individual(generator: np.random.Generator, stretch: Vector) -> list[_Part]:
    """One body: the anatomy with individual places and sizes, and bowel loops under the organs."""
    loops = [
        _Part(
            ((str(generator.choice(LOOKALIKES)), 1.0),),
            _vector(generator.uniform((-0.9, -0.45, -0.5), (0.1, 0.05, 0.5))),
            _vector(generator.uniform(0.08, 0.2, 3)),
        )
        for _ in range(BOWEL_LOOPS)
    ]
    organs = [
        replace(
            part,
            centre=_vector(np.add(part.centre, generator.uniform(-0.04, 0.04, 3))),
            radii=_vector(np.multiply(part.radii, stretch) * generator.uniform(0.88, 1.12, 3)),
        )
        for part in ORGANS
    ]
    return [*BODY, *loops, *organs]


def _vector(values: NDArray[np.float64]) -> Vector:
    d, h, w = (float(value) for value in values)
    return d, h, w


def _inside_share(part: _Part, size: FloatArray, points: FloatArray) -> FloatArray:
    """The share (0–1) of each voxel that lies inside, taking the surface for a plane within the voxel."""
    centre, radii = (np.array(x, dtype=np.float32)[:, None, None, None] for x in (part.centre, part.radii))
    level = size - np.linalg.norm((points - centre) / radii, axis=0)
    change_across_voxel = sum(np.abs(np.gradient(level, axis=axis)) for axis in range(3))
    share: FloatArray = np.clip(0.5 + level / np.maximum(change_across_voxel, 1e-6), 0, 1)
    return share
