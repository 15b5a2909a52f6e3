"""A Jaco arm with a hand of three fingers and a place to reach; dm_control's manipulation task.

Steps are batched. Episodes begin in the task's own Python code, since finding a pose without
contact takes inverse kinematics: some 30 ms each, once in 250 steps.
"""

from __future__ import annotations

import copy
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.dmc import flat, load, quiet
from envs.drawing import Camera, Drawing
from envs.suite import SuiteWorld, tolerance
from rl.types import State

__all__ = ["DmcJaco"]

_RADIUS = 0.05  # of the target, m
_INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)


class DmcJaco(SuiteWorld):
    """Obs [45]: target; arm joints (sin, cos), log torques, velocities; fingers; the grip's pose.

    Actions are joint velocities. Reward: 1 with the grip's centre within 5 cm of the target, and
    falling to 0 over as much again.
    """

    name = "dmc_jaco"
    obs_dim = 45
    frame_skip = 20
    tasks = {"reach_site": "reach_site_features"}
    feat_names = ("hand_x", "hand_y", "hand_z", "target_x", "target_y", "target_z", "distance")
    feat_units = ("m", "m", "m", "m", "m", "m", "m from hand to target")
    motion = ("hand_x", "hand_y", "hand_z")
    plane = ("hand_x", "hand_y")
    camera = Camera(distance=1.4, azimuth=90.0, elevation=-20.0, height=0.3, body=0)

    def _compile(self) -> mujoco.MjModel:
        with quiet():
            (self._task,) = load("manipulation", self._wanted, 1)
            self._task.reset()
        return copy.copy(self._task.physics.model.ptr)

    def _bind(self) -> None:
        grip = self.model.site("jaco_arm/jaco_hand/pinchsite").id
        self._site = self.model.site("target_site").id
        self._place_of_grip = self.batch.bind("site_xpos")[:, grip]
        self._frame_of_grip = self.batch.bind("site_xmat")[:, grip]
        self._torques = self.batch.bind("sensordata").reshape(self.num_envs, 6, 3)
        self._axes = self.model.jnt_axis[:6]
        self._target = np.zeros((self.num_envs, 3))
        self._now = np.zeros((self.num_envs, 45))  # observations; at a start, the task's own

    def _begin(self, ids: NDArray[np.int64]) -> None:
        for i in ids:
            self._task.random_state.seed(int(self._rngs[i].integers(2**31)))
            with quiet():
                self._now[i] = flat(self._task.reset().observation)
            model, data = self._task.physics.model.ptr, self._task.physics.data.ptr
            mujoco.mj_getState(model, data, self.batch.state[i], _INTEGRATION)
            self._target[i] = model.site_pos[self._site]
        self.speed[ids] = 0.0
        self._trail.begin(ids, self.qpos[ids, : self.trail])

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        arm, hand = self.qpos[:, :6], self.qpos[:, 6:]
        turned = np.stack([np.sin(arm), np.cos(arm)], 2).reshape(self.num_envs, -1)
        torques = np.einsum("nij,ij->ni", self._torques, self._axes)
        felt = np.sign(torques) * np.log1p(np.abs(torques))
        parts = [self._target, turned, felt, self.qvel[:, :6], hand, self.qvel[:, 6:]]
        self._now = np.concatenate([*parts, self._place_of_grip, self._frame_of_grip], 1)
        return super()._outcome(act, before)

    def _reward(self) -> Array:
        return tolerance(self._distance(), 0.0, _RADIUS, margin=_RADIUS)

    def _distance(self) -> Array:
        return np.asarray(np.sqrt(np.square(self._now[:, 33:36] - self._now[:, :3]).sum(1)))

    def _observe(self) -> Array:
        return self._now.astype(np.float32)

    def _feat(self) -> Array:
        parts = [self._now[:, 33:36], self._now[:, :3], self._distance()[:, None]]
        return np.concatenate(parts, 1, dtype=np.float32)

    def _save(self) -> State:
        return super()._save() | {"target": self._target.copy()}

    def _load(self, state: State) -> None:
        super()._load(state)
        self._target = np.array(state["target"])

    def snapshot(self) -> Array:
        """Joints and target of every world [N, 12]."""
        return np.concatenate([self.qpos, self._target], 1)

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        """A picture [height, width, 3] of one row of `snapshot()`."""
        if self._drawing is None:
            self._drawing = Drawing(self.model, self.camera)
        self._drawing.model.site_pos[self._site] = row[-3:]
        return self._drawing.frame(row[:-3], width, height, self.places)

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderers and the task."""
        super().close_extras(**kwargs)
        self._task.close()
