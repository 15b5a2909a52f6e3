"""The oracle: a policy that is told its task. What learning from experience can at best come to.

J(theta) = E_tasks[return of pi_theta(.|obs, task)] by a trust region (rl/trpo.py); no inner steps.
"""

from __future__ import annotations

from meta.maml import MAML

__all__ = ["Oracle"]


class Oracle(MAML):
    """The task's numbers are part of its observation; its `inner_lr` of 0 makes adapting idle."""

    told = True
