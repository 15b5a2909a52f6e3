"""Bodies on rails in the x-z plane, and what Gymnasium's two planar runners that fall share."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.drawing import Camera
from envs.mujoco import MujocoWorld


class PlanarWorld(MujocoWorld):
    """Qpos begins with x, height and pitch. Obs: qpos without x, qvel."""

    feat_names = feats.PLANAR
    feat_units = feats.planar_units("m")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")

    def _observe(self) -> Array:
        return np.concatenate([self.qpos[:, 1:], self.qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.planar(self)


class UprightRunner(PlanarWorld):
    """Paid its forward speed + 1 - 0.001 |act|^2; terminates when it falls, without the 1.

    Obs: qpos without x, qvel clipped to [-10, 10]. A subclass fills `_healthy`.
    """

    camera = Camera(height=0.8)

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.005, 0.005, self.model.nq)
        return qpos, rng.uniform(-0.005, 0.005, self.model.nv)

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        healthy = self._healthy()
        rew = self.speed[:, 0] + healthy - 1e-3 * np.square(act).sum(1)
        return rew, ~healthy

    def _healthy(self) -> Array:
        """Which worlds have not fallen, [N] bool."""
        raise NotImplementedError

    def _observe(self) -> Array:
        qvel = np.clip(self.qvel, -10.0, 10.0)
        return np.concatenate([self.qpos[:, 1:], qvel], 1, dtype=np.float32)
