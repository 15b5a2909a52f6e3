"""A planar half-cheetah that may run forward or backward; Gymnasium's HalfCheetah-v5."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.mujoco import MujocoWorld, gymnasium_model

__all__ = ["HalfCheetah"]


class HalfCheetah(MujocoWorld):
    """Obs [17]: qpos without x, qvel. Reward: forward speed - 0.1 |act|^2. Never terminates."""

    feat_names = feats.PLANAR
    feat_units = feats.planar_units("m above the start pose")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")

    def __init__(
        self, *, num_envs: int, max_episode_steps: int, threads: int, render_mode: str | None = None
    ) -> None:
        super().__init__(
            name="cheetah",
            model=gymnasium_model("half_cheetah.xml"),
            num_envs=num_envs,
            obs_dim=17,
            frame_skip=5,
            max_episode_steps=max_episode_steps,
            threads=threads,
            render_mode=render_mode,
        )

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.1, 0.1, self.model.nq)
        return qpos, 0.1 * rng.standard_normal(self.model.nv)

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        rew = self.speed[:, 0] - 0.1 * np.square(act).sum(1)
        return rew, np.zeros(self.num_envs, np.bool_)

    def _observe(self) -> Array:
        return np.concatenate([self.qpos[:, 1:], self.qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.planar(self)
