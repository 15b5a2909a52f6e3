"""Eleven arms, one of which tells where the prize is (Wang et al., 1611.05763, section 3.1.3)."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.arms import Arms

__all__ = ["BanditInformative"]

PRIZES = 10  # arms that can hold the prize
PRIZE, CRUMB, HINT = 5.0, 1.0, 0.1  # what the target pays, what others pay, per place in the hint


class BanditInformative(Arms):
    """Pay-offs are sure: the target arm t of 1 to 10 pays 5, nine others 1, the last arm a hint.

    The hint is 0.1 t - cost. A task is t; ten are too few to divide, so held-out tasks are the
    same ten. In 5 pulls the hint first and the prize four times pays 20.55 - cost on average, and
    trying arms in turn 11.0: beyond a cost of 9.55 asking no longer pays, unless the first pull
    is not counted.
    """

    task_names = ("target",)
    task_units = ("arm",)
    baselines = ("random", "search", "informed", "best_arm")

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        pulls: int,
        cost: float,
        name: str = "bandit_informative",
    ) -> None:
        self.cost = cost
        super().__init__(name=name, num_envs=num_envs, seed=seed, arms=PRIZES + 1, pulls=pulls)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.integers(1, PRIZES + 1, (n, 1)).astype(np.float64)

    def all_tasks(self, held_out: bool) -> Array:
        return np.arange(1.0, PRIZES + 1)[:, None]

    def means(self, tasks: Array) -> Array:
        target = tasks[:, 0]
        means = np.full((len(tasks), PRIZES + 1), CRUMB)
        # Worlds that have not entered a task yet are in "task 0", where nothing holds the prize.
        found = target >= 1
        means[found, target[found].astype(np.int64) - 1] = PRIZE
        means[:, -1] = HINT * target - self.cost
        return means

    def marks(self, act: Array, next_feat: Array) -> dict[str, float]:
        """Regret, and the share of trials that begin with the informative arm."""
        asked = float((act[0].argmax(-1) == PRIZES).mean())
        return {**super().marks(act, next_feat), "first_informative": asked}

    def _pay(self, mean: Array) -> Array:
        return mean
