"""Harlow's two objects, one of which pays: learning to learn an abstract rule.

Wang et al., arXiv 1611.05763, section 3.2.2, with random vectors in place of pictures seen by an
eye that moves: what is left is the rule that one look is enough.
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Tasks
from rl.types import State

__all__ = ["Harlow"]


class Harlow(Tasks):
    """Obs [2 dim]: the left object, then the right one. Actions: 0 takes the left, 1 the right.

    The task row is the two objects, each from N(0, 1)^dim, the one that pays first: no object is
    ever met in two tasks. Taking it earns +1, the other -1, and ends the episode (`terminated`).
    Which of them lies left is drawn for every episode, so that a side tells nothing; the last
    observation of an episode shows the same two, and the sides change with the reset.
    """

    baselines = ("random", "win_stay")

    def __init__(self, *, num_envs: int, seed: int, episodes: int, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"tasks.dim={dim}: an object must have at least 1 number")
        self.dim = dim
        self.task_names = tuple(f"{o}_{i}" for o in ("paying", "other") for i in range(dim))
        self.task_units = ("",) * len(self.task_names)
        super().__init__(
            name="harlow",
            num_envs=num_envs,
            seed=seed,
            obs_dim=2 * dim,
            action_space=Discrete(2),
            episodes=episodes,
            episode_steps=1,
        )
        self._side = np.zeros(num_envs, np.int64)  # of the object that pays: 0 left, 1 right

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.standard_normal((n, 2 * self.dim))

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._side[ids] = self._rng.integers(0, 2, len(ids))

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        rew = np.where(np.asarray(act, np.int64) == self._side, 1.0, -1.0)
        ends = np.ones(self.num_envs, np.bool_)
        return rew, ends, ~ends

    def _observe(self) -> Array:
        swapped = np.roll(self.tasks, self.dim, 1)
        return np.where(self._side[:, None] == 0, self.tasks, swapped).astype(np.float32)

    def _save(self) -> State:
        return {"side": self._side.copy()}

    def _load(self, state: State) -> None:
        self._side = np.array(state["side"])
