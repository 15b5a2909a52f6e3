"""An ant that must find out how fast to walk (MAML, Finn et al. 1703.03400).

The ant is Gymnasium's: 0.05 s a step. The authors' is rllab's: 0.02 s a step, stiffer joints, and
the torso's place and rotation in obs, so returns do not compare one to one.
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.runner import Runner, TaskAnt, effort

__all__ = ["AntVelocity"]


class AntVelocity(Runner):
    """Reward: 1 - |forward velocity - target| + 0.05 - 0.005 |act|^2 - the contacts' cost.

    Targets are U(0, `fastest`) m/s. Terminates when the torso leaves heights 0.2 to 1 m.
    """

    falls = True
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
        fastest: float,
        name: str = "ant_velocity",
    ) -> None:
        if fastest <= 0:
            raise ValueError(f"tasks.fastest={fastest}: want a velocity above 0 m/s")
        self._fastest = fastest
        world = TaskAnt(
            num_envs=num_envs, episode_steps=episode_steps, threads=threads, heights=(0.2, 1.0)
        )
        super().__init__(world, name=name, seed=seed, episodes=episodes)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.uniform(0.0, self._fastest, (n, 1))

    def _reward(self, feat: Array, next_feat: Array, act: Array, own: Array) -> Array:
        miss = np.abs(self._speed(next_feat) - self.tasks[:, 0])
        return 1.0 - miss + 0.05 - 0.005 * effort(act) + own
