"""Policies with known answers for the point families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from meta.trial import Last, Memory
from rl.types import Batch


class Straight:
    """An oracle for goals in the plane: told the goal, it goes there as fast as each axis allows.

    That is the best there is: -0.506 an episode of `point_goal` in the mean over goals, where
    moves along the line to the goal, the longer axis at full speed, score -0.536.
    """

    told = True
    hears = False
    width = 1

    def __init__(self, family: Any, seed: int) -> None:
        """`family` is one of the point families; nothing here is drawn, so `seed` is unused."""
        self._reach, self._unit = float(family.reach), float(family.unit)

    def rounds(self, horizon: int) -> Sequence[int]:
        return (horizon,)

    def begin(self, n: int, told: Tensor | None) -> Memory:
        return told

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]:
        return ((memory - obs * self._unit) / self._reach).clamp(-1.0, 1.0), {}, memory

    def adapt(self, memory: Memory, rollout: Batch) -> Memory:
        return memory
