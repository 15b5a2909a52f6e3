"""Policies with known answers for the small sequential families: what can be had, and by whom.

PSRL (Strens 2000; Osband et al., arXiv 1306.0940) and the optimum of tabular MDPs, the Bayes
filter of the two-step task, win-stay for two objects, and a sweep of the grid. A family tells
them its structure (`family.common`, ...) but never, unless `told`, its task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.tasks.two_step import stays
from meta.trial import Last, Memory
from rl.types import Batch

Array = NDArray[Any]
Said = tuple[Tensor, dict[str, Tensor], Memory]
"""What `act` returns."""


class Known:
    """A policy that needs one world of a task and no gradient: it learns while it acts."""

    told = False
    hears = True
    width = 1

    def __init__(self, family: Any, seed: int) -> None:
        self.family = family
        self.rng = np.random.default_rng(seed)

    def rounds(self, horizon: int) -> Sequence[int]:
        """All episodes of a trial in one go."""
        return [horizon]

    def adapt(self, memory: Memory, rollout: Batch) -> Memory:
        """What there was to learn is learned."""
        return memory

    def one_hot(self, choice: Array) -> Tensor:
        """Choices [N] as actions [N, A]."""
        return torch.eye(self.family.spec.act_dim)[torch.from_numpy(choice)]


def plan(means: Array, transitions: Array, steps: int) -> tuple[Array, Array]:
    """The best actions [T, n, S] for the T steps of an episode, and what they earn from s [n, S].

    Value iteration over a finite horizon, for n models at once: means [n, S, A] and transitions
    [n, S, A, S].
    """
    value = np.zeros(means.shape[:2])
    best = np.zeros((steps, *means.shape[:2]), np.int64)
    for t in reversed(range(steps)):
        q = means + (transitions @ value[:, None, :, None])[..., 0]
        best[t] = q.argmax(-1)
        value = q.max(-1)
    return best, value


@dataclass(frozen=True)
class Planned:
    """A plan under way, and what it rests on."""

    best: Array  # [T, n, S]
    time: int
    counts: Array  # [n, S, A, S], transitions seen
    sums: Array  # [n, S, A], rewards seen there


class OptimalMDP(Known):
    """Plans with the true model: what an episode is worth to somebody who knows the MDP."""

    told = True

    def begin(self, n: int, told: Tensor | None) -> Planned:
        if told is None:
            raise ValueError("the optimal policy of an MDP must be told the MDP")
        means, transitions = self.family.unpack(told.numpy().astype(np.float64))
        best, _ = plan(means, transitions, self.family.episode_steps)
        return Planned(best, 0, np.zeros(0), np.zeros(0))

    def act(self, obs: Tensor, last: Last, memory: Planned, explore: bool) -> Said:
        """All worlds are at the same step of their episodes, which are equally long."""
        state = obs.argmax(-1).numpy()
        choice = memory.best[memory.time, np.arange(len(state)), state]
        time = (memory.time + 1) % len(memory.best)
        return self.one_hot(choice), {}, replace(memory, time=time)


class PSRL(OptimalMDP):
    """Posterior sampling: each episode follows the best plan for one MDP drawn from the posterior.

    The prior is the family's own: mean rewards N(1, 1) seen through noise N(0, 1), transitions
    Dirichlet(1). The posterior takes in whole episodes, their last transitions too.
    """

    told = False

    def rounds(self, horizon: int) -> Sequence[int]:
        """A plan lasts for an episode."""
        return [1] * horizon

    def begin(self, n: int, told: Tensor | None) -> Planned:
        s, a = self.family.states, self.family.actions
        return self._drawn(np.zeros((n, s, a, s)), np.zeros((n, s, a)))

    def adapt(self, memory: Planned, rollout: Batch) -> Planned:
        """Count an episode [T, n], and draw the next model."""
        obs, act, next_obs = (
            x.argmax(-1).numpy() for x in (rollout.obs, rollout.act, rollout.next_obs)
        )
        valid = rollout.extras["valid"].numpy()
        task = np.broadcast_to(np.arange(obs.shape[1]), obs.shape)
        counts, sums = memory.counts.copy(), memory.sums.copy()
        np.add.at(counts, (task, obs, act, next_obs), valid)
        np.add.at(sums, (task, obs, act), rollout.rew.numpy() * valid)
        return self._drawn(counts, sums)

    def _drawn(self, counts: Array, sums: Array) -> Planned:
        weight = 1.0 + counts.sum(-1)  # the prior counts as one reward of 1
        means = self.rng.normal((1.0 + sums) / weight, weight**-0.5)
        drawn = self.rng.standard_gamma(1.0 + counts)
        transitions = drawn / drawn.sum(-1, keepdims=True)
        best, _ = plan(means, transitions, self.family.episode_steps)
        return Planned(best, 0, counts, sums)


@dataclass(frozen=True)
class Belief:
    """What is believed of the good second state."""

    odds: Array  # [N], log of P(state 0 is good) / P(state 1 is good)
    seen: Array  # [N], what the last observation showed


class BayesFilter(Known):
    """Chooses what commonly leads to the state that is more likely the good one; ties by chance.

    Either state tells as much as the other about which one is good, so nothing is gained by
    exploring, and this is the optimum.
    """

    def begin(self, n: int, told: Tensor | None) -> Belief:
        return Belief(np.zeros(n), np.zeros(n, np.int64))

    def act(self, obs: Tensor, last: Last, memory: Belief, explore: bool) -> Said:
        """First stage: take in the last outcome and choose; second stage: any action does."""
        seen = obs.argmax(-1).numpy()
        over = (last.done > 0).numpy() & (memory.seen > 0)
        for_first = (last.rew.numpy() > 0.5) == (memory.seen == 1)
        evidence = np.log(self.family.pays / (1.0 - self.family.pays))
        odds = memory.odds + np.where(for_first, evidence, -evidence)
        odds = np.where(over, self._switched(odds), memory.odds)
        tie = self.rng.random(len(odds)) < 0.5
        # Equal evidence for both cancels only up to rounding.
        choice = np.where(np.abs(odds) < 1e-9, tie, odds < 0)
        choice = np.where(seen == 0, choice, 0).astype(np.int64)
        return self.one_hot(choice), {}, Belief(odds, seen)

    def _switched(self, odds: Array) -> Array:
        """The log odds after a change of the good state with the family's chance."""
        stays, changes = 1.0 - self.family.switch, self.family.switch
        ratio = np.exp(odds)
        switched: Array = np.log((stays * ratio + changes) / (changes * ratio + stays))
        return switched if changes else odds


def interaction(rounds: Sequence[Batch]) -> dict[str, float]:
    """The stay probabilities of a two-step trial and their interaction (envs/tasks/two_step.py)."""
    return stays(torch.cat([rollout.next_feat for rollout in rounds]).numpy())


@dataclass(frozen=True)
class Objects:
    """What is known of two objects."""

    paying: Array  # [N, dim], zeros before it is known
    shown: Array  # [N, 2 dim], the last observation


class WinStay(Known):
    """The first choice by chance; from then on the object that paid, or that the other did not."""

    def begin(self, n: int, told: Tensor | None) -> Objects:
        dim = self.family.dim
        return Objects(np.zeros((n, dim), np.float32), np.zeros((n, 2 * dim), np.float32))

    def act(self, obs: Tensor, last: Last, memory: Objects, explore: bool) -> Said:
        """Learn from the last choice, and make the next one."""
        left, right = np.split(memory.shown, 2, 1)
        won = last.rew.numpy() > 0
        took_left = last.act.argmax(-1).numpy() == 0
        paying = np.where((took_left == won)[:, None], left, right)
        paying = np.where((last.done > 0).numpy()[:, None], paying, memory.paying)
        shown = obs.numpy()
        known = np.any(paying, axis=1)
        is_right = (shown[:, self.family.dim :] == paying).all(1)
        choice = np.where(known, is_right, self.rng.random(len(known)) < 0.5).astype(np.int64)
        return self.one_hot(choice), {}, Objects(paying, shown)


@dataclass(frozen=True)
class Found:
    """Where the goal is, and where the searcher was."""

    goal: Array  # [N, 2], -1 before it is known
    place: Array  # [N, 2]


class Sweep(Known):
    """Row by row, to and fro, until the goal is met; then straight to it, x first.

    A goal at (x, y) is met after y * size + (x in even rows, size - 1 - x in odd ones) steps, and
    later reached in x + y. Episodes must be long enough for a whole sweep, size^2 - 1 steps.
    """

    def begin(self, n: int, told: Tensor | None) -> Found:
        return Found(np.full((n, 2), -1, np.int64), np.zeros((n, 2), np.int64))

    def act(self, obs: Tensor, last: Last, memory: Found, explore: bool) -> Said:
        """The next step of the search, or of the walk."""
        size = self.family.size
        met = (last.done > 0).numpy() & (last.rew.numpy() + self.family.step_cost > 0.5)
        ended = self.family.moved(memory.place, last.act.argmax(-1).numpy())
        goal = np.where(met[:, None], ended, memory.goal)
        x, y = (half.argmax(-1).numpy() for half in obs.split(size, -1))
        right, left, up = range(3)
        along = np.where(y % 2 == 0, right, left)
        at_end = x == np.where(y % 2 == 0, size - 1, 0)
        search = np.where(at_end, up, along)
        walk = np.where(x < goal[:, 0], right, up)  # the start is the corner
        choice = np.where(goal[:, 0] >= 0, walk, search).astype(np.int64)
        return self.one_hot(choice), {}, Found(goal, np.stack([x, y], 1))
