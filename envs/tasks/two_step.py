"""The two-step task: does a learner use a model of its world, or only what was rewarded?

Version 2016: Wang et al., arXiv 1611.05763, section 3.2.1. Version 2018: Wang et al., "Prefrontal
cortex as a meta-reinforcement learning system", Nature Neuroscience 21, simulation 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from envs.base import Array
from envs.tasks.base import Tasks
from rl.types import State

__all__ = ["TwoStep"]


@dataclass(frozen=True)
class Version:
    """The numbers in which the two papers differ."""

    common: float  # chance that first action a leads to second state a
    switch: float  # chance that the good second state changes after a trial
    trials: int


VERSIONS = {2016: Version(0.75, 0.0, 10), 2018: Version(0.8, 0.025, 100)}
PAYS = 0.9  # chance of a reward in the good second state; 1 - PAYS in the other


class TwoStep(Tasks):
    """One trial of the papers, two steps, is an episode here; their episode is our trial.

    Obs [3], one-hot: first stage, second state 0, second state 1. First action a leads to second
    state a with the chance `common`, to the other else. There any action earns 1 with chance 0.9
    if the state is the good one, 0.1 if not; then the episode is `terminated` and the first stage
    is seen. The task row is the good second state, 0 or 1, and in 2018 it is only where the good
    one starts: it may change after every episode, until `enter` sets it anew.

    Feats, known from the step they name on and zero before: the first action, whether it led
    where it commonly does, whether it was rewarded. What they are for: meta/known_mdps.py.

    There are two tasks, so those held out are no others: what is new in a trial is chance.
    """

    task_names = ("good",)
    task_units = ("",)
    baselines = ("random", "bayes_filter")

    def __init__(
        self, *, num_envs: int, seed: int, version: Literal[2016, 2018], episodes: int | None
    ) -> None:
        numbers = VERSIONS[version]
        super().__init__(
            name="two_step",
            num_envs=num_envs,
            seed=seed,
            obs_dim=3,
            action_space=Discrete(2),
            episodes=numbers.trials if episodes is None else episodes,
            episode_steps=2,
            feat_names=("first_action", "common", "rewarded"),
            feat_units=("", "", ""),
        )
        self.common = numbers.common
        self.switch = numbers.switch
        self.pays = PAYS
        self._worlds = np.arange(num_envs)
        self._good = np.zeros(num_envs, np.int64)
        self._seen = np.zeros(num_envs, np.int64)  # index of what obs shows
        self._now = np.zeros((num_envs, 3), np.float32)  # the feats

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        return rng.integers(0, 2, (n, 1)).astype(np.float64)

    def all_tasks(self, held_out: bool) -> Array:
        return np.array([[0.0], [1.0]])

    def _enter(self) -> None:
        self._good = self.tasks[:, 0].astype(np.int64)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._seen[ids] = 0
        self._now[ids] = 0.0

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        act = np.asarray(act, np.int64)
        luck, change = self._rng.random((2, self.num_envs))
        first = self._seen == 0
        common = luck < self.common
        good = self._seen - 1 == self._good
        rewarded = ~first & (luck < np.where(good, self.pays, 1.0 - self.pays))
        chosen = np.stack([act, common, np.zeros_like(act)], 1).astype(np.float32)
        self._now = np.where(first[:, None], chosen, self._now)
        self._now[:, 2] = rewarded
        self._seen = np.where(first, 1 + np.where(common, act, 1 - act), 0)
        self._good = np.where(~first & (change < self.switch), 1 - self._good, self._good)
        return rewarded.astype(np.float64), ~first, np.zeros(self.num_envs, np.bool_)

    def _observe(self) -> Array:
        obs = np.zeros((self.num_envs, 3), np.float32)
        obs[self._worlds, self._seen] = 1.0
        return obs

    def _feat(self) -> Array:
        return self._now.copy()

    def _save(self) -> State:
        return {"good": self._good.copy(), "seen": self._seen.copy(), "feat": self._now.copy()}

    def _load(self, state: State) -> None:
        self._good = np.array(state["good"])
        self._seen = np.array(state["seen"])
        self._now = np.array(state["feat"])

    def marks(self, act: Array, next_feat: Array) -> dict[str, float]:
        """See `stays`."""
        return stays(next_feat)


def stays(next_feat: Array) -> dict[str, float]:
    """How often the first action of a trial is chosen again, by what it led to; feat [T, N, 3].

    Four stay probabilities, and `interaction`: rewarded common - rewarded rare - unrewarded common
    + unrewarded rare, 0 for a learner that only repeats what was rewarded, up to 2 for one that
    knows what leads where. Not a number where a kind of outcome never came.
    """
    # Every episode has two steps, so all worlds end theirs together.
    action, common, rewarded = np.moveaxis(next_feat[1::2], -1, 0) > 0.5
    stay = action[1:] == action[:-1]
    found = {}
    for reward, paid in (("rewarded", rewarded), ("unrewarded", ~rewarded)):
        for way, led in (("common", common), ("rare", ~common)):
            kind = (paid & led)[:-1]
            found[f"{reward}_{way}"] = float(stay[kind].mean()) if kind.any() else float("nan")
    signs = (1, -1, -1, 1)
    found["interaction"] = sum(s * p for s, p in zip(signs, found.values(), strict=True))
    return found
