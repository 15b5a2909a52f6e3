"""A planar walker on two legs; dm_control's walker."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.drawing import Camera
from envs.suite import SuiteWorld, tolerance

__all__ = ["DmcWalker"]


class DmcWalker(SuiteWorld):
    """Obs [24]: orientations of the seven bodies (xx, xz), height, qvel.

    Reward in [0, 1]: torso 1.2 m high and upright, times, unless `task` is stand, the speed of
    the centre of mass against 1 (walk) or 8 (run) m/s.
    """

    name = "dmc_walker"
    file = "walker.xml"
    obs_dim = 24
    frame_skip = 10
    tasks = {"stand": 0.0, "walk": 1.0, "run": 8.0}  # m/s
    feat_names = ("x", "x_velocity", "x_velocity_1s", "height", "upright", "spin")
    feat_units = ("m", "m/s", "m/s over the past second", "m", "cosine", "kg m²/s about y")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")
    trail = 2  # qpos begins with z, x
    camera = Camera(height=1.0)

    def _bind(self) -> None:
        torso = self.model.body("torso").id
        self._xmat = self.batch.bind("xmat")
        self._height = self.batch.bind("xpos")[:, torso, 2]
        self._upright = self._xmat[:, torso, 8]
        self._spin = self.batch.bind("subtree_angmom")[:, torso, 1]  # of the whole body
        self._velocity = self.batch.bind("sensordata")[:, 0]  # of the centre of mass, along x

    def _reward(self) -> Array:
        standing = tolerance(self._height, 1.2, np.inf, margin=0.6)
        stand = (3 * standing + (1 + self._upright) / 2) / 4
        if self._wanted == 0:
            return np.asarray(stand)
        speed, margin = self._velocity, self._wanted / 2
        move = tolerance(speed, self._wanted, np.inf, margin=margin, at_margin=0.5, shape="linear")
        return np.asarray(stand * (5 * move + 1) / 6)

    def _observe(self) -> Array:
        turned = self._xmat[:, 1:, [0, 2]].reshape(self.num_envs, -1)
        return np.concatenate([turned, self._height[:, None], self.qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        x, speed, mean = self.qpos[:, 1], self.speed[:, 1], self.pace()[:, 1]
        rows = [x, speed, mean, self._height, self._upright, self._spin]
        return np.stack(rows, 1).astype(np.float32)
