"""What every downstream task is: a reward over feat and act, and whether it was solved."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.types import WorldSpec

Array = NDArray[Any]


class Task:
    """Base of all tasks. `title` names it; `ends` says that success ends an episode.

    A task may remember something of each episode, `memory` [N, M], and show what obs lacks.
    """

    width: int = 0
    """W, the numbers that are shown behind obs."""
    can_succeed: bool = False

    def __init__(self, world: WorldSpec, title: str, ends: bool) -> None:
        self.world, self.title, self.ends = world, title, ends
        self.places: Array = np.zeros((0, 3))  # for pictures: circles of x, y, radius, m

    def begin(self, n: int) -> Array:
        """The memory of n episodes that begin, [n, M]."""
        return np.zeros((n, 0), np.float32)

    def show(self, feat: Array, memory: Array) -> Array:
        """What is shown behind obs in a state of these feats and this memory, [N, W] float32."""
        return memory

    def judge(
        self, before: Array, feat: Array, act: Array, rew: Array, memory: Array
    ) -> tuple[Array, Array, Array]:
        """Reward [N] float64, success [N] bool and the memory after a step.

        `before` and `feat` [N, F] are the feats before and after it, `act` [N, A] is what the world
        was given, `rew` [N] its own reward.
        """
        raise NotImplementedError
