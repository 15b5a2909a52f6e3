"""What the locomotion families share: a body that is paid for how fast, or where, it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.ant import Ant
from envs.base import Array, World
from envs.cheetah import HalfCheetah
from envs.tasks.base import Rewarded


class Runner(Rewarded):
    """Base of the locomotion families: obs and feats are the world's, plus feats that are shown.

    `shown` names feats that are appended to obs, for tasks that ask where the body is: the worlds
    themselves leave its place out.
    """

    baselines = ("random",)
    body = True

    def __init__(
        self, world: World, *, name: str, seed: int, episodes: int, shown: Sequence[str] = ()
    ) -> None:
        super().__init__(world, name=name, seed=seed, episodes=episodes)
        self.spec = replace(self.spec, obs_dim=self.spec.obs_dim + len(shown))
        self._shown = [self.spec.feat_names.index(feat) for feat in shown]
        self._pace = self.spec.feat_names.index("x_velocity")

    def reset(self, mask: NDArray[np.bool_] | None = None) -> tuple[Array, dict[str, Any]]:
        obs, info = super().reset(mask)
        return self._show(obs, info["feat"]), info

    def step(self, act: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        obs, rew, terminated, truncated, info = super().step(act)
        return self._show(obs, info["feat"]), rew, terminated, truncated, info

    def _show(self, obs: Array, feat: Array) -> Array:
        return np.concatenate([obs, feat[:, self._shown]], 1) if self._shown else obs

    def _speed(self, next_feat: Array) -> Array:
        """Forward velocity [N] in m/s: the way made along x in this step, by its duration."""
        speed: Array = next_feat[:, self._pace].astype(np.float64)
        return speed


def effort(act: Array) -> Array:
    """|act|^2 [N]."""
    return np.square(act, dtype=np.float64).sum(1)


DIRECTIONS = np.array([[-1.0], [1.0]])
"""Backward and forward."""


def directions(n: int, rng: np.random.Generator) -> Array:
    """Forward or backward [n, 1], +1 or -1, each drawn on its own as in the published code."""
    return rng.choice((-1.0, 1.0), (n, 1))


def cheetah(*, num_envs: int, episode_steps: int, threads: int) -> HalfCheetah:
    """The half-cheetah that its families run."""
    return HalfCheetah(num_envs=num_envs, max_episode_steps=episode_steps, threads=threads)


class TaskAnt(Ant):
    """An ant whose own reward is only what all its tasks share: minus the cost of contacts.

    That is 0.0005 |contact forces|^2, each clipped to [-1, 1]. It terminates when the torso
    leaves `heights`, in m, which differ between families.
    """

    def __init__(
        self, *, num_envs: int, episode_steps: int, threads: int, heights: tuple[float, float]
    ) -> None:
        super().__init__(num_envs=num_envs, max_episode_steps=episode_steps, threads=threads)
        self._low, self._high = heights

    def _outcome(self, act: Array, before: Array) -> tuple[Array, Array]:
        height = self.qpos[:, 2]
        contact = 5e-4 * np.square(np.clip(self._forces, -1.0, 1.0)).sum(1)
        return -contact, (height < self._low) | (height > self._high)
