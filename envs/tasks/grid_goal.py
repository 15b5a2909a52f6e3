"""A grid with a hidden goal, found once and then walked to: one-shot navigation.

In the spirit of Wang et al., arXiv 1611.05763, section 3.2.3 (a maze whose goal moves); the grid
and the block around the start are those of GridNavi (VariBAD, Zintgraf et al., arXiv 1910.08348).
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Tasks
from rl.types import State

__all__ = ["GridGoal"]

MOVES = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
"""What the four actions add to (x, y); a wall stops a move."""


class GridGoal(Tasks):
    """Obs [2 * size]: x one-hot, then y one-hot. Every episode starts in the corner (0, 0).

    One input for each cell would say nothing of cells that were never goals in training: a learner
    then walks to training goals without fault and is lost with held-out ones.

    The task row is the goal's (x, y), uniform over the cells outside the 2x2 block at the start.
    Those with (x + 2y) divisible by 5, a knight's move apart and so in every part of the grid, are
    goals of held-out tasks only, all others of training tasks only. A step costs `step_cost`; the
    one that reaches the goal earns 1 and ends the episode (`terminated`); after `episode_steps`
    without it the episode is `truncated`. Nothing of the goal is seen before it is reached, and
    the next episode (visit) of the trial has the same one.
    """

    task_names = ("goal_x", "goal_y")
    task_units = ("cell", "cell")
    baselines = ("random", "sweep")

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        size: int,
        episodes: int,
        episode_steps: int | None,
        step_cost: float,
    ) -> None:
        if size < 3:
            raise ValueError(f"tasks.size={size}: below 3 no cell lies away from the start")
        if episode_steps is not None and episode_steps < 2 * size - 2:
            raise ValueError(
                f"tasks.episode_steps={episode_steps}: the far corner is {2 * size - 2} steps away"
            )
        super().__init__(
            name="grid_goal",
            num_envs=num_envs,
            seed=seed,
            obs_dim=2 * size,
            action_space=Discrete(len(MOVES)),
            episodes=episodes,
            episode_steps=size * size if episode_steps is None else episode_steps,
            feat_names=("x", "y", "steps"),
            feat_units=("cell", "cell", "step"),
        )
        self.size = size
        self.step_cost = step_cost
        self._worlds = np.arange(num_envs)
        self._place = np.zeros((num_envs, 2), np.int64)
        self._time = np.zeros(num_envs, np.int64)

    def goals(self, held_out: bool) -> Array:
        """All goals [G, 2] of the training tasks, or of those held out."""
        y, x = np.divmod(np.arange(self.size**2), self.size)
        away = (x > 1) | (y > 1)
        mine = ((x + 2 * y) % 5 == 0) == held_out
        return np.stack([x, y], 1)[away & mine].astype(np.float64)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        goals = self.goals(held_out)
        return goals[rng.integers(0, len(goals), n)]

    def all_tasks(self, held_out: bool) -> Array:
        return self.goals(held_out)

    def moved(self, place: Array, act: Array) -> Array:
        """Where an action [N] leads from a place [N, 2]."""
        return np.clip(place + MOVES[np.asarray(act, np.int64)], 0, self.size - 1)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._place[ids] = 0
        self._time[ids] = 0

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        self._place = self.moved(self._place, act)
        self._time += 1
        found = (self._place == self.tasks).all(1)
        rew = found.astype(np.float64) - self.step_cost
        return rew, found, ~found & (self._time >= self.episode_steps)

    def _observe(self) -> Array:
        obs = np.zeros((self.num_envs, 2 * self.size), np.float32)
        obs[self._worlds, self._place[:, 0]] = 1.0
        obs[self._worlds, self.size + self._place[:, 1]] = 1.0
        return obs

    def _feat(self) -> Array:
        return np.column_stack([self._place, self._time]).astype(np.float32)

    def _save(self) -> State:
        return {"place": self._place.copy(), "time": self._time.copy()}

    def _load(self, state: State) -> None:
        self._place = np.array(state["place"])
        self._time = np.array(state["time"])
