"""What a retraining measured before it learned from every slice; plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unetseg.config import Label
from unetseg.labelled_slices import LabelledSlice, load_slices
from unetseg.messages import Dice, Train, Trained

from .comparison import predictedDice


@dataclass(frozen=True)
class Trial:
    """How the best of what was learned without the held-out slices did on them; the new version knows them by now.

    Attributes:
        slices, volumes: how many slices were held out, and of how many volumes.
        start: Dice per structure of the version that training started from; empty for a new network.
        before: Dice per structure of the version in use; empty where it is not known.
        after: Dice per structure of the best; empty where nothing was measured.
        earlierBefore, earlierAfter: mean Dice of the version that training started from and of the best on pieces of
            earlier cases; None where there are none.
        improved: False where nothing beat the version that training started from, which the new one then equals.
    """

    slices: int
    volumes: int
    start: Dice
    before: Dice
    after: Dice
    earlierBefore: float | None
    earlierAfter: float | None
    improved: bool


def readTrial(request: Train, trained: Trained, used: str, labels: Sequence[Label]) -> Trial:
    """The trial of a training whose job folder is still there; ``used`` is the id of the version in use.

    Raises:
        ImageError: the slices that were learned from cannot be read any more.
    """
    held = [case for case in request.cases if case.held_out_slices]
    if request.start_from is not None and Path(request.start_from).stem == used:
        before = trained.dice_before
    else:
        volumes = []
        for case in held:
            _shape, slices = load_slices(Path(request.folder, case.annotation))
            chosen = [taken for taken in slices if (taken.axis, taken.index) in case.held_out_slices]
            volumes.append((slices, chosen))
        before = _asPredicted(volumes, used, labels)
    return Trial(
        trained.held_out_slices,
        len(held) if trained.held_out_slices else 0,
        trained.dice_before,
        before,
        trained.dice_after,
        trained.replay_before,
        trained.replay_after,
        trained.improved,
    )


def _asPredicted(
    volumes: Sequence[tuple[Sequence[LabelledSlice], Sequence[LabelledSlice]]], used: str, labels: Sequence[Label]
) -> Dice:
    """Of the version in use, where it has segmented all of these slices before they were confirmed; else empty.

    A volume of which other slices were known then says nothing: they were carried into what it had predicted.
    """
    if not volumes or any(
        taken.version != used or taken.before is None for slices, _held in volumes for taken in slices
    ):
        return ()
    return predictedDice(volumes, labels)
