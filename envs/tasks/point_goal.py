"""A point must find a goal that it is not shown: MAML's 2-D navigation (arXiv 1703.03400, 5.3).

The reward is the negative distance to the goal, as in the authors' released code and roll-outs;
the paper's text says squared. A point that stays at the start scores -38.26 over 100 steps in the
mean over goals (100 times the mean distance of a unit square's points from its centre, 0.3826);
one that goes to the goal as fast as each axis allows scores -0.51. Published goals lie within
`size` = 0.5 m on each axis.
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.plane import Plane

__all__ = ["PointGoal"]

_NEAR = 0.01  # goals are reached within this, on both axes at once, m


class PointGoal(Plane):
    """Goals (x, y) uniform on [-size, size]^2 m, moves of up to 0.1 m an axis, from (0, 0).

    Reward: minus the distance to the goal, in m, after the move. An episode terminates where both
    coordinates are within 0.01 m of the goal. Obs are the position divided by `unit` m.
    """

    baselines = ("random", "straight")

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        episodes: int,
        episode_steps: int,
        size: float,
        unit: float,
        walls: float | None,
        name: str = "point_goal",
    ) -> None:
        if size <= 0:
            raise ValueError(f"tasks.size={size} must be above 0")
        self.farthest = self.size = size
        super().__init__(
            name=name,
            num_envs=num_envs,
            seed=seed,
            reach=0.1,
            episodes=episodes,
            episode_steps=episode_steps,
            unit=unit,
            walls=walls,
        )

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.uniform(-self.size, self.size, (n, 2))

    def _start(self, n: int) -> Array:
        return np.zeros((n, 2))

    def _outcome(self, before: Array) -> tuple[Array, Array]:
        off = self._at - self.tasks
        near: Array = np.abs(off) < _NEAR
        return -np.hypot(off[:, 0], off[:, 1]), near[:, 0] & near[:, 1]
