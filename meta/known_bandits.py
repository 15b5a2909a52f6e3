"""Policies with known answers for the bandits, and the one that chooses at random anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meta.exact_bandits import Choices, gittins_index, optimal_choices
from meta.trial import Last, Memory, Policy, live
from rl.types import Batch

Array = NDArray[Any]

TUNING_TASKS = 4000
CONSTANTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)  # of UCB
EPSILONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
CELLS = 50  # of a chance, for the filter
RATE = 0.5  # of Rescorla and Wagner: the best fixed one of Wang et al. (1611.05763), section 3.1.4


class Known:
    """Base: lives through a whole trial in one world a task, and draws from its own stream."""

    told = False
    hears = True
    width = 1

    def __init__(self, family: Any, seed: int) -> None:
        self._arms = int(family.spec.act_dim)
        self._rng = np.random.default_rng(seed)

    def rounds(self, horizon: int) -> Sequence[int]:
        return (horizon,)

    def adapt(self, memory: Memory, rollout: Batch) -> Memory:
        return memory

    def _best(self, scores: Array) -> Array:
        """The arm of the highest score [N, k] in every world, [N]; ties are drawn."""
        tied = scores >= scores.max(1, keepdims=True)
        return np.asarray((tied * (1.0 - self._rng.random(scores.shape))).argmax(1))

    def _one_hot(self, arms: Array) -> Tensor:
        act = np.zeros((len(arms), self._arms), np.float32)
        act[np.arange(len(arms)), arms] = 1.0
        return torch.from_numpy(act)


class Random(Known):
    """Any action as soon as any other: an arm, or a point of [-1, 1]^A."""

    hears = False

    def __init__(self, family: Any, seed: int) -> None:
        super().__init__(family, seed)
        self._discrete = bool(family.spec.discrete)

    def begin(self, n: int, told: Tensor | None) -> Memory:
        return None

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]:
        n = len(obs)
        if self._discrete:
            return self._one_hot(self._rng.integers(0, self._arms, n)), {}, None
        act = self._rng.uniform(-1.0, 1.0, (n, self._arms)).astype(np.float32)
        return torch.from_numpy(act), {}, None


@dataclass(frozen=True)
class Counts:
    """What every arm [N, k] has paid in all, and how often it was pulled."""

    paid: Array
    pulls: Array

    def with_(self, last: Last) -> Counts:
        """After one pull more; the trial's first call, with nothing before it, changes nothing."""
        act, rew = last.act.numpy(), last.rew.numpy()[:, None]
        return Counts(self.paid + act * rew, self.pulls + act)

    @property
    def mean(self) -> Array:
        """Mean of the posterior from Beta(1, 1), or with one success and one failure before."""
        return np.asarray((self.paid + 1.0) / (self.pulls + 2.0))


class Counting(Known):
    """Base of all that look at nothing but what the arms have paid."""

    def begin(self, n: int, told: Tensor | None) -> Memory:
        return Counts(np.zeros((n, self._arms)), np.zeros((n, self._arms)))

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]:
        counts = memory.with_(last)
        return self._one_hot(self._choose(counts)), {}, counts

    def _choose(self, counts: Counts) -> Array:
        """An arm for every world, [N]."""
        raise NotImplementedError


class Thompson(Counting):
    """Pulls the arm that is best in a draw from the posterior, whose prior is Beta(1, 1)."""

    def _choose(self, counts: Counts) -> Array:
        lost = counts.pulls - counts.paid
        return self._best(self._rng.beta(counts.paid + 1.0, lost + 1.0))


def _tuned(
    family: Any, seed: int, values: Sequence[float], make: Callable[[float], Policy]
) -> float:
    """The value whose policy earns most, on tasks that are drawn for this alone."""
    rng = np.random.default_rng([seed, 1])
    twin = family.twin(TUNING_TASKS, seed)
    tasks = twin.sample(TUNING_TASKS, rng, held_out=False)
    earned = []
    for value in values:
        rounds = live(twin, make(value), tasks, horizon=twin.episodes, explore=True)
        earned.append(float(sum(r.rew.sum() for r in rounds)))
    return values[int(np.argmax(earned))]


class UCB(Counting):
    """mean + c sqrt(2 log t / n), as in the appendix of RL² (arXiv 1611.02779).

    `mean` and n count one success and one failure before the first pull, t counts pulls from 1,
    and c is the best of `CONSTANTS` on other tasks, unless it is given.
    """

    def __init__(self, family: Any, seed: int, c: float | None = None) -> None:
        super().__init__(family, seed)
        self.c = _tuned(family, seed, CONSTANTS, lambda c: UCB(family, seed, c)) if c is None else c

    def _choose(self, counts: Counts) -> Array:
        t = counts.pulls.sum(1, keepdims=True) + 1.0
        bonus = np.sqrt(2.0 * np.log(t) / (counts.pulls + 2.0))
        return self._best(counts.mean + self.c * bonus)


class EpsilonGreedy(Counting):
    """The arm of the best mean, or with chance epsilon any; tuned like `UCB`."""

    def __init__(self, family: Any, seed: int, epsilon: float | None = None) -> None:
        super().__init__(family, seed)
        if epsilon is None:
            epsilon = _tuned(family, seed, EPSILONS, lambda e: EpsilonGreedy(family, seed, e))
        self.epsilon = epsilon

    def _choose(self, counts: Counts) -> Array:
        n = len(counts.pulls)
        any_arm = self._rng.integers(0, self._arms, n)
        astray = self._rng.random(n) < self.epsilon
        return np.where(astray, any_arm, self._best(counts.mean))


class Gittins(Counting):
    """The arm of the highest Gittins index for as many pulls as are left."""

    def rounds(self, horizon: int) -> Sequence[int]:
        self._index = gittins_index(horizon)
        return (horizon,)

    def _choose(self, counts: Counts) -> Array:
        left = len(self._index) - int(counts.pulls[0].sum())
        won = counts.paid.astype(np.int64)
        lost = counts.pulls.astype(np.int64) - won
        return self._best(self._index[left - 1][won, lost])


class BayesOptimal(Counting):
    """What dynamic programming over all that can be known of independent arms would pull."""

    def rounds(self, horizon: int) -> Sequence[int]:
        self._choices: Choices = optimal_choices(self._arms, horizon)
        return (horizon,)

    def _choose(self, counts: Counts) -> Array:
        won = counts.paid.astype(np.int64)
        return self._best(self._choices.best(won, counts.pulls.astype(np.int64) - won))


class Pooled(Counting):
    """Bayes-optimal for arms that pay with chances p and 1 - p and a prior that is symmetric.

    A failure of one arm tells as much as a success of the other, whichever was pulled, so nothing
    is to be learned by exploring: pull the arm that more of all outcomes speak for.
    """

    def _choose(self, counts: Counts) -> Array:
        return self._best(2.0 * counts.paid - counts.pulls)


class Informed(Counting):
    """Asks the informative arm once, then takes the prize: optimal while asking costs little."""

    def __init__(self, family: Any, seed: int) -> None:
        super().__init__(family, seed)
        prizes = np.arange(1, self._arms, dtype=np.float64)
        self._hints = family.means(prizes[:, None])[:, -1]  # what it pays for each place

    def _choose(self, counts: Counts) -> Array:
        asked = counts.pulls[:, -1] > 0
        hint = counts.paid[:, -1] / np.maximum(counts.pulls[:, -1], 1.0)
        prize = np.abs(hint[:, None] - self._hints).argmin(1)
        return np.where(asked, prize, self._arms - 1)


class Search(Counting):
    """Tries the arms in turn, never the informative one, until it has found the prize."""

    def _choose(self, counts: Counts) -> Array:
        untried = 2.0  # more than a tried arm pays, less than the prize
        scores = np.where(counts.pulls > 0, counts.paid / np.maximum(counts.pulls, 1.0), untried)
        scores[:, -1] = -np.inf
        return self._best(scores)


class RescorlaWagner(Known):
    """The arm of the highest value, where the pulled arm's moves by `RATE` of what was missed."""

    def begin(self, n: int, told: Tensor | None) -> Memory:
        return np.full((n, self._arms), 0.5)

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]:
        act, rew = last.act.numpy(), last.rew.numpy()[:, None]
        values = memory + RATE * act * (rew - memory)
        return self._one_hot(self._best(values)), {}, values


class WalkFilter(Known):
    """Bayes-optimal for the restless pair: the posterior over its chance and its volatility.

    Both arms tell the same about p, so, as for `Pooled`, the arm that is better in the mean is the
    one to pull. The chance is one of `CELLS` cells, in which it is taken to lie in the middle.
    """

    def __init__(self, family: Any, seed: int) -> None:
        super().__init__(family, seed)
        self._p = (np.arange(CELLS) + 0.5) / CELLS
        self._moves = np.stack([_moves(v) for v in (family.low, family.high)])  # [2, from, to]

    def begin(self, n: int, told: Tensor | None) -> Memory:
        return np.full((2, n, CELLS), 0.5 / CELLS)

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]:
        act = last.act.numpy()
        if act.any():
            # Arm 1 paid, or arm 2 did not: both have chance p.
            spoke_for = (act[:, 0] == last.rew.numpy())[:, None]
            likely = np.where(spoke_for, self._p, 1.0 - self._p)
            memory = (memory * likely) @ self._moves
            memory = memory / memory.sum((0, 2), keepdims=True)
        p = (memory.sum(0) * self._p).sum(1)
        return self._one_hot(self._best(np.stack([p, 1.0 - p], 1))), {}, memory


def _moves(volatility: float) -> Array:
    """Chance of each cell [to] after a mirrored Gaussian step from the middle of each [from]."""
    middle, edges = (np.arange(CELLS) + 0.5) / CELLS, np.arange(CELLS + 1) / CELLS
    scale = max(volatility, 1e-9) * math.sqrt(2.0)
    total = np.zeros((CELLS, CELLS))
    for image in (middle, -middle, 2.0 - middle):  # the start, and as the two walls show it
        below = np.array([[math.erf((e - x) / scale) for e in edges] for x in image])
        total += 0.5 * np.diff(below, axis=1)
    return np.asarray(total / total.sum(1, keepdims=True))


class BestArm(Known):
    """An oracle: told the task, it pulls the arm of the highest mean."""

    told = True

    def __init__(self, family: Any, seed: int) -> None:
        super().__init__(family, seed)
        self._means = family.means

    def begin(self, n: int, told: Tensor | None) -> Memory:
        if told is None:
            raise ValueError("best_arm is an oracle: it must be told the tasks")
        return self._one_hot(self._means(told.numpy().astype(np.float64)).argmax(1))

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]:
        return memory, {}, memory
