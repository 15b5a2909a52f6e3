"""CARML (Jabri et al. 2019, arXiv 1912.04226): tasks that follow where the learner goes.

A mixture q(s, z) is fitted to the states of the meta-learner's own trajectories (E-step); its
components are the tasks on which it learns next (M-step), with the reward
    r_z(s) = (lambda - 1) log q(s|z) + log q(z|s),
for which lambda = 1 asks for being recognised and less asks for the rare states of z as well.
Differences from the paper: q(s|z) is a Gaussian over positions, not over images, and q(z|s) is its
posterior; rewards are centred and scaled over the states of the fit. With `shared_spread` all
components have one spread and one weight: a task is then best recognised far out on its side, and
the tasks grow. Each with its own, the widest component is the likeliest far out on every side, the
others are recognised only within, and the tasks shrink into points (docs/RESULTS.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.plane import Plane
from rl.types import State

__all__ = ["Carml"]

_KEPT = 20_000  # states that a fit looks at
_LEAST = 0.02  # spread of a component, m: less is one place
_PASSES = 20  # of expectation maximisation


class Carml(Plane):
    """A point in the plane of `point_goal`, and tasks re-fitted every `every` batches.

    `every` 0 never does: the tasks stay those that were drawn at first, around the start with a
    spread of `spread` m, the control of fixed random tasks. A task is the number of a component,
    and none are held out: what counts is the family that one transfers to.
    """

    task_names = ("component",)
    task_units = ("",)
    baselines = ("random",)

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        components: int,
        every: int,
        balance: float,
        shared_spread: bool,
        spread: float,
        episodes: int,
        episode_steps: int,
        walls: float | None,
        name: str = "carml",
    ) -> None:
        if components < 2:
            raise ValueError(f"tasks.components={components}: want at least 2")
        if not 0 <= balance <= 1:
            raise ValueError(f"tasks.balance={balance} (lambda) must lie between 0 and 1")
        if spread <= 0:
            raise ValueError(f"tasks.spread={spread} must be above 0")
        self.components, self.every, self.balance = components, every, balance
        self.shared_spread = shared_spread
        super().__init__(
            name=name,
            num_envs=num_envs,
            seed=seed,
            reach=0.1,
            episodes=episodes,
            episode_steps=episode_steps,
            walls=walls,
        )
        rng = np.random.default_rng(seed)
        self._middle: Array = rng.normal(0.0, spread, (components, 2))
        self._spread: Array = np.full((components, 2), spread)
        self._share: Array = np.full(components, 1.0 / components)
        self._states: Array = rng.normal(0.0, spread, (1000, 2))
        self._updates = 0
        self._scale()

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.integers(self.components, size=(n, 1)).astype(np.float64)

    def all_tasks(self, held_out: bool) -> Array:
        return np.arange(float(self.components))[:, None]

    def log_density(self, at: Array) -> tuple[Array, Array]:
        """log q(s|z) [..., K] and log q(s) [...] of positions [..., 2]."""
        off = (at[..., None, :] - self._middle) / self._spread
        under = -0.5 * (off**2).sum(-1) - np.log(2 * np.pi * self._spread.prod(-1))
        joint = under + np.log(self._share)
        most = joint.max(-1, keepdims=True)
        return under, (most + np.log(np.exp(joint - most).sum(-1, keepdims=True)))[..., 0]

    def rewards_at(self, at: Array) -> Array:
        """r_z [..., K] of positions [..., 2], centred and scaled."""
        return (self._raw(at) - self._centre) / self._width

    def learn(self, next_feat: Array, valid: NDArray[np.bool_]) -> dict[str, float]:
        """Take the learner's states [T, N, 2] into account; re-fit when it is time."""
        if not self.every:
            return {}
        seen = next_feat[valid].astype(np.float64)
        some = seen[self._rng.permutation(len(seen))[: _KEPT // self.every]]
        self._states = np.concatenate([self._states, some])[-_KEPT:]
        self._updates += 1
        if self._updates % self.every == 0:
            self._fit()
        return {"entropy": float(-self.log_density(self._states)[1].mean())}

    def lessons(self) -> State:
        return {
            "middle": self._middle.copy(),
            "spread": self._spread.copy(),
            "share": self._share.copy(),
            "states": self._states.copy(),
            "updates": self._updates,
        }

    def take(self, lessons: State) -> None:
        each, seen = (self.components, 2), (max(1, len(lessons["states"])), 2)
        shapes = {"middle": each, "spread": each, "share": each[:1], "states": seen}
        found = {key: np.array(lessons[key], np.float64) for key in shapes}
        for key, x in found.items():
            least = 0.0 if key in ("spread", "share") else -np.inf
            if x.shape != shapes[key] or not (np.isfinite(x) & (x > least)).all():
                raise ValueError(f"{key} of the fitted tasks makes no sense")
        self._middle, self._spread, self._share, self._states = found.values()
        self._updates = int(lessons["updates"])
        self._scale()

    def _fit(self) -> None:
        """Maximum likelihood by expectation maximisation, from where the last fit ended.

        A component that holds next to nothing starts again at a state that is badly explained.
        """
        states = self._states
        for turn in range(_PASSES):
            under, whole = self.log_density(states)
            share = np.exp(under + np.log(self._share) - whole[:, None])
            held = share.sum(0)
            empty = held < 0.1 * len(states) / self.components
            if turn < _PASSES // 2 and empty.any():
                odds = np.exp(-(whole - whole.min()) / max(np.ptp(whole), 1e-9) * 5)
                picks = self._rng.choice(len(states), int(empty.sum()), p=odds / odds.sum())
                self._middle[empty] = states[picks]
                self._spread[empty] = np.median(self._spread, 0)
                self._share = np.full(self.components, 1.0 / self.components)
                continue
            held = np.maximum(held, 1e-6)
            self._middle = share.T @ states / held[:, None]
            square = share.T @ states**2 / held[:, None] - self._middle**2
            self._spread = np.sqrt(np.maximum(square, _LEAST**2))
            self._share = held / held.sum()
            if self.shared_spread:
                self._spread[:] = np.sqrt((self._share @ self._spread**2).mean())
                self._share[:] = 1.0 / self.components
        self._scale()

    def _raw(self, at: Array) -> Array:
        under, whole = self.log_density(at)
        posterior = under + np.log(self._share) - whole[..., None]
        raw: Array = (self.balance - 1.0) * under + posterior
        return raw

    def _scale(self) -> None:
        raw = self._raw(self._states)
        self._centre, self._width = raw.mean(0), np.maximum(raw.std(0), 1e-3)

    def _start(self, n: int) -> Array:
        return np.zeros((n, 2))

    def _outcome(self, before: Array) -> tuple[Array, Array]:
        number = self.tasks[:, 0].astype(np.int64)
        rew = self.rewards_at(self._at)[np.arange(self.num_envs), number]
        return rew, np.zeros(self.num_envs, np.bool_)

    def _save(self) -> State:
        return {**super()._save(), "lessons": self.lessons()}

    def _load(self, state: State) -> None:
        super()._load(state)
        self.take(state["lessons"])
