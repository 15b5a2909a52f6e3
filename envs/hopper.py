"""A planar one-legged hopper; Gymnasium's Hopper-v5."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.drawing import Camera
from envs.mujoco import MujocoWorld, gymnasium_model

__all__ = ["Hopper"]


class Hopper(MujocoWorld):
    """Obs [11]: qpos without x, qvel clipped to [-10, 10].

    Reward: forward speed + 1 - 0.001 |act|^2. Terminates when it falls: below 0.7 m, tilted beyond
    0.2 rad, or any other coordinate or velocity beyond 100; the 1 is paid while it has not.
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
            name="hopper",
            model=gymnasium_model("hopper.xml"),
            num_envs=num_envs,
            obs_dim=11,
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
        healthy = (height > 0.7) & (np.abs(pitch) < 0.2)
        if max(np.abs(self.qpos[:, 2:]).max(), np.abs(self.qvel).max()) >= 100.0:  # hardly ever
            far = (np.abs(self.qpos[:, 2:]) >= 100.0).any(1) | (np.abs(self.qvel) >= 100.0).any(1)
            healthy &= ~far
        rew = self.speed[:, 0] + healthy - 1e-3 * np.square(act).sum(1)
        return rew, ~healthy

    def _observe(self) -> Array:
        qvel = np.clip(self.qvel, -10.0, 10.0)
        return np.concatenate([self.qpos[:, 1:], qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.planar(self)
