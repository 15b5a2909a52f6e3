"""Two arms whose chances drift (Wang et al., arXiv 1611.05763, section 3.1.4)."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.arms import Arms
from rl.types import State

__all__ = ["BanditRestless"]


class BanditRestless(Arms):
    """Bernoulli arms with chances p and 1 - p, where p walks within [0, 1] through the whole trial.

    A task is where p starts, ~ U(0, 1), and its volatility, the standard deviation of its Gaussian
    step after every pull: `low` or `high` with equal chance. Walls reflect. The paper does not
    give its step sizes. The walk itself is chance within the trial: it belongs to no task, and
    only `enter` starts it anew.
    """

    task_names = ("start", "volatility")
    task_units = ("chance", "chance/pull")
    baselines = ("random", "thompson", "ucb", "rescorla_wagner", "walk_filter")

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        pulls: int,
        low: float,
        high: float,
        name: str = "bandit_restless",
    ) -> None:
        if not 0 <= low <= high <= 1:
            raise ValueError(f"tasks.low={low} and tasks.high={high} must be 0 <= low <= high <= 1")
        super().__init__(name=name, num_envs=num_envs, seed=seed, arms=2, pulls=pulls)
        self.low = low
        self.high = high

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        start = rng.random(n)
        return np.stack([start, np.where(rng.random(n) < 0.5, self.low, self.high)], 1)

    def means(self, tasks: Array) -> Array:
        return np.stack([tasks[:, 0], 1.0 - tasks[:, 0]], 1)

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        outcome = super()._advance(act)
        p = self._means[:, 0] + self.tasks[:, 1] * self._rng.standard_normal(self.num_envs)
        self._walk(np.clip(1.0 - np.abs(1.0 - np.abs(p)), 0.0, 1.0))  # mirrored at 0 and at 1
        return outcome

    def _walk(self, p: Array) -> None:
        self._means = np.stack([p, 1.0 - p], 1)
        self._best = np.maximum(p, 1.0 - p)

    def _save(self) -> State:
        return super()._save() | {"p": self._means[:, 0].copy()}

    def _load(self, state: State) -> None:
        super()._load(state)
        self._walk(np.array(state["p"], np.float64))
