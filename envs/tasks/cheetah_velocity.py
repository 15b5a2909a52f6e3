"""A half-cheetah that must find out how fast to run (MAML, arXiv 1703.03400; ProMP, 1810.06784).

MAML draws velocities from U(0, 2), ProMP from U(0, 3). What differs from their worlds stands in
envs/tasks/cheetah_direction.py.
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.runner import Runner, cheetah, effort

__all__ = ["CheetahVelocity"]


class CheetahVelocity(Runner):
    """Reward: -|forward velocity - target| - 0.05 |act|^2; targets U(0, `fastest`) m/s.

    Obs [17] are the cheetah's; with `torso` its x comes last [18]. Never terminates.
    """

    task_names = ("x_velocity",)
    task_units = ("m/s",)

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        episodes: int,
        episode_steps: int,
        threads: int,
        torso: bool,
        fastest: float,
        name: str = "cheetah_velocity",
    ) -> None:
        if fastest <= 0:
            raise ValueError(f"tasks.fastest={fastest}: want a velocity above 0 m/s")
        self._fastest = fastest
        world = cheetah(num_envs=num_envs, episode_steps=episode_steps, threads=threads)
        shown = ("x",) if torso else ()
        super().__init__(world, name=name, seed=seed, episodes=episodes, shown=shown)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.uniform(0.0, self._fastest, (n, 1))

    def _reward(self, feat: Array, next_feat: Array, act: Array, own: Array) -> Array:
        return -np.abs(self._speed(next_feat) - self.tasks[:, 0]) - 0.05 * effort(act)
