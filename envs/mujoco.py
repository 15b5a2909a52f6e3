"""MuJoCo worlds on `mujoco.batch`: native threads, one row of integration state per world.

The row holds the warm start too, so a saved and loaded world continues bit for bit; positions and
velocities alone would drift. Derived fields are one substep behind qpos after a step, as they are
in Gymnasium's own environments.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from gymnasium.spaces import Box
from mujoco.batch import Batch
from numpy.typing import NDArray

from envs.base import Array, World
from rl.types import State

_DIVERGED = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
    int(mujoco.mjtWarning.mjWARN_BADCTRL),
]


class Trail:
    """Mean velocity over the last second, per world: displacement over time, from positions."""

    def __init__(self, num_envs: int, width: int, dt: float) -> None:
        self.steps = max(1, round(1.0 / dt))
        self.dt = dt
        self._past = np.zeros((self.steps + 1, num_envs, width))
        self._age = np.zeros(num_envs, np.int64)

    def begin(self, ids: NDArray[np.int64], position: Array) -> None:
        """Start again at `position` [len(ids), width]."""
        self._age[ids] = 0
        self._past[0, ids] = position

    def push(self, position: Array) -> None:
        """Record the position [N, width] after a step."""
        self._age += 1
        slot = self._age % (self.steps + 1)
        self._past[slot, np.arange(len(slot))] = position

    def velocity(self) -> Array:
        """[N, width] in position units per second; 0 before the first step."""
        rows = np.arange(self._past.shape[1])
        back = np.minimum(self._age, self.steps)
        now = self._past[self._age % (self.steps + 1), rows]
        then = self._past[(self._age - back) % (self.steps + 1), rows]
        return (now - then) / (np.maximum(back, 1) * self.dt)[:, None]

    def state_dict(self) -> State:
        return {"past": self._past.copy(), "age": self._age.copy()}

    def load_state_dict(self, state: State) -> None:
        self._past = np.array(state["past"])
        self._age = np.array(state["age"])


class MujocoWorld(World):
    """N simulations of one model; `qpos` and `qvel` are live [N, nq] and [N, nv] views.

    A subclass fills `_start` (initial qpos and qvel), `_outcome` (reward and ending), `_observe`
    and `_feat`. `trail` names how many leading qpos entries make up the position whose mean
    velocity over the past second is kept. A world whose physics diverges goes back to the state
    it had before the step and is reported as unstable.
    """

    trail = 1

    def __init__(
        self,
        *,
        name: str,
        model: mujoco.MjModel,
        num_envs: int,
        obs_dim: int,
        frame_skip: int,
        max_episode_steps: int,
        threads: int,
        render_mode: str | None = None,
        persistent: bool = False,
        camera: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.frame_skip = frame_skip
        self.dt = model.opt.timestep * frame_skip
        low, high = model.actuator_ctrlrange.T.astype(np.float32)
        super().__init__(
            name=name,
            num_envs=num_envs,
            observation_space=Box(-np.inf, np.inf, (obs_dim,), np.float32),
            action_space=Box(low, high, dtype=np.float32),
            max_episode_steps=max_episode_steps,
            render_fps=round(1.0 / self.dt),
            render_mode=render_mode,
        )
        self.batch = Batch(model, num_envs, threads, persistent)
        self.qpos: NDArray[np.float64] = self.batch.bind("qpos")
        self.qvel: NDArray[np.float64] = self.batch.bind("qvel")
        self._ctrl = self.batch.bind("ctrl")
        self._trail = Trail(num_envs, self.trail, self.dt)
        self._camera = camera or {}

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        for i in ids:
            self.qpos[i], self.qvel[i] = self._start(self._rngs[i])
        self.batch.forward(ids)
        self._trail.begin(ids, self.qpos[ids, : self.trail])

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        before = self.batch.state.copy()
        warned = self.batch.warning[:, _DIVERGED, 1].sum(1)
        qpos_before = self.qpos.copy()
        self._ctrl[:] = act
        self._simulate()
        unstable = self.batch.warning[:, _DIVERGED, 1].sum(1) > warned
        unstable |= ~np.isfinite(self.qpos).all(1) | ~np.isfinite(self.qvel).all(1)
        if unstable.any():
            ids = np.flatnonzero(unstable)
            self.batch.state[ids] = before[ids]
            self.batch.forward(ids)
            self.batch.state[ids] = before[ids]  # forward moved the warm start
        self._trail.push(self.qpos[:, : self.trail])
        rew, terminated = self._outcome(act, qpos_before)
        return rew, terminated, unstable

    def _simulate(self) -> None:
        self.batch.step(None, self.frame_skip)

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Initial qpos [nq] and qvel [nv] of one world."""
        raise NotImplementedError

    def _outcome(self, act: Array, qpos_before: Array) -> tuple[Array, Array]:
        """Reward [N] and terminated [N] of the step that led here from `qpos_before` [N, nq]."""
        raise NotImplementedError

    def _save(self) -> State:
        return {"state": self.batch.state.copy(), "trail": self._trail.state_dict()}

    def _load(self, state: State) -> None:
        rows = np.asarray(state["state"])
        self.batch.state[:] = rows
        self.batch.forward()  # fills the derived fields, and moves the warm start
        self.batch.state[:] = rows
        self._trail.load_state_dict(state["trail"])

    def snapshot(self) -> Array:
        return self.qpos.copy()
