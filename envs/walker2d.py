"""A planar two-legged walker; Gymnasium's Walker2d-v5."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.drawing import Camera
from envs.mujoco import MujocoWorld, gymnasium_model

__all__ = ["Walker2d"]


class Walker2d(MujocoWorld):
    """Obs [17]: qpos without x, qvel clipped to [-10, 10].

    Reward: forward speed + 1 - 0.001 |act|^2. Terminates when it falls: outside heights 0.8 to 2 m
    or tilted beyond 1 rad; the 1 is paid while it has not.
    """

    feat_names = feats.PLANAR
    feat_units = feats.planar_units("m")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")
    camera = Camera(height=0.8)

    def __init__(
        self, *, num_envs: int, max_episode_steps: int, threads: int, render_mode: str | None = None
    ) -> None:
        super().__init__(
            name="walker2d",
            model=gymnasium_model("walker2d_v5.xml"),
            num_envs=num_envs,
            obs_dim=17,
            frame_skip=4,
            max_episode_steps=max_episode_steps,
            threads=threads,
            render_mode=render_mode,
        )

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.005, 0.005, self.model.nq)
        return qpos, rng.uniform(-0.005, 0.005, self.model.nv)

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        height, pitch = self.qpos[:, 1], self.qpos[:, 2]
        healthy = (height > 0.8) & (height < 2.0) & (np.abs(pitch) < 1.0)
        rew = self.speed[:, 0] + healthy - 1e-3 * np.square(act).sum(1)
        return rew, ~healthy

    def _observe(self) -> Array:
        qvel = np.clip(self.qvel, -10.0, 10.0)
        return np.concatenate([self.qpos[:, 1:], qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.planar(self)
