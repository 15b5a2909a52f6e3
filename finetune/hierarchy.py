"""Hierarchy: the skills are frozen, and a controller picks one every k steps.

DIAYN's hierarchical RL (arXiv 1802.06070, section 4.2.2; k = 10 and 100 there) and METRA's and
CSF's zero-shot controllers (k = 25). The controller is discrete SAC over K choices.
"""

from __future__ import annotations

from collections.abc import Callable

from finetune.base import Learner, Setting, Strategy
from finetune.options import OptionLearner
from rl.types import Agent

__all__ = ["Hierarchy"]


class Hierarchy(Strategy):
    """Skills act for `skill_steps` env steps; `controller` builds an agent with replay.

    The controller `sees` all of obs, or only what the task shows behind it.
    """

    def __init__(self, *, skill_steps: int, sees: str, controller: Callable[..., Agent]) -> None:
        self.skill_steps, self.sees, self.controller = skill_steps, sees, controller

    def learner(self, setting: Setting) -> Learner:
        return OptionLearner(setting, self.skill_steps, False, self.sees, self.controller)
