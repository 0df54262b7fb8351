"""Whether the images show bright what the network knows as dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..config import Plan
from ..data import PreparedCase
from ..data.annotations import PLANE_SHARE, labelled_planes, labelled_structures
from ..networks import UNet
from ..volume import UNLABELLED
from .progress import mean_dice
from .validation import labelled_part, validator

CLEARLY_BETTER = 0.1
"""Mean Dice on the labelled slices, by which the inverted image must be the better one."""
MOST_SLICES = 4
"""That the network is tried on, of all cases together. A single one may be one that it makes nothing of either way."""


def with_contrast(
    network: UNet, cases: Sequence[PreparedCase], plan: Plan, *, classes: int
) -> tuple[Plan, tuple[bool, ...]]:
    """The plan with each channel inverted or not, whichever the network makes more of.

    T1- and T2-weighted images, or bright and dark field, show the same shapes in opposite contrast. A network that
    has learned one of them fails on the other, but not on its negative: to see that takes seconds, to learn it takes
    a training. Channels are tried one after the other, on the slices that show most.

    Returns:
        The plan, and per channel whether its normalised values change their sign.
    """
    useful = [case for case in cases if labelled_structures(case.annotation).any()][:MOST_SLICES]
    clearest = [part for case in useful for part in _clearest_slices(case, MOST_SLICES // len(useful))]
    shown = [labelled_part(part, plan.patch_size, network.size_multiple) for part in clearest]
    inverted = (False,) * len(plan.normalisation)
    best = _score(network, shown, inverted, plan, classes)
    for channel in range(len(inverted)):
        tried = tuple(flip != (index == channel) for index, flip in enumerate(inverted))
        score = _score(network, shown, tried, plan, classes)
        if score > best + CLEARLY_BETTER:
            inverted, best = tried, score
    flipped = [
        replace(entry, inverted=entry.inverted != flip)
        for entry, flip in zip(plan.normalisation, inverted, strict=True)
    ]
    return replace(plan, normalisation=tuple(flipped)), inverted


def inverted_case(case: PreparedCase, inverted: Sequence[bool]) -> PreparedCase:
    """The case with the sign of these channels changed; itself where there are none."""
    if not any(inverted):
        return case
    signs = np.where(inverted, -1, 1).astype(np.float32)
    return replace(case, image=case.image * signs[:, None, None, None])


def _clearest_slices(case: PreparedCase, count: int) -> list[PreparedCase]:
    """The case with nothing labelled but one slice, for each of those that show most of the structures."""
    shown = labelled_structures(case.annotation)
    planes = labelled_planes(case.annotation, least_share=PLANE_SHARE)
    voxels = {(axis, index): np.count_nonzero(shown.take(index, axis=axis)) for axis, index in planes}
    clearest = sorted(filter(voxels.get, voxels), key=voxels.__getitem__, reverse=True)[:count]
    return [_with_slice(case, *each) for each in clearest] or [case]


def _with_slice(case: PreparedCase, axis: int, index: int) -> PreparedCase:
    plane = (slice(None),) * axis + (index,)
    annotation = np.full_like(case.annotation, UNLABELLED)
    annotation[plane] = case.annotation[plane]
    return replace(case, annotation=annotation)


def _score(network: UNet, cases: Sequence[PreparedCase], inverted: Sequence[bool], plan: Plan, classes: int) -> float:
    shown = [inverted_case(case, inverted) for case in cases]
    return mean_dice(validator(network, shown, plan=plan, classes=classes)(network.state_dict()))
