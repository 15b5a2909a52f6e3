"""Tasks proposed by a frozen judge of transitions: the world is its own, so are the rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Rewarded
from rl.ranges import Count, Weight
from rl.types import State

Transition = tuple[Array, Array, Array, Array, Array, NDArray[np.bool_]]
"""A step of all worlds: obs, feat, next_obs, next_feat, act, terminated, each [N, ...]."""

JUDGED = 8192  # transitions at a time, where a round waits for its rewards


class Source(Protocol):
    """Who proposes (meta/proposals.py fills it)."""

    count: int

    def make_world(self, *, num_envs: int, **settings: Any) -> Any: ...

    def reward(
        self, task: Array, obs: Array, feat: Array, next_obs: Array, next_feat: Array, act: Array
    ) -> Array: ...


@dataclass(frozen=True)
class ProposedSettings:
    """What all of them are told; `episode_steps` is the length of an episode in the run's world."""

    episodes: Count
    episode_steps: Count
    threads: int
    floor: float | None
    alive: Weight
    effort: Weight


class Proposed(Rewarded):
    """K tasks, all of them for training: what is held out is the family one transfers to.

    A task is the number of a proposal. The learner sees the world's observations and the reward,
    never which task it is. The source has been told the `floor` already. Beside what it says,
    every task pays `alive` for a step survived and takes off `effort` times |act|^2, as hand-made
    families of bodies do: flailing drowns what tells the tasks of an untrained body apart.
    """

    task_names = ("proposal",)
    task_units = ("",)
    baselines = ("random",)
    body = None
    falls = None

    name: str
    kind: str
    """What the source is asked for: skills, random or mixture."""

    def __init__(
        self,
        *,
        settings: ProposedSettings,
        num_envs: int,
        seed: int,
        source: Source,
    ) -> None:
        self._alive, self._effort = settings.alive, settings.effort
        world = source.make_world(
            num_envs=num_envs, max_episode_steps=settings.episode_steps, threads=settings.threads
        )
        super().__init__(world, name=self.name, seed=seed, episodes=settings.episodes)
        if self._effort and self.spec.discrete:
            raise ValueError(
                f"tasks.effort={self._effort}: acts of this world are choices, of no size"
            )
        self.source = source
        self._obs: Array = np.zeros((num_envs, self.spec.obs_dim), np.float32)
        self._numbers: NDArray[np.int64] = np.zeros(num_envs, np.int64)
        self._owed: list[Transition] | None = None  # what waits for its reward

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.integers(self.source.count, size=(n, 1)).astype(np.float64)

    def all_tasks(self, held_out: bool) -> Array:
        return np.arange(float(self.source.count))[:, None]

    def _enter(self) -> None:
        numbers = self.tasks[:, 0].astype(np.int64)
        if numbers.min() < 0 or numbers.max() >= self.source.count:
            raise ValueError(
                f"{self.name}: tasks 0 to {self.source.count - 1} are proposed, not {numbers.max()}"
            )
        self._numbers, self._owed = numbers, None

    def wait(self) -> bool:
        self._owed = []
        return True

    def settle(self) -> Array:
        owed, self._owed = self._owed, None
        if not owed:
            return super().settle()
        at_once = max(1, JUDGED // self.num_envs)
        parts = [self._paid(owed[i : i + at_once]) for i in range(0, len(owed), at_once)]
        return np.concatenate(parts).astype(np.float32)

    def reset(self, mask: NDArray[np.bool_] | None = None) -> tuple[Array, dict[str, Any]]:
        self._obs, info = super().reset(mask)
        return self._obs, info

    def step(self, act: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        before, feat = self._obs, self._now
        next_obs, _, terminated, truncated, info = self.world.step(act)
        self._obs, self._now = next_obs, info["feat"]
        step = before, feat, next_obs, info["feat"], act, terminated
        if self._owed is None:
            return next_obs, self._paid([step])[0], terminated, truncated, info
        self._owed.append(step)
        return next_obs, np.zeros(self.num_envs), terminated, truncated, info

    def _paid(self, steps: Sequence[Transition]) -> Array:
        """The rewards [T, N] of T steps of all worlds."""
        obs, feat, next_obs, next_feat, act, terminated = (
            np.concatenate(parts) for parts in zip(*steps, strict=True)
        )
        which = np.tile(self._numbers, len(steps))
        rew = self.source.reward(which, obs, feat, next_obs, next_feat, act)
        rew = rew + self._alive * ~terminated
        if self._effort:
            rew -= self._effort * np.square(act, dtype=np.float64).reshape(len(act), -1).sum(1)
        return rew.reshape(len(steps), self.num_envs)

    def _save(self) -> State:
        return super()._save() | {"obs": self._obs.copy()}

    def _load(self, state: State) -> None:
        super()._load(state)
        self._obs = np.array(state["obs"])
