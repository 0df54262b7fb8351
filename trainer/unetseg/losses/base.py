"""What every loss is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Loss(ABC):
    """A scalar to minimise: the sum of named terms."""

    @abstractmethod
    def terms(self, logits: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """The summands, scalars, by name.

        Args:
            logits: floating point, (N, K, *s).
            target: int64, (N, *s); its values count only where the weight is above 0.
            weight: floating point ≥ 0, (N, *s); see ``labelled`` for what 0 means.
        """

    def __call__(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The sum of the ``terms``, a scalar."""
        first, *others = self.terms(logits, target, weight).values()
        return sum(others, start=first)
