"""Training batches out of whole cases."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..augmentation import Coordinates, augment_intensity, draw_coordinates, sample_linear, sample_nearest
from ..config import AugmentationSettings
from ..errors import TrainingDataError
from ..volume import UNLABELLED, LabelArray, Shape, Vector
from .annotations import PLANE_SHARE, PreparedCase, labelled_planes, plane_axis
from .sampling import LabelledVoxels, find_labelled_voxels, place_patch

EDIT_MARGIN_VOXELS = 2
"""How far around a changed voxel the edit weight reaches within the slice."""

NEAR_LABELS_VOXELS = 3
"""How far around labelled voxels the opinion of another network about them is not asked for."""

MOST_SLICES = 0.8
"""With labels on this share of the slices, their distance from the patch's borders no longer tells where labels are."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one training step sees; ``*s`` is (d, h, w), or (h, w) for 2D networks.

    Attributes:
        image: float32, (N, C, *s).
        target: int64, (N, *s), 0 … classes - 1; 0 where the weight is 0.
        weight: float32, (N, *s); 0 where nobody labelled and outside the image.
        opinion: float32, (N, K, *s); where given, probabilities to come near to, instead of the target.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    opinion: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Source:
    """A case as tensors, with what is known about its labels.

    ``planes`` are the labelled slices of a sparse annotation; ``plane_axis`` is None for a dense one, ``free_axis``
    also where labels lie scattered over ``MOST_SLICES`` across it.
    """

    image: Tensor
    annotation: Tensor
    heavy: Tensor | None
    spacing_mm: Vector
    voxels: LabelledVoxels
    planes: frozenset[tuple[int, int]]
    plane_axis: int | None
    free_axis: int | None

    @functools.cached_property
    def unlabelled(self) -> Tensor:
        """Where no labelled voxel is near."""
        labelled = self.annotation.numpy() != UNLABELLED
        return torch.from_numpy(~_with_margin(labelled, range(3), NEAR_LABELS_VOXELS))


class BatchSource:
    """Draws augmented patches around labelled voxels.

    Every case is drawn equally often, however many voxels of it are labelled (nnU-Net issue 2124). Of the
    samples, every other is centred (with jitter) on a class-balanced voxel, the rest on any labelled voxel, of
    these half on the user's edits where there are any. ``batch`` has no state: the same seed and iteration
    always give the same batch, so that a resumed training continues bit for bit.

    Args:
        cases: on the network's grid; those without labelled voxels are passed over.
        patch_size: (d, h, w); for ``dimensions`` 2 (1, h, w): patches are cut out of slices along D.
        class_weights: factor on the weight of each class's voxels.
        edit_weight: factor on voxels that the user changed and up to two voxels around them in the slice.

    Raises:
        TrainingDataError: no case has a labelled voxel.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        *,
        patch_size: Shape,
        batch_size: int,
        classes: int,
        dimensions: int,
        augmentation: AugmentationSettings,
        class_weights: Sequence[float],
        edit_weight: float,
        seed: int,
    ) -> None:
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.dimensions = dimensions
        self.augmentation = augmentation
        self.edit_weight = edit_weight
        self.seed = seed
        self._class_weights = torch.zeros(256)
        self._class_weights[:classes] = torch.tensor(np.asarray(class_weights), dtype=torch.float32)
        self._sources = [_make_source(case, classes) for case in cases if (case.annotation != UNLABELLED).any()]
        if not self._sources:
            raise TrainingDataError(
                "Training needs labelled voxels",
                received=f"none in {len(cases)} case(s)",
                remedy="Correct or confirm at least one slice",
            )

    def batch(self, iteration: int) -> Batch:
        """The batch of one iteration, 0, 1, 2, …"""
        return self._batch([self._sample(iteration, number) for number in range(self.batch_size)])

    def unlabelled_batch(self, iteration: int) -> Batch:
        """The same cases, anywhere: weight 1 where no labelled voxel is within three slices, else 0; no target."""
        return self._batch([self._unlabelled_sample(iteration, number) for number in range(self.batch_size)])

    def _batch(self, samples: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Batch:
        image, target, weight = (torch.stack(tensors) for tensors in zip(*samples, strict=True))
        if self.dimensions == 2:
            image, target, weight = image.squeeze(2), target.squeeze(1), weight.squeeze(1)
        return Batch(image, target, weight)

    def _sample(self, iteration: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = np.random.default_rng([self.seed, iteration, number])
        source = self._sources[generator.integers(len(self._sources))]
        balanced = (iteration + number) % 2 == 0
        voxel = source.voxels.draw_balanced(generator) if balanced else source.voxels.draw_any(generator)
        across = self._across(generator, source, voxel)
        coordinates = self._coordinates(
            generator, source, voxel, free_axis=across, plane_axis=self._still_axis(generator, source, across)
        )
        return self._image(generator, source, coordinates), *self._labels(source, coordinates)

    def _unlabelled_sample(self, iteration: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = np.random.default_rng([self.seed, iteration, number])
        source = self._sources[generator.integers(len(self._sources))]
        d, h, w = (int(generator.integers(length)) for length in source.voxels.shape)
        still = 0 if self.dimensions == 2 else None
        coordinates = self._coordinates(generator, source, (d, h, w), free_axis=None, plane_axis=still)
        weight = sample_nearest(source.unlabelled, coordinates, outside=0).float()
        return self._image(generator, source, coordinates), torch.zeros_like(weight, dtype=torch.int64), weight

    def _coordinates(
        self,
        generator: np.random.Generator,
        source: _Source,
        voxel: Shape,
        *,
        free_axis: int | None,
        plane_axis: int | None,
    ) -> Coordinates:
        shape, patch_size = source.voxels.shape, self.patch_size
        place = place_patch(generator, voxel=voxel, shape=shape, patch_size=patch_size, free_axis=free_axis)
        return draw_coordinates(
            generator,
            self.augmentation,
            patch_size=patch_size,
            voxel=voxel,
            place=place,
            spacing_mm=source.spacing_mm,
            plane_axis=plane_axis,
        )

    def _image(self, generator: np.random.Generator, source: _Source, coordinates: Coordinates) -> Tensor:
        return augment_intensity(
            sample_linear(source.image, coordinates), generator, self.augmentation, spacing_mm=source.spacing_mm
        )

    def _across(self, generator: np.random.Generator, source: _Source, voxel: Shape) -> int | None:
        """The axis across the labelled plane that the sample is taken from; None where there is none to move along."""
        if self.dimensions == 2 or min(source.voxels.shape) == 1:
            return None
        through_voxel = [axis for axis in range(3) if (axis, voxel[axis]) in source.planes]
        return through_voxel[generator.integers(len(through_voxel))] if through_voxel else source.free_axis

    def _still_axis(self, generator: np.random.Generator, source: _Source, across: int | None) -> int | None:
        """The axis that the sample's spatial changes leave alone, if any."""
        if self.dimensions == 2:
            return 0
        if min(source.voxels.shape) == 1:
            return source.plane_axis
        return across if across is not None and generator.random() < self.augmentation.plane_probability else None

    def _labels(self, source: _Source, coordinates: Coordinates) -> tuple[Tensor, Tensor]:
        target = sample_nearest(source.annotation, coordinates, outside=UNLABELLED).long()
        weight = self._class_weights[target]
        if source.heavy is not None:
            heavy = sample_nearest(source.heavy, coordinates, outside=0)
            weight = torch.where(heavy, weight * self.edit_weight, weight)
        return target.masked_fill(target == UNLABELLED, 0), weight


def _make_source(case: PreparedCase, classes: int) -> _Source:
    axis = plane_axis(case.annotation)
    planes = frozenset(labelled_planes(case.annotation, least_share=PLANE_SHARE) if axis is not None else ())
    scattered = axis is not None and not planes and _share_of_slices(case.annotation, axis) >= MOST_SLICES
    return _Source(
        image=_tensor(case.image),
        annotation=_tensor(case.annotation),
        heavy=None
        if case.edited is None
        else _tensor(_with_margin(case.edited, _slice_axes(planes, axis), EDIT_MARGIN_VOXELS)),
        spacing_mm=case.spacing_mm,
        voxels=find_labelled_voxels(case, classes=classes),
        planes=planes,
        plane_axis=axis,
        free_axis=None if scattered else axis,
    )


def _share_of_slices(annotation: LabelArray, axis: int) -> float:
    """Of the slices across the axis, how many hold a labelled voxel."""
    return float((annotation != UNLABELLED).any(axis=tuple({0, 1, 2} - {axis})).mean())


def _slice_axes(planes: frozenset[tuple[int, int]], axis: int | None) -> tuple[int, ...]:
    """The axes that lie in the labelled slices; all three where slices of several directions are labelled."""
    several = len({across for across, _ in planes}) > 1
    return tuple(other for other in range(3) if several or other != axis)


def _with_margin(mask: NDArray[np.bool_], axes: Iterable[int], voxels: int) -> NDArray[np.bool_]:
    grown = mask.copy()
    for axis in axes:
        before = np.moveaxis(grown.copy(), axis, 0)
        after = np.moveaxis(grown, axis, 0)
        for step in range(1, voxels + 1):
            after[step:] |= before[:-step]
            after[:-step] |= before[step:]
    return grown


def _tensor(array: NDArray[Any]) -> Tensor:
    """Without a copy where torch allows it: contiguous and writable."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
