"""A half-cheetah that must find out which way to run (MAML, arXiv 1703.03400; ProMP, 1810.06784).

Both published versions pay +-v - 0.05 |act|^2. This one is ProMP's: our cheetah is Gymnasium's
(0.05 s a step, start noise of 0.1). MAML's was rllab's, with the same coefficients but steps of
0.01 s (an episode of 200 is 2 s there and 10 s here, so its returns do not compare one to one),
start noise of 0.01, the velocity of the torso at the end of a step, and the body's centre of mass
in obs.
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.tasks.runner import DIRECTIONS, Runner, cheetah, directions, effort

__all__ = ["CheetahDirection"]


class CheetahDirection(Runner):
    """Reward: direction x forward velocity over the step - 0.05 |act|^2. Never terminates.

    Obs [17] are the cheetah's; with `torso` its x comes last [18], as MAML's obs tell it. There
    are two tasks only, so none are kept for `held_out`: both draws are of the same two.
    """

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
        torso: bool,
        name: str = "cheetah_direction",
    ) -> None:
        world = cheetah(num_envs=num_envs, episode_steps=episode_steps, threads=threads)
        shown = ("x",) if torso else ()
        super().__init__(world, name=name, seed=seed, episodes=episodes, shown=shown)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return directions(n, rng)

    def all_tasks(self, held_out: bool) -> Array:
        return DIRECTIONS.copy()

    def _reward(self, feat: Array, next_feat: Array, act: Array, own: Array) -> Array:
        return self.tasks[:, 0] * self._speed(next_feat) - 0.05 * effort(act)
