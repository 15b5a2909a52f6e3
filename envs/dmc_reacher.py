"""A two-link arm in the plane and a target to point at; dm_control's reacher."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.drawing import Camera, Drawing
from envs.suite import SuiteWorld, suite_file, tolerance
from rl.types import State

__all__ = ["DmcReacher"]

_FINGER = 0.01  # radius, m


class DmcReacher(SuiteWorld):
    """Obs [6]: joint angles, vector from finger to target, joint velocities.

    Reward 1 while the finger touches the target, else 0. Joints and target are drawn anew in each
    episode.
    """

    name = "dmc_reacher"
    file = "reacher.xml"
    obs_dim = 6
    frame_skip = 1
    tasks = {"easy": 0.05, "hard": 0.015}  # radius of the target, m
    feat_names = ("finger_x", "finger_y", "target_x", "target_y", "distance")
    feat_units = ("m", "m", "m", "m", "m from finger to target")
    motion = ("finger_x", "finger_y")
    plane = ("finger_x", "finger_y")
    camera = Camera(distance=0.8, azimuth=90.0, elevation=-90.0, height=0.0, body=0)

    def _bind(self) -> None:
        geoms = self.batch.bind("geom_xpos")
        self._finger = geoms[:, self.model.geom("finger").id, :2]
        self._goal = np.zeros((self.num_envs, 2))  # no part of the physics: nothing can touch it

    def _place(self, ids: NDArray[np.int64]) -> None:
        for i in ids:
            self.qpos[i], self.qvel[i] = self._start(self._rngs[i])
            angle = self._rngs[i].uniform(0, 2 * np.pi)
            radius = self._rngs[i].uniform(0.05, 0.20)
            self._goal[i] = radius * np.sin(angle), radius * np.cos(angle)

    def _distance(self) -> Array:
        return np.asarray(np.sqrt(np.square(self._goal - self._finger).sum(1)))

    def _reward(self) -> Array:
        return tolerance(self._distance(), 0.0, self._wanted + _FINGER)

    def _observe(self) -> Array:
        parts = [self.qpos, self._goal - self._finger, self.qvel]
        return np.concatenate(parts, 1, dtype=np.float32)

    def _feat(self) -> Array:
        parts = [self._finger, self._goal, self._distance()[:, None]]
        return np.concatenate(parts, 1, dtype=np.float32)

    def _save(self) -> State:
        return super()._save() | {"goal": self._goal.copy()}

    def _load(self, state: State) -> None:
        super()._load(state)
        self._goal = np.array(state["goal"])

    def snapshot(self) -> Array:
        """Joints and target of every world [N, 4]."""
        return np.concatenate([self.qpos, self._goal], 1)

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        """A picture [height, width, 3] of one row of `snapshot()`, seen from above."""
        if self._drawing is None:
            self._drawing = Drawing(_with_movable_target(self._wanted), self.camera)
        return self._drawing.frame(row, width, height, self.places)


def _with_movable_target(radius: float) -> mujoco.MjModel:
    """The model for pictures: the target has two joints, so that its place is part of qpos."""
    spec = mujoco.MjSpec.from_file(suite_file("reacher.xml"))
    spec.delete(spec.geom("target"))
    body = spec.worldbody.add_body(name="target", pos=[0, 0, 0.01])
    sphere = mujoco.mjtGeom.mjGEOM_SPHERE
    body.add_geom(type=sphere, size=[radius, 0, 0], material="target")
    for axis in ([1, 0, 0], [0, 1, 0]):
        body.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis)
    return spec.compile()
