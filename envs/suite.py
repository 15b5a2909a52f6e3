"""dm_control's suite tasks on `mujoco.batch`, equal to the suite's own step for step.

Two things differ from Gymnasium's worlds. The suite ends a step with the first half of the next
one, so that positions, velocities and what follows from them are current, while sensors of forces
and accelerations are those of the last substep. And an episode begins from two forward passes
without actuation, which the solver's warm start remembers.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any, ClassVar

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from envs.base import Array
from envs.mujoco import MujocoWorld, load_model
from rl.ranges import Count

_VEL = int(mujoco.mjtStage.mjSTAGE_VEL)
_IDLE = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)


def suite_file(name: str) -> str:
    """Path of a file of the suite; finds dm_control without the half second of importing it."""
    spec = importlib.util.find_spec("dm_control")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("the suite's models come with dm_control: pip install dm-control")
    return os.path.join(spec.submodule_search_locations[0], "suite", name)


def suite_model(name: str) -> mujoco.MjModel:
    """A model of the suite, as its tasks load it."""
    return load_model(suite_file(name))


def tolerance(
    x: Array,
    low: float = 0.0,
    high: float = 0.0,
    *,
    margin: float = 0.0,
    at_margin: float = 0.1,
    shape: str = "gaussian",
) -> Array:
    """The suite's soft indicator: 1 for x [...] in [low, high], falling outside.

    `margin` beyond the bounds it is `at_margin`; it falls as a `shape` of gaussian, linear or
    quadratic, the latter two to 0. Without a margin it is a hard indicator.
    """
    inside = (low <= x) & (x <= high)
    if margin == 0:
        return inside.astype(np.float64)
    far = np.where(x < low, low - x, x - high) / margin
    if shape == "gaussian":
        value = np.exp(-0.5 * (far * np.sqrt(-2 * np.log(at_margin))) ** 2)
    elif shape == "linear":
        scaled = far * (1 - at_margin)
        value = np.where(abs(scaled) < 1, 1 - scaled, 0.0)
    elif shape == "quadratic":
        scaled = far * np.sqrt(1 - at_margin)
        value = np.where(abs(scaled) < 1, 1 - scaled**2, 0.0)
    else:
        raise ValueError(f"shape={shape}: known are gaussian, linear, quadratic")
    return np.where(inside, 1.0, value)


def choose_task(domain: str, task: str, known: dict[str, Any]) -> Any:
    """What `known` holds for this task, or an error that names the known ones."""
    if task not in known:
        raise ValueError(f"env.task={task} is no task of {domain}: choose {', '.join(known)}")
    return known[task]


class SuiteWorld(MujocoWorld):
    """N simulations of one suite model. No task of these worlds terminates.

    A subclass names its `tasks`, with what each of them wants: `_wanted` is that of the one chosen.
    It fills `_start` with the suite's own random draws in the suite's order, so that with the
    suite's generator it would start from the suite's states; `_reward`; `_observe`; `_feat`.
    """

    tasks: ClassVar[dict[str, Any]]

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: Count,
        threads: int,
        task: str,
        render_mode: str | None = None,
    ) -> None:
        self._wanted = choose_task(self.name, task, self.tasks)
        super().__init__(
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            threads=threads,
            render_mode=render_mode,
        )
        self._disabled = self.batch.expand("opt.disableflags").reshape(-1)
        self._flags = int(self._disabled[0])
        self._forward(np.arange(num_envs))
        self._cold = self.batch.state[0].copy()  # the default pose and its warm start

    def _compile(self) -> mujoco.MjModel:
        return suite_model(self.file)

    def _simulator(self, threads: int) -> Any:
        # Persistent: the stages at a step's end are then the next step's first, computed once.
        return Batch(self.model, self.num_envs, threads, True)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self.batch.state[ids] = self._cold
        self._place(ids)
        self._forward(ids)
        self.speed[ids] = 0.0
        self._trail.begin(ids, self.qpos[ids, : self.trail])

    def _place(self, ids: NDArray[np.int64]) -> None:
        """Write the initial states of worlds whose rows hold the default pose."""
        for i in ids:
            self.qpos[i], self.qvel[i] = self._start(self._rngs[i])

    def _forward(self, ids: NDArray[np.int64]) -> None:
        """A forward pass of these worlds without actuation."""
        self._disabled[ids] = self._flags | _IDLE
        self.batch.forward(ids)
        self._disabled[ids] = self._flags

    def _simulate(self) -> None:
        self.batch.step(None, self.frame_skip, _VEL)

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        return self._reward(), np.zeros(self.num_envs, np.bool_)

    def _reward(self) -> Array:
        """The task's reward [N] float64 in [0, 1]."""
        raise NotImplementedError

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Joints with limits uniform within them, other hinges uniform on the circle."""
        qpos = self.model.qpos0.copy()
        for j in range(self.model.njnt):
            if self.model.jnt_limited[j]:
                qpos[j] = rng.uniform(*self.model.jnt_range[j])
            elif self.model.jnt_type[j] == mujoco.mjtJoint.mjJNT_HINGE:
                qpos[j] = rng.uniform(-np.pi, np.pi)
        return qpos, np.zeros(self.model.nv)
