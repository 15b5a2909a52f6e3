"""No learning to learn: an untrained start. What gradient steps on a task do by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from meta.gradient import GradientLearner
from rl.types import Batch, Metrics

__all__ = ["Scratch"]


class Scratch(GradientLearner):
    """The control of all controls: the start stays as it was drawn."""

    def update(self, trials: Sequence[Batch]) -> Metrics:
        """Nothing but the scale of obs; the steps were taken all the same, and are counted."""
        self._observe(trials)
        return {}
