"""An ant that must find out which way to walk (ProMP, Rothfuss et al. 1810.06784).

The ant is Gymnasium's, whose obs leave out the contact forces on the floor's body, all zeros; the
authors' has them. Velocity is that of the root joint; theirs is of the torso's derived place,
which lags it by a substep. MAML's ant direction has other coefficients (0.005, 0.05).
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.runner import DIRECTIONS, Runner, TaskAnt, directions, effort

__all__ = ["AntDirection"]


class AntDirection(Runner):
    """Reward: direction x forward velocity over the step + 1 - 0.5 |act|^2 - the contacts' cost.

    Terminates when the torso leaves heights 0 to 1 m. Two tasks only, so none are kept for
    `held_out`: both draws are of the same two.
    """

    falls = True
    task_names = ("direction",)
    task_units = ("+1 forward, -1 backward",)

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        episodes: int,
        episode_steps: int,
        threads: int,
        name: str = "ant_direction",
    ) -> None:
        world = TaskAnt(
            num_envs=num_envs, episode_steps=episode_steps, threads=threads, heights=(0.0, 1.0)
        )
        super().__init__(world, name=name, seed=seed, episodes=episodes)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return directions(n, rng)

    def all_tasks(self, held_out: bool) -> Array:
        return DIRECTIONS.copy()

    def _reward(self, feat: Array, next_feat: Array, act: Array, own: Array) -> Array:
        return self.tasks[:, 0] * self._speed(next_feat) + 1.0 - 0.5 * effort(act) + own
