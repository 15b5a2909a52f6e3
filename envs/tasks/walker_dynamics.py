"""A planar two-legged walker with masses, damping and friction of its own in every task."""

from __future__ import annotations

from envs.tasks.dynamics import Dynamics
from envs.walker2d import Walker2d

__all__ = ["WalkerDynamics"]


class WalkerDynamics(Dynamics):
    """Gymnasium's reward and endings; a task is 28 factors, of 7 bodies, 6 joints, 8 geoms."""

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        episodes: int,
        episode_steps: int,
        threads: int,
        limit: float,
        name: str = "walker_dynamics",
    ) -> None:
        world = Walker2d(num_envs=num_envs, max_episode_steps=episode_steps, threads=threads)
        super().__init__(world, name=name, seed=seed, episodes=episodes, limit=limit)
