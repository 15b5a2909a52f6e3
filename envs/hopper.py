"""A planar one-legged hopper; Gymnasium's Hopper-v5."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.planar import UprightRunner

__all__ = ["Hopper"]


class Hopper(UprightRunner):
    """Obs [11]: qpos without x, qvel clipped to [-10, 10].

    Reward: forward speed + 1 - 0.001 |act|^2. Terminates when it falls: below 0.7 m, tilted beyond
    0.2 rad, or any other coordinate or velocity beyond 100; the 1 is paid while it has not.
    """

    name = "hopper"
    falls = True
    file = "hopper.xml"
    obs_dim = 11
    frame_skip = 4

    def _healthy(self) -> Array:
        height, pitch = self.qpos[:, 1], self.qpos[:, 2]
        healthy: Array = (height > 0.7) & (np.abs(pitch) < 0.2)
        if max(np.abs(self.qpos[:, 2:]).max(), np.abs(self.qvel).max()) >= 100.0:  # hardly ever
            far = (np.abs(self.qpos[:, 2:]) >= 100.0).any(1) | (np.abs(self.qvel) >= 100.0).any(1)
            healthy &= ~far
        return healthy
