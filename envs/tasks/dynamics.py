"""What the dynamics families share: one reward, and in every task another body.

A task is a factor for each body's mass and inertia, each joint's damping and each geom's friction,
as in the authors' `rand_param_envs` (github.com/dennisl88/rand_param_envs): 1.5^u, for damping
1.3^u, u ~ U(-limit, limit). Where we differ: one factor serves all three axes of an inertia and
all three kinds of friction, since only one of either counts for a body in a plane; quantities that
are zero get none; and what MuJoCo derives from masses is derived anew, which the authors' code
leaves as it was.
"""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.mujoco import MujocoWorld
from envs.tasks.base import Rewarded


class Dynamics(Rewarded):
    """Base of the dynamics families: the world's own obs, reward and endings; obs tell no task."""

    baselines = ("random",)
    body = True
    falls = True
    world: MujocoWorld

    def __init__(
        self, world: MujocoWorld, *, name: str, seed: int, episodes: int, limit: float
    ) -> None:
        if not 0 < limit <= 10:
            raise ValueError(f"tasks.limit={limit}: want above 0 and at most 10")
        model = world.model
        self._bodies = np.flatnonzero(model.body_mass)
        self._dofs = np.flatnonzero(model.dof_damping)
        geoms = np.arange(model.ngeom)
        body = [model.body(i).name for i in self._bodies]
        joint = [model.joint(model.dof_jntid[i]).name for i in self._dofs]
        geom = [model.geom(i).name for i in geoms]
        self.task_names = (
            *(f"mass_{b}" for b in body),
            *(f"inertia_{b}" for b in body),
            *(f"damping_{j}" for j in joint),
            *(f"friction_{g}" for g in geom),
        )
        self.task_units = ("x",) * len(self.task_names)
        self._ends = np.cumsum([len(body), len(body), len(joint)])
        base = np.full(len(self.task_names), 1.5)
        base[self._ends[1] : self._ends[2]] = 1.3
        self._log_base = np.log(base)
        self._limit = limit
        super().__init__(world, name=name, seed=seed, episodes=episodes)
        self.tasks[:] = 1.0

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        u = rng.uniform(-self._limit, self._limit, (n, self.task_dim))
        return np.exp(u * self._log_base)

    def fields(self, tasks: Array) -> dict[str, Array]:
        """The model fields of these tasks, [n, ...] each, by MuJoCo's names."""
        model = self.world.model
        mass, inertia, damping, friction = np.split(tasks, self._ends, 1)
        n = len(tasks)
        body_mass = np.tile(model.body_mass, (n, 1))
        body_mass[:, self._bodies] *= mass
        body_inertia = np.tile(model.body_inertia, (n, 1, 1))
        body_inertia[:, self._bodies] *= inertia[:, :, None]
        dof_damping = np.tile(model.dof_damping, (n, 1))
        dof_damping[:, self._dofs] *= damping
        return {
            "body_mass": body_mass,
            "body_inertia": body_inertia,
            "dof_damping": dof_damping,
            "geom_friction": model.geom_friction * friction[:, :, None],
        }

    def _enter(self) -> None:
        self.world.vary(self.fields(self.tasks))

    def _reward(self, feat: Array, next_feat: Array, act: Array, own: Array) -> Array:
        return own
