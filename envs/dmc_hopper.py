"""A planar one-legged hopper; dm_control's hopper."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.suite import SuiteWorld, choose_task, suite_model, tolerance

__all__ = ["DmcHopper"]


class DmcHopper(SuiteWorld):
    """Obs [15]: qpos without x, qvel, log(1 + force) at toe and heel.

    Reward in [0, 1]: torso at least 0.6 m above the foot, times the forward speed against 2 m/s
    (`task` hop) or small controls (stand).
    """

    feat_names = ("x", "x_velocity", "x_velocity_1s", "height", "pitch")
    feat_units = ("m", "m/s", "m/s over the past second", "m, torso above foot", "rad")
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
        self._hop = choose_task("dmc_hopper", task, {"stand": False, "hop": True})
        super().__init__(
            name="dmc_hopper",
            model=suite_model("hopper.xml"),
            num_envs=num_envs,
            obs_dim=15,
            frame_skip=4,
            max_episode_steps=max_episode_steps,
            threads=threads,
            render_mode=render_mode,
        )
        centre = self.batch.bind("xipos")
        self._torso = centre[:, self.model.body("torso").id, 2]
        self._foot = centre[:, self.model.body("foot").id, 2]
        self._sensors = self.batch.bind("sensordata")  # velocity of the centre of mass; toe, heel

    def _reward(self) -> Array:
        standing = tolerance(self._torso - self._foot, 0.6, 2.0)
        if self._hop:
            speed = self._sensors[:, 0]
            hopping = tolerance(speed, 2.0, np.inf, margin=1.0, at_margin=0.5, shape="linear")
            return np.asarray(standing * hopping)
        still = tolerance(self._ctrl, margin=1.0, at_margin=0.0, shape="quadratic").mean(1)
        return np.asarray(standing * ((still + 4) / 5))

    def _observe(self) -> Array:
        touch = np.log1p(self._sensors[:, 3:])
        return np.concatenate([self.qpos[:, 1:], self.qvel, touch], 1, dtype=np.float32)

    def _feat(self) -> Array:
        x, _, pitch = self.qpos[:, :3].T
        height = self._torso - self._foot
        return np.stack(
            [x, self.speed[:, 0], self.pace()[:, 0], height, pitch], 1, dtype=np.float32
        )
