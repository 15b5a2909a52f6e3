"""What the point families share: a position in the plane, moved by the act itself."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Tasks
from rl.types import State


class Plane(Tasks):
    """Base of the point families: feats [N, 2] are the position (x, y) in m, obs those by `unit`.

    An act is a move of at most `reach` m along each axis. The plane is open, or ends at `walls` m
    from the origin on each axis, as that of env=point does at env.size. All worlds are one array.
    A subclass says where episodes start and what a move is worth.
    """

    task_names: tuple[str, ...] = ("goal_x", "goal_y")
    task_units: tuple[str, ...] = ("m", "m")
    farthest = 0.0
    """How far goals lie from the origin on an axis, m."""

    def __init__(
        self,
        *,
        name: str,
        num_envs: int,
        seed: int,
        reach: float,
        episodes: int,
        episode_steps: int,
        unit: float = 1.0,
        walls: float | None = None,
    ) -> None:
        if unit <= 0:
            raise ValueError(f"tasks.unit={unit} must be above 0")
        if walls is not None and (walls <= 0 or walls < self.farthest):
            least = f"at least {self.farthest:g}" if self.farthest else "above 0"
            raise ValueError(f"tasks.walls={walls} must be {least} (goals lie within), or null")
        if episode_steps < 1:
            raise ValueError(f"tasks.episode_steps={episode_steps}: want at least 1")
        super().__init__(
            name=name,
            num_envs=num_envs,
            seed=seed,
            obs_dim=2,
            action_space=gymnasium.spaces.Box(-reach, reach, (2,), np.float32),
            episodes=episodes,
            episode_steps=episode_steps,
            feat_names=("x", "y"),
            feat_units=("m", "m"),
        )
        self.spec = replace(self.spec, motion=("x", "y"), plane=("x", "y"))
        self.reach = reach
        self.unit = unit
        self._walls = np.inf if walls is None else walls
        self._at: Array = np.zeros((num_envs, 2))
        self._age: NDArray[np.int64] = np.zeros(num_envs, np.int64)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._at[ids] = self._start(len(ids))
        self._age[ids] = 0

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        before = self._at
        after = before + np.clip(act, -self.reach, self.reach)
        self._at = np.clip(after, -self._walls, self._walls)
        self._age += 1
        rew, terminated = self._outcome(before)
        return rew, terminated, (self._age >= self.episode_steps) & ~terminated

    def _observe(self) -> Array:
        return (self._at / self.unit).astype(np.float32)

    def _feat(self) -> Array:
        return self._at.astype(np.float32)

    def rewards(self, tasks: Array, feat: Array, next_feat: Array, act: Array) -> Array:
        held = self.tasks, self._at
        self.tasks, self._at = np.asarray(tasks, np.float64), np.asarray(next_feat, np.float64)
        try:
            return self._outcome(np.asarray(feat, np.float64))[0]
        finally:
            self.tasks, self._at = held

    def _save(self) -> State:
        return {"position": self._at.copy(), "age": self._age.copy()}

    def _load(self, state: State) -> None:
        self._at = np.array(state["position"], np.float64)
        self._age = np.array(state["age"], np.int64)

    def _start(self, n: int) -> Array:
        """Where n episodes start [n, 2]."""
        raise NotImplementedError

    def _outcome(self, before: Array) -> tuple[Array, Array]:
        """Reward [N] and terminated [N] of the move that led here from `before` [N, 2]."""
        raise NotImplementedError
