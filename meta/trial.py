"""A trial: H episodes of one task in one memory. What stage 2 collects, and who it collects for.

The objective is that of Beck et al. (arXiv 2301.08028, section 2): the expected return of episodes
K to H of a trial, in which the learner adapts from one episode to the next; K is `burn_in`, H is
`horizon`. A learner with a memory (RL²) lives through all H in one world. One that takes gradient
steps (MAML) adapts between them, and makes each episode in `width` worlds of the task at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl.collect import to_world
from rl.types import Batch, Metrics, State, WorldSpec

Array = NDArray[Any]
Memory = Any
"""What a learner carries from step to step and round to round; only its owner looks inside."""


@dataclass(frozen=True)
class Last:
    """The step before this one; all zeros when a trial begins, and not when an episode does."""

    act: Tensor  # [N, A]
    rew: Tensor  # [N]
    done: Tensor  # [N] float, 1 where it ended an episode


class MetaLearner(Protocol):
    """A learner that is scored on how well it does after it has met a task."""

    told: bool
    """An oracle: it is given the task. All others learn it from experience."""

    hears: bool
    """It acts on the last reward. The others need those of a round only when it is over."""

    meta_batch: int
    """Tasks it learns from in one update."""

    width: int
    """Worlds that it wants of each task, side by side."""

    burn_in: int
    """K, the first episode of a trial whose return counts."""

    horizon: int
    """H, the episodes of a trial."""

    def rounds(self, horizon: int) -> Sequence[int]:
        """How many episodes it lives through between two calls of `adapt`; they sum to horizon."""
        ...

    def begin(self, n: int, told: Tensor | None) -> Memory:
        """A memory for n tasks that it has not met; `told` [n, D] are the tasks, for oracles."""
        ...

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]:
        """Actions [N, A] in [-1, 1] or one-hot, what to remember of the choice, the memory.

        N = n * width, the worlds of one task side by side.
        """
        ...

    def adapt(self, memory: Memory, rollout: Batch) -> Memory:
        """The memory after a round [T, N]."""
        ...

    def update(self, trials: Sequence[Batch]) -> Metrics:
        """Learn to learn, from the rounds of a trial, each [T, N]."""
        ...

    def lend(self, memory: Memory, n: int) -> Memory:
        """A memory of one task for n worlds of it that are lived in side by side."""
        ...

    def pack(self, memory: Memory) -> State:
        """A memory as something that can be kept."""
        ...

    def unpack(self, state: State) -> Memory:
        """Undo `pack`."""
        ...

    def reseed(self, seed: int) -> None:
        """Draw from other streams from now on."""
        ...

    def see_as(self, other: Self) -> None:
        """Take over the scale on which another of the kind sees the world."""
        ...

    def state_dict(self) -> State:
        """Everything that an exact resume needs."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        ...


class Policy(Protocol):
    """As much of a learner as lives through a trial; baselines with known answers are no more."""

    told: bool
    hears: bool
    width: int

    def rounds(self, horizon: int) -> Sequence[int]: ...

    def begin(self, n: int, told: Tensor | None) -> Memory: ...

    def act(
        self, obs: Tensor, last: Last, memory: Memory, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Memory]: ...

    def adapt(self, memory: Memory, rollout: Batch) -> Memory: ...


class Family(Protocol):
    """What a trial asks of a task family; envs/tasks/base.py fills it."""

    num_envs: int
    episode_steps: int
    single_action_space: Any
    spec: WorldSpec

    def enter(self, tasks: Array) -> None: ...

    def reset(self, mask: NDArray[np.bool_] | None = None) -> tuple[Array, dict[str, Any]]: ...

    def step(self, act: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]: ...

    def wait(self) -> bool: ...

    def settle(self) -> Array: ...


@torch.no_grad()
def live(
    family: Family, policy: Policy, tasks: Array, *, horizon: int, explore: bool
) -> list[Batch]:
    """A trial of `horizon` episodes in each of n tasks [n, D]: the rounds [T, N] it was lived in.

    The family has N = n * policy.width worlds. `z` is the task. Extras: `episode` [T, N] counts
    the episodes of the trial; `valid` is False where a step must not be learned from, which a
    world's steps after its last episode are; `target` [T, N, A] if the family has one; and what
    the policy said. T varies: a round ends when every world has ended its episodes.
    """
    n = len(tasks)
    if family.num_envs != n * policy.width:
        raise ValueError(f"{family.num_envs} worlds for {n} tasks of {policy.width}: they differ")
    tasks = np.repeat(tasks, policy.width, 0)
    family.enter(tasks)
    z = torch.from_numpy(tasks).float()
    memory = policy.begin(n, z[:: policy.width] if policy.told else None)
    last = Last(
        torch.zeros(len(tasks), family.spec.act_dim),
        torch.zeros(len(tasks)),
        torch.zeros(len(tasks)),
    )
    rounds, first = [], 0
    for episodes in policy.rounds(horizon):
        rollout, last, memory = one_round(family, policy, memory, last, z, first, episodes, explore)
        rounds.append(rollout)
        first += episodes
        if first < horizon:
            memory = policy.adapt(memory, rollout)
    return rounds


@torch.no_grad()
def one_round(
    family: Family,
    policy: Policy,
    memory: Memory,
    last: Last,
    z: Tensor,
    first: int,
    episodes: int,
    explore: bool,
) -> tuple[Batch, Last, Memory]:
    """`episodes` episodes in every world, the first of which is number `first` of the trial.

    z [N, D] are the tasks, `last` the step before. Returns the rollout [T, N] as `live` tells, the
    last step of it, and the memory. `last.rew` may be missing (0) for a policy that hears none.
    """
    late = not policy.hears and family.wait()
    obs_, info = family.reset()
    obs, feat = torch.from_numpy(obs_), torch.from_numpy(info["feat"])
    count: NDArray[np.int64] = np.zeros(len(z), np.int64)
    rows: dict[str, list[Tensor]] = {}
    limit = episodes * family.episode_steps
    while True:
        act, extras, memory = policy.act(obs, last, memory, explore)
        act = act.cpu()
        next_, rew_, terminated_, truncated_, info = family.step(
            to_world(act, family.single_action_space)
        )
        alive = count < episodes
        done = terminated_ | truncated_
        rew = torch.from_numpy(np.where(alive, rew_, 0.0).astype(np.float32))
        row = {
            "obs": obs,
            "act": act,
            "next_obs": torch.from_numpy(next_),
            "feat": feat,
            "next_feat": torch.from_numpy(info["feat"]),
            "rew": rew,
            "alive": torch.from_numpy(alive),
            "terminated": torch.from_numpy(terminated_),
            "truncated": torch.from_numpy(truncated_),
            "episode": torch.from_numpy(first + np.minimum(count, episodes - 1)),
            "valid": torch.from_numpy(alive & ~info["unstable"]),
            **extras,
        }
        if "target" in info:
            row["target"] = torch.from_numpy(info["target"])
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
        last = Last(act, rew, torch.from_numpy(done.astype(np.float32)))
        obs, feat = row["next_obs"], row["next_feat"]
        count += done
        if (count >= episodes).all():
            break
        if len(rows["rew"]) > limit:
            raise RuntimeError(f"a family whose episodes last more than {family.episode_steps}")
        if done.any():
            fresh, info = family.reset(done)
            obs, feat = torch.from_numpy(fresh), torch.from_numpy(info["feat"])
    stacked = {key: torch.stack(value) for key, value in rows.items()}
    lived = stacked.pop("alive")
    if late:
        stacked["rew"] = torch.from_numpy(family.settle()).where(lived, torch.zeros(()))
    named = ("obs", "act", "next_obs", "feat", "next_feat", "rew", "terminated", "truncated")
    steps = len(stacked["rew"])
    parts = {key: stacked.pop(key) for key in named}
    batch = Batch(**parts, z=z.expand(steps, *z.shape), extras=stacked)
    return batch, last, memory


def side_by_side(parts: Sequence[Batch]) -> Batch:
    """Rollouts [T, n] of different worlds as one [T, N]; the shorter ones end in invalid steps."""
    if len(parts) == 1:
        return parts[0]
    longest = max(len(part.rew) for part in parts)

    def join(tensors: list[Tensor]) -> Tensor:
        whole = []
        for x in tensors:
            rest = x[-1:].expand(longest - len(x), *x.shape[1:])
            whole.append(torch.cat([x, rest]))
        return torch.cat(whole, 1)

    named = {
        k.name: join([getattr(p, k.name) for p in parts])
        for k in fields(Batch)
        if k.name != "extras"
    }
    extras = {k: join([p.extras[k] for p in parts]) for k in parts[0].extras}
    lengths = torch.cat([torch.full((p.rew.shape[1],), len(p.rew)) for p in parts])
    there = torch.arange(longest)[:, None] < lengths
    named["rew"] = named["rew"] * there
    extras["valid"] = extras["valid"] & there
    return Batch(**named, extras=extras)


def returns_by_episode(rounds: Sequence[Batch], horizon: int) -> Tensor:
    """The return of every episode of every world, [H, N]."""
    total = torch.zeros(horizon, rounds[0].rew.shape[1])
    for rollout in rounds:
        total.scatter_add_(0, rollout.extras["episode"], rollout.rew)
    return total


def counted(rollout: Batch, burn_in: int) -> Tensor:
    """Which rewards the objective counts [T, N]: those of episodes from `burn_in` on."""
    return rollout.extras["episode"] >= burn_in
