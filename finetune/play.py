"""Play: the task's own actions and the skills side by side, under one controller.

At each decision the controller gives an action and A + 1 + K numbers' worth of opinion: the largest
of the last 1 + K says whether that action is taken for one step or a skill for k steps. That is the
actor of a parameterised action space (Hausknecht & Stone 2015, arXiv 1511.04143), so one continuous
SAC does it; durations differ, which the semi-MDP target accounts for (finetune/options.py).
"""

from __future__ import annotations

from collections.abc import Callable

from finetune.base import Learner, Setting, Strategy
from finetune.options import OptionLearner
from rl.types import Agent

__all__ = ["Play"]


class Play(Strategy):
    """Skills act for `skill_steps` env steps; `controller` builds an agent with replay.

    The controller `sees` all of obs, or only what the task shows behind it.
    """

    def __init__(self, *, skill_steps: int, sees: str, controller: Callable[..., Agent]) -> None:
        self.skill_steps, self.sees, self.controller = skill_steps, sees, controller

    def learner(self, setting: Setting) -> Learner:
        return OptionLearner(setting, self.skill_steps, True, self.sees, self.controller)
