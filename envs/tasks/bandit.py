"""Bernoulli bandits with independent arms (RL², Duan et al., arXiv 1611.02779, section 3.1)."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.arms import Arms

__all__ = ["Bandit"]


class Bandit(Arms):
    """k arms that pay 1 with chances p_i ~ U(0, 1), else 0. A task is p, so no two are the same."""

    baselines: tuple[str, ...] = (
        "random",
        "thompson",
        "ucb",
        "epsilon_greedy",
        "gittins",
        "bayes_optimal",
        "best_arm",
    )

    def __init__(
        self, *, num_envs: int, seed: int, arms: int, pulls: int, name: str = "bandit"
    ) -> None:
        self.task_names = tuple(f"p{i}" for i in range(1, arms + 1))
        self.task_units = ("chance",) * arms
        # Exact answers exist where they can be computed: see meta/exact_bandits.py.
        small = pulls <= 12 or (arms == 2 and pulls <= 120)
        beyond = set() if small else {"bayes_optimal"}
        beyond |= set() if pulls <= 120 else {"gittins"}
        self.baselines = tuple(b for b in Bandit.baselines if b not in beyond)
        super().__init__(name=name, num_envs=num_envs, seed=seed, arms=arms, pulls=pulls)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.random((n, self.task_dim))

    def means(self, tasks: Array) -> Array:
        return tasks.copy()
