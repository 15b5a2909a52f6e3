"""A planar two-legged walker; Gymnasium's Walker2d-v5."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.planar import UprightRunner

__all__ = ["Walker2d"]


class Walker2d(UprightRunner):
    """Obs [17]: qpos without x, qvel clipped to [-10, 10].

    Reward: forward speed + 1 - 0.001 |act|^2. Terminates when it falls: outside heights 0.8 to 2 m
    or tilted beyond 1 rad; the 1 is paid while it has not.
    """

    name = "walker2d"
    falls = True
    file = "walker2d_v5.xml"
    obs_dim = 17
    frame_skip = 4

    def _healthy(self) -> Array:
        height, pitch = self.qpos[:, 1], self.qpos[:, 2]
        return np.asarray((height > 0.8) & (height < 2.0) & (np.abs(pitch) < 1.0))
