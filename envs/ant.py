"""A four-legged ant that may walk anywhere on a plane; Gymnasium's Ant-v5."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.contact import ContactWorld
from envs.drawing import Camera

__all__ = ["Ant"]


class Ant(ContactWorld):
    """Obs [105]: qpos without x and y, qvel, contact forces clipped to [-1, 1].

    Reward: forward speed + 1 - 0.5 |act|^2 - 0.0005 |contact forces|^2. Terminates when the torso
    leaves heights 0.2 to 1 m; the 1 is paid while it has not.
    """

    name = "ant"
    falls = True
    file = "ant.xml"
    obs_dim = 105
    frame_skip = 5
    feat_names = feats.FREE
    feat_units = feats.FREE_UNITS
    motion = ("x_velocity_1s", "y_velocity_1s")
    plane = ("x", "y")
    outputs = ("cfrc_ext", "xpos")
    camera = Camera(distance=4.2, elevation=-35.0, height=0.3)

    def _bind(self) -> None:
        super()._bind()
        self._forces = self.batch.bind("cfrc_ext").reshape(self.num_envs, -1)
        self._body = self.batch.bind("xpos")[:, 1, :2]

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.1, 0.1, self.model.nq)
        return qpos, 0.1 * rng.standard_normal(self.model.nv)

    def _place(self) -> Array:
        return np.array(self._body)

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        height = self.qpos[:, 2]
        healthy = (height >= 0.2) & (height <= 1.0)
        contact = 5e-4 * np.square(np.clip(self._forces, -1.0, 1.0)).sum(1)
        effort = 0.5 * np.square(act).sum(1)
        return self._travel()[:, 0] + healthy - (effort + contact), ~healthy

    def _observe(self) -> Array:
        forces = np.clip(self._forces[:, 6:], -1.0, 1.0)  # the first body is the floor's
        return np.concatenate([self.qpos[:, 2:], self.qvel, forces], 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.free(self)
