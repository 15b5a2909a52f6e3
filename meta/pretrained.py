"""Pretraining on all tasks at once, the control of MAML: one policy, best in the mean over tasks.

The inner rate of training is zero: J(theta) = E_tasks[return of pi_theta], by the same trust region
(rl/trpo.py). On a new task it takes the same gradient steps as the others, at `inner_lr`.
"""

from __future__ import annotations

from meta.evidence import Evidence
from meta.maml import MAML

__all__ = ["Pretrained"]


class Pretrained(MAML):
    """Multi-task policy search; it adapts only where it is tested.

    At a rate of zero all episodes of a trial are alike, and the first stands for those that count.
    """

    def _used(self, evidence: list[Evidence]) -> list[Evidence]:
        return evidence[:1]

    def counts(self, k: int) -> bool:
        """Whether any episode of the trial does."""
        return self.burn_in < self.horizon
