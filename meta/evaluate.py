"""How well a learner does on tasks it has never met: returns by episode, with what is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.tasks.base import Tasks
from logbook.errors import UserError
from logbook.seeds import seed_for
from logbook.stats import mean_and_error, t_quantile
from meta.known import known
from meta.trial import Policy, live, returns_by_episode
from rl.types import Batch

Array = NDArray[Any]
FamilyFactory = Callable[[int, int], Tasks]
"""Builds the family with so many worlds, from a seed."""

MOST_WORLDS = 2000  # side by side in an evaluation: more gain no speed
SHOWN = 24  # tasks whose trials are kept to be drawn


@dataclass(frozen=True)
class Scores:
    """What one policy earned: `returns` [H, n] for n tasks, and a few trials to look at."""

    returns: Array
    steps: Array  # [H, n]: how long the episodes were
    marks: dict[str, float]  # what else the family says of trials
    trials: list[Batch]
    tasks: Array | None = None  # [n, D]; None: no two are the same

    def numbers(self) -> dict[str, Any]:
        """Means over tasks with 95 % intervals, by episode ("shot"), since the first, in total.

        Where every task was lived several times, intervals are of episodes: other trials of the
        same tasks. Else they are of tasks: other tasks of the family.
        """
        total, gains = self.returns.sum(0), self.returns - self.returns[:1]  # of each task
        tests = repeated(self.tasks) if self.tasks is not None else None

        def told(values: Array) -> tuple[float, float, float]:  # mean, half an interval, error
            groups = [values] if tests is None else [values[rows] for rows in tests]
            middle, error, df = mean_and_error(groups)
            return middle, t_quantile(df) * error, error

        by_shot, gained = [told(row) for row in self.returns], [told(row) for row in gains]
        return {
            "returns_by_shot": [middle for middle, _, _ in by_shot],
            "returns_by_shot_95": [half for _, half, _ in by_shot],
            "gains_by_shot": [middle for middle, _, _ in gained],
            "gains_by_shot_95": [half for _, half, _ in gained],
            "gains_by_shot_se": [error for _, _, error in gained],
            "returns_total": told(total)[0],
            "returns_total_95": told(total)[1],
            "intervals_of": "tasks" if tests is None else "episodes",
            "steps_by_shot": [told(row)[0] for row in self.steps],
            "marks": {k: v for k, v in self.marks.items() if math.isfinite(v)},
        }


def repeated(tasks: Array) -> list[NDArray[np.int64]] | None:
    """The rows of each task among tasks [n, D], where every one of them comes several times."""
    _, which, counts = np.unique(tasks, axis=0, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        return None
    return [np.flatnonzero(which.reshape(-1) == k) for k in range(len(counts))]


def score(make: FamilyFactory, policy: Policy, tasks: Array, *, horizon: int, seed: int) -> Scores:
    """Let the policy live through `horizon` episodes of every task [n, D].

    A policy that wants several worlds of a task is scored by their mean.
    """
    at_once = max(1, min(len(tasks), MOST_WORLDS // policy.width))
    returns: list[Array] = []
    steps: list[Array] = []
    marks: dict[str, float] = {}
    shown: list[Batch] = []
    first = 0
    while first < len(tasks):
        some = tasks[first : first + at_once]
        try:
            family = make(len(some) * policy.width, seed + first)
        except UserError:  # some worlds can be open only so often
            if len(some) == 1:
                raise
            at_once = (len(some) + 1) // 2
            continue
        first += len(some)
        rounds = live(family, policy, some, horizon=horizon, explore=True)
        each = returns_by_episode(rounds, horizon)
        returns.append(_of_tasks(each, len(some)))
        steps.append(_of_tasks(lengths(rounds, horizon), len(some)))
        act, feat = (torch.cat([getattr(r, k) for r in rounds]) for k in ("act", "next_feat"))
        for key, value in family.marks(act.numpy(), feat.numpy()).items():
            marks[key] = marks.get(key, 0.0) + value * len(some) / len(tasks)
        if not shown:
            shown = [r.map(lambda x: x[:, : SHOWN * policy.width]) for r in rounds]
    return Scores(np.concatenate(returns, 1), np.concatenate(steps, 1), marks, shown, tasks)


def lengths(rounds: Sequence[Batch], horizon: int) -> Tensor:
    """How many steps every episode of every world took, [H, N]."""
    total = torch.zeros(horizon, rounds[0].rew.shape[1])
    for rollout in rounds:
        total.scatter_add_(0, rollout.extras["episode"], rollout.extras["valid"].float())
    return total


def _of_tasks(each: Tensor, n: int) -> Array:
    """[H, N] worlds as means [H, n] over the worlds of a task."""
    return each.view(len(each), n, -1).mean(-1).numpy().astype(np.float64)


def held_out(make: FamilyFactory, n: int, seed: int) -> Array:
    """The n held-out tasks that a seed names, [n, D].

    Of a family of finitely many, all of them equally often, so that n is rounded up to a multiple
    of how many there are; if it is less than that, n different ones.
    """
    rng = np.random.default_rng(seed_for(seed, "held-out tasks"))  # not the stream of the worlds
    family = make(1, seed)
    every = family.all_tasks(held_out=True)
    if every is None:
        return family.sample(n, rng, held_out=True)
    if n < len(every):
        some: Array = every[rng.permutation(len(every))[:n]]
        return some
    return np.tile(every, (-(-n // len(every)), 1))


def baselines(make: FamilyFactory, tasks: Array, *, horizon: int, seed: int) -> dict[str, Scores]:
    """The scores of every policy that is known for the family, on the same tasks."""
    found = {}
    for name in make(1, seed).baselines:
        policy = known(name, make(1, seed), seed_for(seed, name))
        found[name] = score(make, policy, tasks, horizon=horizon, seed=seed)
    return found
