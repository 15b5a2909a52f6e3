"""Sinusoids to be predicted: the supervised check of MAML (Finn et al., arXiv 1703.03400, 5.1).

y = A sin(x - p), with A ~ U(0.1, 5) and p ~ U(0, pi) drawn per task, x ~ U(-5, 5) per point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Tasks
from rl.types import State

__all__ = ["Sinusoid"]

AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, np.pi)
REACH = 5.0


class Sinusoid(Tasks):
    """Obs [1]: x as it is. The action is the prediction of y. An episode is `points` points.

    Two scales. The world's action is y in true units, in [-high, high]; a learner's act lies in
    [-1, 1] and is scaled to that by rl/collect.py. `info["target"]` [N, 1] is in the learner's
    scale: y / high, for the x that was shown before the step. The reward is in true units,
    -(prediction - y)^2, so that minus the mean return of a step is the paper's error. An act
    beyond [-1, 1] is clipped on its way here; with `high` twice the largest y that flatters only
    predictions which are wrong by more than `high` / 2.

    An episode is `terminated` after its points: a data set, after which nothing comes.
    """

    task_names = ("amplitude", "phase")
    task_units = ("", "rad")

    def __init__(
        self, *, num_envs: int, seed: int, episodes: int, points: int, high: float
    ) -> None:
        if points < 1:
            raise ValueError(f"tasks.points={points}: an episode must have at least 1")
        if high < AMPLITUDE[1]:
            raise ValueError(
                f"tasks.high={high}: predictions must reach the largest y; give at least "
                f"{AMPLITUDE[1]:g}, better {2 * AMPLITUDE[1]:g}"
            )
        super().__init__(
            name="sinusoid",
            num_envs=num_envs,
            seed=seed,
            obs_dim=1,
            action_space=Box(-high, high, (1,), np.float32),
            episodes=episodes,
            episode_steps=points,
            feat_names=("x",),
            feat_units=("",),
        )
        self.high = high
        self._x = np.zeros(num_envs)
        self._time = np.zeros(num_envs, np.int64)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return np.stack([rng.uniform(*AMPLITUDE, n), rng.uniform(*PHASE, n)], 1)

    def step(self, act: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        y = self._y()
        obs, rew, terminated, truncated, info = super().step(act)
        info["target"] = (y / self.high)[:, None].astype(np.float32)
        return obs, rew, terminated, truncated, info

    def _y(self) -> Array:
        amplitude, phase = self.tasks.T
        return amplitude * np.sin(self._x - phase)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._time[ids] = 0
        self._x[ids] = self._rng.uniform(-REACH, REACH, len(ids))

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        rew = -((np.asarray(act, np.float64)[:, 0] - self._y()) ** 2)
        self._x = self._rng.uniform(-REACH, REACH, self.num_envs)
        self._time += 1
        over = self._time >= self.episode_steps
        return rew, over, np.zeros(self.num_envs, np.bool_)

    def _observe(self) -> Array:
        return self._x.astype(np.float32)[:, None]

    def _feat(self) -> Array:
        return self._observe()

    def _save(self) -> State:
        return {"x": self._x.copy(), "time": self._time.copy()}

    def _load(self, state: State) -> None:
        self._x = np.array(state["x"])
        self._time = np.array(state["time"])
