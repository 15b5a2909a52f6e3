"""Random MDPs of ten states: the tabular benchmark of RL² (Duan et al., arXiv 1611.02779, 3.2).

Each task draws its mean rewards r(s, a) ~ N(1, 1) and its transitions P(. | s, a) ~ Dirichlet(1);
each step adds N(0, 1) to the reward. Both are drawn anew for every task, as the paper's text has
it: with rewards that do not vary within a task, or tasks that share them, other numbers come out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Tasks
from rl.types import State

__all__ = ["TabularMDP"]


class TabularMDP(Tasks):
    """Obs [S]: the state, one-hot. Actions: A, discrete. An episode starts in state 0.

    The task row is r(s, a) [S * A], then P(s' | s, a) [S * A * S]. An episode is `episode_steps`
    long and then `terminated`: the horizon is a part of the MDP, nothing is earned after it, and
    a learner that bootstraps there would plan for more steps than there are.
    """

    baselines = ("random", "psrl", "optimal_mdp")

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        states: int,
        actions: int,
        episodes: int,
        episode_steps: int,
    ) -> None:
        if min(states, actions, episode_steps) < 1:
            raise ValueError(
                f"tasks.states={states}, tasks.actions={actions} and "
                f"tasks.episode_steps={episode_steps} must be at least 1"
            )
        self.states = states
        self.actions = actions
        self.task_names = tuple(_names(states, actions))
        self.task_units = ("",) * len(self.task_names)
        super().__init__(
            name="tabular_mdp",
            num_envs=num_envs,
            seed=seed,
            obs_dim=states,
            action_space=Discrete(actions),
            episodes=episodes,
            episode_steps=episode_steps,
        )
        self._worlds = np.arange(num_envs)
        self._state = np.zeros(num_envs, np.int64)
        self._time = np.zeros(num_envs, np.int64)
        self._enter()

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        means = rng.normal(1.0, 1.0, (n, self.states * self.actions))
        flat = rng.standard_exponential((n, self.states * self.actions, self.states))
        transitions = flat / flat.sum(-1, keepdims=True)
        return np.concatenate([means, transitions.reshape(n, -1)], 1)

    def unpack(self, tasks: Array) -> tuple[Array, Array]:
        """Task rows [n, D] as mean rewards [n, S, A] and transitions [n, S, A, S]."""
        s, a = self.states, self.actions
        return tasks[:, : s * a].reshape(-1, s, a), tasks[:, s * a :].reshape(-1, s, a, s)

    def _enter(self) -> None:
        self._means, transitions = self.unpack(self.tasks)
        self._cumulative = transitions[..., :-1].cumsum(-1)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._state[ids] = 0
        self._time[ids] = 0

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        at = (self._worlds, self._state, np.asarray(act, np.int64))
        rew = self._means[at] + self._rng.standard_normal(self.num_envs)
        place = self._rng.random(self.num_envs)
        self._state = (place[:, None] >= self._cumulative[at]).sum(1)
        self._time += 1
        over = self._time >= self.episode_steps
        return rew, over, np.zeros(self.num_envs, np.bool_)

    def _observe(self) -> Array:
        obs = np.zeros((self.num_envs, self.states), np.float32)
        obs[self._worlds, self._state] = 1.0
        return obs

    def _save(self) -> State:
        return {"state": self._state.copy(), "time": self._time.copy()}

    def _load(self, state: State) -> None:
        self._state = np.array(state["state"])
        self._time = np.array(state["time"])


def _names(states: int, actions: int) -> Iterator[str]:
    pairs = [(s, a) for s in range(states) for a in range(actions)]
    yield from (f"reward_{s}_{a}" for s, a in pairs)
    yield from (f"to_{t}_from_{s}_{a}" for s, a in pairs for t in range(states))
