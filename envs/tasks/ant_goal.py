"""An ant that must find a place on the floor (ProMP, Rothfuss et al. 1810.06784).

The ant is Gymnasium's, with the torso's x and y added at the end of obs; the authors' has them in
front, and the contact forces on the floor's body, all zeros. Its place is that of the root joint;
theirs, the torso's derived place, lags it by a substep.
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.runner import Runner, TaskAnt, effort

__all__ = ["AntGoal"]


class AntGoal(Runner):
    """Reward: -|x - goal_x| - |y - goal_y| - 0.1 |act|^2 - the contacts' cost. Obs [107].

    Goals are uniform in the disc of `radius` m about the start. Never terminates: falling over
    must not be a way to end a negative reward.
    """

    falls = True
    task_names = ("goal_x", "goal_y")
    task_units = ("m", "m")

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        episodes: int,
        episode_steps: int,
        threads: int,
        radius: float,
        name: str = "ant_goal",
    ) -> None:
        if radius <= 0:
            raise ValueError(f"tasks.radius={radius}: want a distance above 0 m")
        self._radius = radius
        world = TaskAnt(
            num_envs=num_envs,
            episode_steps=episode_steps,
            threads=threads,
            heights=(-np.inf, np.inf),
        )
        super().__init__(world, name=name, seed=seed, episodes=episodes, shown=("x", "y"))

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        far = self._radius * np.sqrt(rng.random(n))
        way = rng.uniform(0.0, 2.0 * np.pi, n)
        return np.stack([far * np.cos(way), far * np.sin(way)], 1)

    def _reward(self, feat: Array, next_feat: Array, act: Array, own: Array) -> Array:
        miss = np.abs(next_feat[:, self._shown] - self.tasks).sum(1)
        return own - miss - 0.1 * effort(act)
