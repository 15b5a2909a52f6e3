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
from logbook.seeds import seed_for
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

    def numbers(self) -> dict[str, Any]:
        """Means over tasks with 95 % intervals, by episode ("shot"), since the first, in total."""
        half = [_half(row) for row in self.returns]
        total, gains = self.returns.sum(0), self.returns - self.returns[:1]  # of each task
        return {
            "returns_by_shot": [float(m) for m in self.returns.mean(1)],
            "returns_by_shot_95": half,
            "gains_by_shot": [float(m) for m in gains.mean(1)],
            "gains_by_shot_95": [_half(row) for row in gains],
            "returns_total": float(total.mean()),
            "returns_total_95": _half(total),
            "steps_by_shot": [float(m) for m in self.steps.mean(1)],
            "marks": {k: v for k, v in self.marks.items() if math.isfinite(v)},
        }


def _half(values: Array) -> float:
    """Half the width of a 95 % interval of a mean."""
    return float(1.96 * values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def score(make: FamilyFactory, policy: Policy, tasks: Array, *, horizon: int, seed: int) -> Scores:
    """Let the policy live through `horizon` episodes of every task [n, D].

    A policy that wants several worlds of a task is scored by their mean.
    """
    at_once = max(1, min(len(tasks), MOST_WORLDS // policy.width))
    returns: list[Array] = []
    steps: list[Array] = []
    marks: dict[str, float] = {}
    shown: list[Batch] = []
    for first in range(0, len(tasks), at_once):
        some = tasks[first : first + at_once]
        family = make(len(some) * policy.width, seed + first)
        rounds = live(family, policy, some, horizon=horizon, explore=True)
        each = returns_by_episode(rounds, horizon)
        returns.append(_of_tasks(each, len(some)))
        steps.append(_of_tasks(lengths(rounds, horizon), len(some)))
        act, feat = (torch.cat([getattr(r, k) for r in rounds]) for k in ("act", "next_feat"))
        for key, value in family.marks(act.numpy(), feat.numpy()).items():
            marks[key] = marks.get(key, 0.0) + value * len(some) / len(tasks)
        if not shown:
            shown = [r.map(lambda x: x[:, : SHOWN * policy.width]) for r in rounds]
    return Scores(np.concatenate(returns, 1), np.concatenate(steps, 1), marks, shown)


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
    """The n held-out tasks that a seed names, [n, D]."""
    rng = np.random.default_rng(seed_for(seed, "held-out tasks"))  # not the stream of the worlds
    return make(1, seed).sample(n, rng, held_out=True)


def baselines(make: FamilyFactory, tasks: Array, *, horizon: int, seed: int) -> dict[str, Scores]:
    """The scores of every policy that is known for the family, on the same tasks."""
    found = {}
    for name in make(1, seed).baselines:
        policy = known(name, make(1, seed), seed_for(seed, name))
        found[name] = score(make, policy, tasks, horizon=horizon, seed=seed)
    return found
