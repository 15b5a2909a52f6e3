"""A three-link swimmer in a plane of thick fluid; Gymnasium's Swimmer-v5."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.drawing import Camera
from envs.mujoco import MujocoWorld

__all__ = ["Swimmer"]


class Swimmer(MujocoWorld):
    """Obs [8]: qpos without x and y, qvel. Reward: forward speed - 0.0001 |act|^2. Never ends."""

    name = "swimmer"
    file = "swimmer.xml"
    obs_dim = 8
    frame_skip = 4
    feat_names = feats.FLAT
    feat_units = feats.FLAT_UNITS
    motion = ("x_velocity_1s", "y_velocity_1s")
    plane = ("x", "y")
    trail = 2
    camera = Camera(distance=6.5, elevation=-60.0, height=0.0)

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.1, 0.1, self.model.nq)
        return qpos, rng.uniform(-0.1, 0.1, self.model.nv)

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        rew = self.speed[:, 0] - 1e-4 * np.square(act).sum(1)
        return rew, np.zeros(self.num_envs, np.bool_)

    def _observe(self) -> Array:
        return np.concatenate([self.qpos[:, 2:], self.qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.flat(self)
