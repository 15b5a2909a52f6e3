"""A task whose reward is a formula over feat and act: see envs/expression.py for the grammar."""

from __future__ import annotations

import numpy as np

from envs.expression import Expression
from finetune.task.base import Array, Task
from rl.types import WorldSpec

__all__ = ["Formula"]


class Formula(Task):
    """`reward` is paid at every step; where `success` is not 0 the task is solved (null: never)."""

    def __init__(
        self, *, world: WorldSpec, title: str, reward: str, success: str | None, ends: bool
    ) -> None:
        super().__init__(world, title, ends)
        self._reward = Expression(reward, world, "task.reward")
        self._success = None if success is None else Expression(success, world, "task.success")
        self.can_succeed = self._success is not None
        if ends and self._success is None:
            raise ValueError("task.ends=true needs task.success, a formula that says when")

    def judge(
        self, before: Array, feat: Array, act: Array, rew: Array, memory: Array
    ) -> tuple[Array, Array, Array]:
        paid = self._reward(feat, act, before, rew)
        if self._success is None:
            return paid, np.zeros(len(paid), np.bool_), memory
        return paid, self._success(feat, act, before, rew) != 0, memory
