"""What every bandit is: an episode is one pull, so a trial of H pulls has H episodes."""

from __future__ import annotations

import copy
from typing import Self

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Tasks
from rl.types import State


class Arms(Tasks):
    """Base of the bandits: k arms, nothing to see (obs [N, 1] is zero), and each pull is an end.

    Feats are of the pull just made: the mean reward of its arm and of the best arm, so the
    expected regret of a pull is `next_feat[..., 1] - next_feat[..., 0]`. A subclass keeps
    `_means` [N, k], the mean reward of each arm now, and draws rewards.
    """

    def __init__(self, *, name: str, num_envs: int, seed: int, arms: int, pulls: int) -> None:
        if arms < 2:
            raise ValueError(f"tasks.arms={arms}: a bandit needs at least 2 arms")
        if pulls < 1:
            raise ValueError(f"tasks.pulls={pulls}: a trial needs at least 1 pull")
        super().__init__(
            name=name,
            num_envs=num_envs,
            seed=seed,
            obs_dim=1,
            action_space=gymnasium.spaces.Discrete(arms),
            episodes=pulls,
            episode_steps=1,
            feat_names=("mean", "best_mean"),
            feat_units=("reward", "reward"),
        )
        self._rows = np.arange(num_envs)
        self._means: Array = np.zeros((num_envs, arms))
        self._best: Array = np.zeros(num_envs)
        self._pulled: Array = np.zeros((num_envs, 2), np.float32)
        self._always = np.ones(num_envs, np.bool_)

    def means(self, tasks: Array) -> Array:
        """The mean reward of every arm [n, k] at the start of these tasks [n, D], a fresh array."""
        raise NotImplementedError

    def twin(self, num_envs: int, seed: int) -> Self:
        """The same family with other worlds, for policies that are tuned on tasks of their own."""
        other = copy.copy(self)
        arms = self.spec.act_dim
        Arms.__init__(
            other, name=self.name, num_envs=num_envs, seed=seed, arms=arms, pulls=self.episodes
        )
        return other

    def marks(self, act: Array, next_feat: Array) -> dict[str, float]:
        """The expected regret of a trial to one that always pulls the best arm."""
        return {"regret": float((next_feat[..., 1] - next_feat[..., 0]).sum(0).mean())}

    def _enter(self) -> None:
        self._means = self.means(self.tasks)
        self._best = self._means.max(1)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._pulled[ids] = 0.0

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        mean = self._means[self._rows, act]
        self._pulled[:, 0] = mean
        self._pulled[:, 1] = self._best
        return self._pay(mean), self._always, self._steady

    def _observe(self) -> Array:
        return np.zeros((self.num_envs, 1), np.float32)

    def _feat(self) -> Array:
        return self._pulled.copy()

    def _save(self) -> State:
        return {"pulled": self._pulled.copy()}

    def _load(self, state: State) -> None:
        self._pulled = np.array(state["pulled"], np.float32)

    def _pay(self, mean: Array) -> Array:
        """The rewards [N] of arms with these means: one with that chance, else zero."""
        return (self._rng.random(self.num_envs) < mean).astype(np.float64)
