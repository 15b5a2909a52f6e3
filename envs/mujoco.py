"""MuJoCo worlds on `mujoco.batch`: native threads, one row of integration state per world.

The row holds the warm start too, so a saved and loaded world continues bit for bit; positions and
velocities alone would drift. Derived fields are one substep behind qpos after a step, as they are
in Gymnasium's own environments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium.spaces import Box
from mujoco.batch import Batch
from numpy.typing import NDArray

from envs.base import Array, World
from envs.drawing import Camera, Drawing
from rl.ranges import Count
from rl.types import State

_DIVERGED = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjNWARNING.value)

_log = mujoco.MjLogConfig.get()
_log.logto_file = False  # MuJoCo would leave a MUJOCO_LOG.TXT in the folder the user stands in
_log.set()


def _cores() -> int:
    """How many cores this process may use, which in a container is fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_model(path: str) -> mujoco.MjModel:
    """The model in an XML file.

    MuJoCo warns on every load of a model that sets a total mass, and asks to have the mass set
    after compiling. Doing so gives the same model bit for bit, and leaves real warnings to be seen.
    """
    spec = mujoco.MjSpec.from_file(path)
    mass, spec.compiler.settotalmass = spec.compiler.settotalmass, -1.0
    model = spec.compile()
    if mass > 0:
        mujoco.mj_setTotalmass(model, mass)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def gymnasium_model(file: str) -> mujoco.MjModel:
    """One of the models that come with Gymnasium."""
    import gymnasium.envs.mujoco as home

    return load_model(os.path.join(home.__path__[0], "assets", file))


class Trail:
    """Mean velocity over the last second, per world: displacement over time, from positions.

    A ring of the last second's positions that all worlds turn together. A world that begins fills
    its whole ring with its first position, so the oldest entry is never from before.
    """

    def __init__(self, num_envs: int, width: int, dt: float) -> None:
        self.steps = max(1, round(1.0 / dt))
        self.dt = dt
        self._past = np.zeros((self.steps + 1, num_envs, width))
        self._now = 0
        self._age = np.zeros(num_envs, np.int64)

    def begin(self, ids: NDArray[np.int64], position: Array) -> None:
        """Start again at `position` [len(ids), width]."""
        self._age[ids] = 0
        self._past[:, ids] = position

    def push(self, position: Array) -> None:
        """Record the position [N, width] after a step."""
        self._age += 1
        self._now = (self._now + 1) % (self.steps + 1)
        self._past[self._now] = position

    def velocity(self) -> Array:
        """[N, width] in position units per second; 0 before the first step."""
        moved = self._past[self._now] - self._past[(self._now + 1) % (self.steps + 1)]
        velocity: Array = moved / (self._age.clip(1, self.steps) * self.dt)[:, None]
        return velocity

    def state_dict(self) -> State:
        """Everything that an exact resume needs."""
        return {"past": self._past.copy(), "now": self._now, "age": self._age.copy()}

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self._past = np.array(state["past"])
        self._now = int(state["now"])
        self._age = np.array(state["age"])


class MujocoWorld(World):
    """N simulations of one model; `qpos` and `qvel` are live [N, nq] and [N, nv] views.

    A subclass states `name`, `file` (of its model), `obs_dim` and `frame_skip`, and fills `_start`
    (initial qpos and qvel), `_outcome` (reward and ending), `_observe`, `_feat` and, for arrays of
    the simulation that it reads, `_bind`. `trail` says how many leading qpos entries make up the
    position: `speed` [N, trail] is its velocity over the last step and `pace()` its mean over the
    past second. A world whose physics diverges goes back to the state it had before the step and
    is reported as unstable. `threads` 0 means one per core that this process may use.
    """

    name: str
    file: ClassVar[str]
    obs_dim: ClassVar[int]
    frame_skip: ClassVar[int]
    trail: ClassVar[int] = 1
    camera: ClassVar[Camera] = Camera()

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: Count,
        threads: int,
        render_mode: str | None = None,
    ) -> None:
        self.model = self._compile()
        self.dt = self.model.opt.timestep * self.frame_skip
        low, high = self.model.actuator_ctrlrange.T.astype(np.float32)
        super().__init__(
            name=self.name,
            num_envs=num_envs,
            observation_space=Box(-np.inf, np.inf, (self.obs_dim,), np.float32),
            action_space=Box(low, high, dtype=np.float32),
            max_episode_steps=max_episode_steps,
            render_fps=round(1.0 / self.dt),
            render_mode=render_mode,
        )
        self.batch = self._simulator(min(threads or _cores(), num_envs))
        self.qpos: NDArray[np.float64] = self.batch.bind("qpos")
        self.qvel: NDArray[np.float64] = self.batch.bind("qvel")
        self.speed: NDArray[np.float64] = np.zeros((num_envs, self.trail))
        self._ctrl = self.batch.bind("ctrl")
        self._warned = self.batch.warning[:, _DIVERGED, 1]
        self._before = self.batch.state.copy()
        self._rest = self.batch.state[0].copy()
        self._trail = Trail(num_envs, self.trail, self.dt)
        self._drawing: Drawing | None = None
        self._bind()

    def pace(self) -> Array:
        """Mean velocity [N, trail] over the past second, or over the episode if it is younger."""
        return self._trail.velocity()

    def vary(self, fields: Mapping[str, Array]) -> None:
        """Give every simulation values of its own [N, ...] for these fields of the model.

        What mj_setConst derives from them (inverse weights, masses of subtrees, ...) follows; the
        statistics in `model.stat`, which scale the solver's tolerance, do not, there or here.
        Reset the worlds before their next step. `state_dict` leaves the fields out, so whoever
        loads one gives them again first. Pictures go on showing the common model.
        """
        for name, values in fields.items():
            self.batch.expand(name)[:] = values
        self.batch.set_const()

    def _compile(self) -> mujoco.MjModel:
        return gymnasium_model(self.file)

    def _bind(self) -> None:
        """Keep what a subclass reads besides qpos and qvel: called once, when all else is there."""

    def _simulator(self, threads: int) -> Any:
        return Batch(self.model, self.num_envs, threads)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self.batch.state[ids] = self._rest
        for i in ids:
            self.qpos[i], self.qvel[i] = self._start(self._rngs[i])
        self.batch.forward(ids)
        self.speed[ids] = 0.0
        self._trail.begin(ids, self.qpos[ids, : self.trail])

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        np.copyto(self._before, self.batch.state)
        before = self.qpos.copy()
        self._ctrl[:] = act
        self._simulate()
        unstable = self._diverged()
        self.speed = (self.qpos[:, : self.trail] - before[:, : self.trail]) / self.dt
        self._trail.push(self.qpos[:, : self.trail])
        rew, terminated = self._outcome(act, before)
        return rew, terminated, unstable

    def _diverged(self) -> NDArray[np.bool_]:
        """Which worlds diverged [N]; those are taken back to before the step."""
        if not self._warned.any() and np.isfinite(self.batch.state.sum()):
            return np.zeros(self.num_envs, np.bool_)  # nearly always, and quickly
        unstable: NDArray[np.bool_] = self._warned.any(1) | ~np.isfinite(self.batch.state).all(1)
        good = np.isfinite(self._before).all(1, keepdims=True)
        self.batch.state[unstable] = np.where(good, self._before, self._rest)[unstable]
        # MuJoCo resets a diverged simulation, counter and all, then counts 1: so start from zero
        self.batch.warning[:] = 0
        return unstable

    def _simulate(self) -> None:
        """Advance all simulations by one step of the world, under the controls just written."""
        self.batch.step(None, self.frame_skip)

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Initial qpos [nq] and qvel [nv] of one world."""
        raise NotImplementedError

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        """Reward [N] and terminated [N] of the step that led here from qpos `before` [N, nq]."""
        raise NotImplementedError

    def _save(self) -> State:
        return {
            "state": self.batch.state.copy(),
            "speed": self.speed.copy(),
            "trail": self._trail.state_dict(),
        }

    def _load(self, state: State) -> None:
        rows = np.asarray(state["state"])
        if rows.shape != self.batch.state.shape:
            raise ValueError(
                f"the saved physics has shape {rows.shape}, this world's {self.batch.state.shape}: "
                "it was saved by another model or another MuJoCo"
            )
        self.batch.state[:] = rows
        self.batch.forward()  # fills the derived fields, and moves the warm start
        self.batch.state[:] = rows
        self.batch.warning[:] = 0
        self.speed = np.array(state["speed"])
        self._trail.load_state_dict(state["trail"])

    def snapshot(self) -> Array:
        """The positions of every world [N, nq]."""
        return self.qpos.copy()

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        """A picture [height, width, 3] of one row of `snapshot()`; the physics is not touched."""
        if self._drawing is None:
            self._drawing = Drawing(self.model, self.camera)
        return self._drawing.frame(row, width, height, self.places)

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderers."""
        if self._drawing is not None:
            self._drawing.close()
            self._drawing = None
