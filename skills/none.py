"""Plain reinforcement learning on the world's own reward: no skills. The control of every claim."""

from __future__ import annotations

from skills.base import Skill

__all__ = ["NoSkill"]


class NoSkill(Skill):
    """No z; the reward is the world's."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed)
