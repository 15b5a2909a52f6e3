"""Which skill suits a task: three rules that spend env steps on finding out.

A rule is asked which skills to try next, and told what the trials gave. Scores are mean rewards per
env step: a trial goes on past the end of an episode, so a skill that falls over pays for it.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rl.types import Batch, State

Array = NDArray[Any]


class Rule(Protocol):
    """Chooses one of K skills by trials in N worlds at a time."""

    @property
    def cost(self) -> int:
        """Env steps of all its trials, over all worlds."""
        ...

    def plan(self) -> tuple[Array, int] | None:
        """The skills to try next, one a world [N], and for how many steps; None: chosen."""
        ...

    def hear(self, skills: Array, rollout: Batch) -> None:
        """The transitions [T, N] of the trials that were planned."""
        ...

    def scores(self) -> Array:
        """How good each skill looks, [K]; NaN where it was not tried."""
        ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class Sweep:
    """Every skill `episodes` times for `steps` steps; the best mean wins."""

    def __init__(self, skill: Any, num_envs: int, steps: int, episodes: int) -> None:
        self.count, self._num = len(skill.all_z()), num_envs
        self._rewards = np.zeros(self.count)
        self._lived = np.zeros(self.count)
        self._rounds = self._schedule(steps, episodes)
        self._alive: Array = np.arange(self.count)
        self._at = 0  # rounds done
        self._tried = 0  # of the present round

    def _schedule(self, steps: int, episodes: int) -> list[tuple[int, int, int]]:
        """Rounds of (trials of each skill that is left, their steps, skills to keep after)."""
        return [(episodes, steps, 1)]

    @property
    def cost(self) -> int:
        total, left = 0, self.count
        for trials, steps, keep in self._rounds if left > 1 else ():
            total += -(-trials * left // self._num) * self._num * steps
            left = keep
        return total

    def plan(self) -> tuple[Array, int] | None:
        if self.count == 1 or self._at == len(self._rounds):
            return None
        skills = self._alive[(self._tried + np.arange(self._num)) % len(self._alive)]
        return skills, self._rounds[self._at][1]

    def hear(self, skills: Array, rollout: Batch) -> None:
        np.add.at(self._rewards, skills, rollout.rew.double().sum(0).numpy())
        np.add.at(self._lived, skills, len(rollout.rew))
        self._tried += self._num
        trials, _, keep = self._rounds[self._at]
        if self._tried < trials * len(self._alive):
            return
        order = np.argsort(-self.scores()[self._alive], kind="stable")
        self._alive = np.sort(self._alive[order[:keep]])
        self._at, self._tried = self._at + 1, 0

    def scores(self) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self._rewards / self._lived)

    def state_dict(self) -> State:
        return {
            "rewards": self._rewards.copy(),
            "lived": self._lived.copy(),
            "alive": self._alive.copy(),
            "at": self._at,
            "tried": self._tried,
        }

    def load_state_dict(self, state: State) -> None:
        self._rewards, self._lived = np.array(state["rewards"]), np.array(state["lived"])
        self._alive = np.array(state["alive"])
        self._at, self._tried = int(state["at"]), int(state["tried"])


class Halving(Sweep):
    """Successive halving (Karnin et al. 2013): rounds that keep the better half and last longer.

    The last round is between two, for `steps` steps; each round before it lasts half as long.
    """

    def _schedule(self, steps: int, episodes: int) -> list[tuple[int, int, int]]:
        rounds = max(1, math.ceil(math.log2(max(self.count, 2))))
        left, found = self.count, []
        for k in range(rounds):
            left = max(1, math.ceil(left / 2))
            found.append((1, max(10, steps >> (rounds - 1 - k)), left))
        return found


class Regression(Sweep):
    """Skills try the task for a quarter of `steps`; the one whose own reward explains its reward.

    Every transition is judged by the skill method under every z, [K]; the z whose intrinsic reward
    correlates best with the task's wins. So a skill may win that was hardly tried.
    """

    def __init__(self, skill: Any, num_envs: int, steps: int, episodes: int) -> None:
        self._skill = skill
        self._sums = np.zeros((len(skill.all_z()), 5))  # of r, r^2, and of y, y^2, ry
        self._rows = 0
        super().__init__(skill, num_envs, steps, episodes)

    def _schedule(self, steps: int, episodes: int) -> list[tuple[int, int, int]]:
        return [(episodes, max(10, steps // 4), self.count)]

    @torch.no_grad()
    def hear(self, skills: Array, rollout: Batch) -> None:
        super().hear(skills, rollout)
        y = rollout.rew.double().flatten().numpy()
        parts = [*self._skill.parameters(), *self._skill.buffers()]
        device = parts[0].device if parts else torch.device("cpu")
        flat = rollout.map(lambda x: x.flatten(0, 1).to(device))
        for k, z in enumerate(self._skill.all_z().to(device)):
            r = self._skill.reward(_with_z(flat, z.expand(len(y), -1))).double().cpu().numpy()
            self._sums[k] += [r.sum(), (r * r).sum(), y.sum(), (y * y).sum(), (r * y).sum()]
        self._rows += len(y)

    def scores(self) -> Array:
        if not self._rows:
            return np.full(self.count, np.nan)
        r, rr, y, yy, ry = (self._sums / self._rows).T
        spread = np.sqrt(np.maximum(rr - r * r, 0) * np.maximum(yy - y * y, 0))
        return np.asarray((ry - r * y) / np.maximum(spread, 1e-12))

    def state_dict(self) -> State:
        return {**super().state_dict(), "sums": self._sums.copy(), "rows": self._rows}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self._sums, self._rows = np.array(state["sums"]), int(state["rows"])


def _with_z(batch: Batch, z: torch.Tensor) -> Batch:
    columns = {k: getattr(batch, k) for k in ("obs", "act", "next_obs", "feat", "next_feat")}
    columns |= {k: getattr(batch, k) for k in ("rew", "terminated", "truncated")}
    return Batch(**columns, z=z, extras=batch.extras)


RULES = {"sweep": Sweep, "halving": Halving, "regression": Regression}
