"""A planar one-legged hopper; dm_control's hopper."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.suite import SuiteWorld, tolerance

__all__ = ["DmcHopper"]


class DmcHopper(SuiteWorld):
    """Obs [15]: qpos without x, qvel, log(1 + force) at toe and heel.

    Reward in [0, 1]: torso at least 0.6 m above the foot, times the forward speed against 2 m/s
    (`task` hop) or small controls (stand).
    """

    name = "dmc_hopper"
    file = "hopper.xml"
    obs_dim = 15
    frame_skip = 4
    tasks = {"stand": 0.0, "hop": 2.0}  # m/s
    feat_names = feats.PLANAR
    feat_units = feats.planar_units("m, torso above foot")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")

    def _bind(self) -> None:
        centre = self.batch.bind("xipos")
        self._torso = centre[:, self.model.body("torso").id, 2]
        self._foot = centre[:, self.model.body("foot").id, 2]
        self._sensors = self.batch.bind("sensordata")  # velocity of the centre of mass; toe, heel

    def _reward(self) -> Array:
        standing = tolerance(self._torso - self._foot, 0.6, 2.0)
        if self._wanted == 0:
            still = tolerance(self._ctrl, margin=1.0, at_margin=0.0, shape="quadratic").mean(1)
            return np.asarray(standing * ((still + 4) / 5))
        speed, margin = self._sensors[:, 0], self._wanted / 2
        hopping = tolerance(
            speed, self._wanted, np.inf, margin=margin, at_margin=0.5, shape="linear"
        )
        return np.asarray(standing * hopping)

    def _observe(self) -> Array:
        touch = np.log1p(self._sensors[:, 3:])
        return np.concatenate([self.qpos[:, 1:], self.qvel, touch], 1, dtype=np.float32)

    def _feat(self) -> Array:
        feat = feats.planar(self)
        feat[:, 3] = self._torso - self._foot
        return feat
