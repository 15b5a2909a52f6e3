"""A planar half-cheetah that may run forward or backward; Gymnasium's HalfCheetah-v5."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.planar import PlanarWorld

__all__ = ["HalfCheetah"]


class HalfCheetah(PlanarWorld):
    """Obs [17]: qpos without x, qvel. Reward: forward speed - 0.1 |act|^2. Never terminates."""

    name = "cheetah"
    file = "half_cheetah.xml"
    obs_dim = 17
    frame_skip = 5
    feat_units = feats.planar_units("m above the start pose")

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.1, 0.1, self.model.nq)
        return qpos, 0.1 * rng.standard_normal(self.model.nv)

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        rew = self.speed[:, 0] - 0.1 * np.square(act).sum(1)
        return rew, np.zeros(self.num_envs, np.bool_)
