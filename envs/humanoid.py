"""A humanoid that may walk anywhere on a plane; Gymnasium's Humanoid-v5."""

from __future__ import annotations

import numpy as np

from envs import feats
from envs.base import Array
from envs.contact import ContactWorld
from envs.drawing import Camera

__all__ = ["Humanoid"]


class Humanoid(ContactWorld):
    """Obs [348]: qpos without x and y, qvel, body inertias, body velocities, torques, contacts.

    Reward: 1.25 forward speed of the centre of mass + 5 - 0.1 |act|^2 - at most 10 for contact
    forces. Terminates when the torso leaves heights 1 to 2 m; the 5 is paid while it has not.
    """

    name = "humanoid"
    falls = True
    file = "humanoid.xml"
    obs_dim = 348
    frame_skip = 5
    feat_names = feats.FREE
    feat_units = feats.FREE_UNITS
    motion = ("x_velocity_1s", "y_velocity_1s")
    plane = ("x", "y")
    outputs = ("cfrc_ext", "cinert", "cvel", "qfrc_actuator", "xipos")
    camera = Camera(distance=3.8, height=0.9)

    def _bind(self) -> None:
        super()._bind()
        num = self.num_envs
        flat = {name: self.batch.bind(name).reshape(num, -1) for name in self.outputs}
        self._forces = flat["cfrc_ext"]
        self._centres = self.batch.bind("xipos")
        self._share = self.model.body_mass[:, None]
        self._mass = self.model.body_mass.sum()
        # the first body is the floor's, the first six forces the root joint's
        parts = [self.qpos[:, 2:], self.qvel, flat["cinert"][:, 10:], flat["cvel"][:, 6:]]
        self._parts = [*parts, flat["qfrc_actuator"][:, 6:], flat["cfrc_ext"][:, 6:]]

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.01, 0.01, self.model.nq)
        return qpos, rng.uniform(-0.01, 0.01, self.model.nv)

    def _place(self) -> Array:
        centre: Array = (self._share * self._centres).sum(1)[:, :2] / self._mass
        return centre

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        healthy = (self.qpos[:, 2] > 1.0) & (self.qpos[:, 2] < 2.0)
        contact = np.minimum(5e-7 * np.square(self._forces).sum(1), 10.0)
        effort = 0.1 * np.square(self._ctrl).sum(1)
        forward = 1.25 * self._travel()[:, 0]
        return forward + 5.0 * healthy - (effort + contact), ~healthy

    def _observe(self) -> Array:
        return np.concatenate(self._parts, 1, dtype=np.float32)

    def _feat(self) -> Array:
        return feats.free(self)
