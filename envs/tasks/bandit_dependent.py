"""Two arms, of which one tells about the other (Wang et al., arXiv 1611.05763, section 3.1.2)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from envs.base import Array
from envs.tasks.arms import Arms

__all__ = ["BanditDependent"]

_LOW = {"easy": 0.1, "medium": 0.25, "hard": 0.4}


class BanditDependent(Arms):
    """Two Bernoulli arms with chances p and 1 - p; a task is both.

    `uniform`: p ~ U(0, 1). `easy`, `medium`, `hard`: p is one of {0.1, 0.9}, {0.25, 0.75},
    {0.4, 0.6}; two tasks are too few to divide, so held-out tasks are the same two.
    `independent`: both chances ~ U(0, 1), the control in which nothing is shared.
    """

    task_names = ("p1", "p2")
    task_units = ("chance", "chance")
    baselines: tuple[str, ...] = ("random", "thompson", "ucb", "best_arm")

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        kind: Literal["uniform", "easy", "medium", "hard", "independent"],
        pulls: int,
        name: str = "bandit_dependent",
    ) -> None:
        super().__init__(name=name, num_envs=num_envs, seed=seed, arms=2, pulls=pulls)
        self.kind = kind
        optimal = "bayes_optimal" if kind == "independent" else "pooled"
        self.baselines = (*BanditDependent.baselines, optimal)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        if self.kind == "independent":
            return rng.random((n, 2))
        p = rng.random(n)
        if self.kind in _LOW:
            low = _LOW[self.kind]
            p = np.where(p < 0.5, low, 1.0 - low)
        return np.stack([p, 1.0 - p], 1)

    def all_tasks(self, held_out: bool) -> Array | None:
        if self.kind not in _LOW:
            return None
        low = _LOW[self.kind]
        return np.array([[low, 1.0 - low], [1.0 - low, 1.0 - (1.0 - low)]])

    def means(self, tasks: Array) -> Array:
        return tasks.copy()
