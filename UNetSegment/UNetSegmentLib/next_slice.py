"""Which slice is proposed next, from what is segmented and confirmed and, where wanted, from the uncertainty."""

from __future__ import annotations

from collections.abc import Callable

from unetseg.suggestion import SliceScores, Suggestion, score_slices, suggest
from unetseg.volume import LabelArray

from .corrections import Changes, Corrections
from .workspace import Workspace

SUGGEST_BY_UNCERTAINTY = False
"""Where the network's uncertainty is known, propose the slice where it is least sure, instead of the largest gap.

Off as long as ``Testing/benchmarks/suggestion_study.py`` does not find that this needs fewer slices.
"""

_SCORE = "score"


class NextSlice:
    """Remembers, of one prediction at a time, on which slices the network was unsure."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._scored: tuple[LabelArray, SliceScores] | None = None

    def learn(self, corrections: Corrections, uncertainty: LabelArray | None, onLearned: Callable[[], None]) -> None:
        """Look, in the next idle moments, how sure the network was of the baseline; None where that is not known."""
        self._workspace.tasks.cancel(_SCORE)
        if not SUGGEST_BY_UNCERTAINTY or uncertainty is None:
            return
        baseline = corrections.baseline

        def onScored(scores: SliceScores) -> None:
            self._scored = (baseline, scores)
            onLearned()

        steps = score_slices(baseline, uncertainty, corrections.spacing_mm)
        self._workspace.tasks.run(_SCORE, steps, onScored, self._workspace.report)

    def forget(self) -> None:
        """Another segmentation comes."""
        self._workspace.tasks.cancel(_SCORE)
        self._scored = None

    def choose(self, corrections: Corrections, changes: Changes) -> Suggestion | None:
        """The slice and why; None where every part of the structures is close to a slice that was seen."""
        # After an undo another prediction is the baseline, of which nothing is known any more.
        known = self._scored is not None and self._scored[0] is corrections.baseline
        return suggest(
            changes.foreground,
            [(taken.axis, taken.index) for taken in corrections.slices],
            corrections.skipped,
            corrections.spacing_mm,
            self._scored[1] if known else None,
        )
