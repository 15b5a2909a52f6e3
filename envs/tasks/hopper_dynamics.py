"""A planar one-legged hopper with masses, damping and friction of its own in every task."""

from __future__ import annotations

from envs.hopper import Hopper
from envs.tasks.dynamics import Dynamics

__all__ = ["HopperDynamics"]


class HopperDynamics(Dynamics):
    """Gymnasium's reward and endings; a task is 16 factors, of 4 bodies, 3 joints, 5 geoms."""

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        episodes: int,
        episode_steps: int,
        threads: int,
        limit: float,
        name: str = "hopper_dynamics",
    ) -> None:
        world = Hopper(num_envs=num_envs, max_episode_steps=episode_steps, threads=threads)
        super().__init__(world, name=name, seed=seed, episodes=episodes, limit=limit)
