"""A point must find which corner pays: ProMP's sparse 2-D task (Rothfuss et al. 1810.06784).

The reward of a move is the way it made towards the goal, but only where it ends outside the ball
|x| + |y| < 0.5 about the origin, and with no other corner nearer than the goal. So near the start
all corners look alike, and only a learner that visits several before it adapts can tell them
apart. Facts from the authors' code (point_env_2d_corner), which pays this in its `sparse` setting.
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.plane import Plane

__all__ = ["PointCorner"]

_CORNERS = np.array([[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]])
_BLIND = 0.5  # no pay where |x| + |y| is below this, m
_NAMES = ("sw", "se", "nw", "ne")
_NEAR, _THERE = 1.0, 0.5  # m from a corner
_SCATTER = 0.2  # episodes start within this of the origin on each axis, m


class PointCorner(Plane):
    """Goals are the corners (+-2, +-2) m, moves of up to 0.2 m an axis, starts U(-0.2, 0.2)^2.

    Obs are the position divided by `unit` m. Episodes never terminate. There are four tasks only,
    drawn each on its own with equal chances, so none are kept for `held_out`: both draws are of
    the same four.
    """

    baselines = ("random", "straight")
    farthest = 2.0

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        episodes: int,
        episode_steps: int,
        unit: float,
        walls: float | None,
        name: str = "point_corner",
    ) -> None:
        super().__init__(
            name=name,
            num_envs=num_envs,
            seed=seed,
            reach=0.2,
            episodes=episodes,
            episode_steps=episode_steps,
            unit=unit,
            walls=walls,
        )

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return _CORNERS[rng.integers(len(_CORNERS), size=n)]

    def all_tasks(self, held_out: bool) -> Array:
        return _CORNERS.copy()

    def marks(self, act: Array, next_feat: Array) -> dict[str, float]:
        """Where first episodes go, and whether last ones arrive.

        `near_sw` and so on: the share of first episodes that come within 1 m of that corner.
        `arrived`: the share of trials that end within 0.5 m of their goal.
        """
        away = np.linalg.norm(next_feat[: self.episode_steps, :, None] - _CORNERS, axis=-1)
        near = (away.min(0) < _NEAR).mean(0)  # [4]
        found = {f"near_{name}": float(x) for name, x in zip(_NAMES, near, strict=True)}
        left = np.linalg.norm(next_feat[-1] - self.tasks, axis=-1)
        return {**found, "arrived": float((left < _THERE).mean())}

    def _start(self, n: int) -> Array:
        return self._rng.uniform(-_SCATTER, _SCATTER, (n, 2))

    def _outcome(self, before: Array) -> tuple[Array, Array]:
        (x, y), (gx, gy), (was_x, was_y) = self._at.T, self.tasks.T, before.T
        gained = np.hypot(was_x - gx, was_y - gy) - np.hypot(x - gx, y - gy)
        # The corners mirror each other, so the goal is nearest where no coordinate's sign is wrong
        nearest = (x * gx >= 0.0) & (y * gy >= 0.0)
        seen = np.abs(x) + np.abs(y) >= _BLIND
        return np.where(seen & nearest, gained, 0.0), self._steady
