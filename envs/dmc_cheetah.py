"""A planar half-cheetah; dm_control's cheetah, heavier and more tightly sprung than Gymnasium's."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs import feats
from envs.base import Array
from envs.suite import SuiteWorld, tolerance

__all__ = ["DmcCheetah"]


class DmcCheetah(SuiteWorld):
    """Obs [17]: qpos without x, qvel. Reward in [0, 1]: forward speed against 10 m/s.

    The speed is the centre of mass's. Episodes begin two seconds after a fall from random joints.
    """

    name = "dmc_cheetah"
    file = "cheetah.xml"
    obs_dim = 17
    frame_skip = 1
    tasks = {"run": 10.0}  # m/s
    feat_names = feats.PLANAR
    feat_units = feats.planar_units("m above the start pose")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")

    def _bind(self) -> None:
        self._velocity = self.batch.bind("sensordata")[:, 0]
        # The suite takes the first settling step with the forces of the default pose: the same
        # push for everyone.
        data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, data)
        mujoco.mj_step2(self.model, data)
        self._push, self._warm = data.qvel.copy(), data.qacc_warmstart.copy()

    def _place(self, ids: NDArray[np.int64]) -> None:
        super()._place(ids)
        self.qvel[ids] = self._push
        self.qpos[ids] += self.model.opt.timestep * self._push
        self.batch.bind("qacc_warmstart")[ids] = self._warm
        self.batch.step(ids, 199)
        self.batch.bind("time")[ids] = 0.0

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0.copy()
        limited = self.model.jnt_limited == 1
        qpos[limited] = rng.uniform(*self.model.jnt_range[limited].T)
        return qpos, np.zeros(self.model.nv)

    def _reward(self) -> Array:
        speed, wanted = self._velocity, self._wanted
        return tolerance(speed, wanted, np.inf, margin=wanted, at_margin=0.0, shape="linear")

    def _observe(self) -> Array:
        return np.concatenate([self.qpos[:, 1:], self.qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.planar(self)
