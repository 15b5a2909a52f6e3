"""A planar half-cheetah; dm_control's cheetah, heavier and more tightly sprung than Gymnasium's."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.suite import SuiteWorld, choose_task, suite_model, tolerance

__all__ = ["DmcCheetah"]


class DmcCheetah(SuiteWorld):
    """Obs [17]: qpos without x, qvel. Reward in [0, 1]: forward speed against 10 m/s.

    The speed is the centre of mass's. Episodes begin two seconds after a fall from random joints.
    """

    feat_names = ("x", "x_velocity", "x_velocity_1s", "height", "pitch")
    feat_units = ("m", "m/s", "m/s over the past second", "m above the start pose", "rad")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: int,
        threads: int,
        task: str,
        render_mode: str | None = None,
    ) -> None:
        choose_task("dmc_cheetah", task, {"run": None})
        super().__init__(
            name="dmc_cheetah",
            model=suite_model("cheetah.xml"),
            num_envs=num_envs,
            obs_dim=17,
            frame_skip=1,
            max_episode_steps=max_episode_steps,
            threads=threads,
            render_mode=render_mode,
        )
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
        return tolerance(self._velocity, 10.0, np.inf, margin=10.0, at_margin=0.0, shape="linear")

    def _observe(self) -> Array:
        return np.concatenate([self.qpos[:, 1:], self.qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        x, height, pitch = self.qpos[:, :3].T
        return np.stack(
            [x, self.speed[:, 0], self.pace()[:, 0], height, pitch], 1, dtype=np.float32
        )
