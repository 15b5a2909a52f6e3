"""A four-legged walker in three dimensions; dm_control's quadruped on flat ground."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.drawing import Camera
from envs.suite import SuiteWorld, suite_file, tolerance

__all__ = ["DmcQuadruped"]

_SECONDS = 20  # of the suite's episode; its floor ends where the target speed leads by then
_POS = int(mujoco.mjtStage.mjSTAGE_POS)


class DmcQuadruped(SuiteWorld):
    """Obs [78]: joints, their velocities and activations, torso velocity, upright, IMU, toe forces.

    Velocities are in the torso's frame; forces and torques go through arcsinh. Reward in [0, 1]:
    upright times forward speed against 0.5 (`task` walk) or 5 (run) m/s. Episodes begin in any
    orientation, just above the ground.
    """

    name = "dmc_quadruped"
    obs_dim = 78
    frame_skip = 4
    tasks = {"walk": 0.5, "run": 5.0}  # m/s
    feat_names = (
        "x", "y", "x_velocity", "y_velocity", "x_velocity_1s", "y_velocity_1s", "height", "upright",
    )  # fmt: skip
    feat_units = (
        "m", "m", "m/s", "m/s", "m/s over the past second", "m/s over the past second",
        "m", "cosine",
    )  # fmt: skip
    motion = ("x_velocity_1s", "y_velocity_1s")
    plane = ("x", "y")
    trail = 2  # x, y
    camera = Camera(distance=5.0, azimuth=90.0, elevation=-30.0)

    def _compile(self) -> mujoco.MjModel:
        return _flat_ground(_SECONDS * self._wanted)

    def _bind(self) -> None:
        self._upright = self.batch.bind("xmat")[:, self.model.body("torso").id, 8]
        self._contacts = self.batch.bind("ncon")
        self._act = self.batch.bind("act")
        # accelerometer [3], gyro [3], velocimeter [3], toe forces [12], toe torques [12], com [3]
        self._sensors = self.batch.bind("sensordata")

    def _place(self, ids: NDArray[np.int64]) -> None:
        self.qpos[ids, :3] = 0.0
        self.qpos[ids, 3:7] = [self._orientation(self._rngs[i]) for i in ids]
        low, height = np.asarray(ids), 0.0  # those that touch the ground rise, 1 cm at a time
        while len(low):
            self.qpos[low, 2] = height
            self.batch.forward(low, stage=_POS)
            low = low[self._contacts[low].reshape(-1) > 0]
            height += 0.01
        self._forward(ids)  # the suite's search ends with a pass of its own

    def _orientation(self, rng: np.random.Generator) -> Array:
        quat = rng.standard_normal(4)
        return np.asarray(quat / np.linalg.norm(quat))

    def _reward(self) -> Array:
        speed = self._sensors[:, 6]
        move = tolerance(
            speed, self._wanted, np.inf, margin=self._wanted, at_margin=0.5, shape="linear"
        )
        upright = tolerance(self._upright, 1.0, np.inf, margin=2.0, at_margin=0.0, shape="linear")
        return np.asarray(upright * move)

    def _observe(self) -> Array:
        s = self._sensors
        parts = [self.qpos[:, 7:], self.qvel[:, 6:], self._act, s[:, 6:9], self._upright[:, None]]
        parts += [s[:, :6], np.arcsinh(s[:, 9:33])]
        return np.concatenate(parts, 1, dtype=np.float32)

    def _feat(self) -> Array:
        rest = [self.qpos[:, 2:3], self._upright[:, None]]
        return np.concatenate(
            [self.qpos[:, :2], self.speed, self.pace(), *rest], 1, dtype=np.float32
        )


def _flat_ground(reach: float) -> mujoco.MjModel:
    """The quadruped alone on a floor of half-width `reach` m, and without its range finders."""
    spec = mujoco.MjSpec.from_file(suite_file("quadruped.xml"))
    spec.geom("floor").size[:2] = reach
    unwanted = [spec.geom(f"wall_{side}") for side in ("px", "py", "nx", "ny")]
    unwanted += [spec.body("ball"), spec.site("target"), spec.geom("terrain")]
    unwanted += [s for s in spec.sensors if s.type == mujoco.mjtSensor.mjSENS_RANGEFINDER]
    for part in unwanted:
        spec.delete(part)
    model: mujoco.MjModel = spec.compile()
    return model
