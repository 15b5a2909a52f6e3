"""Adapt: a meta-learner meets the task, and learns it in its own way, round by round.

What stage 2 was for (arXiv 2301.08028, section 2; arXiv 1806.04640, section 4): a learner by
gradient steps takes one at its own rate after every round of `width` episodes, and one with a
memory lives on in it. Nothing else is learned here. Episodes of a round are as long as those of the
run's tasks; those that a round waits for in idle worlds are counted too.

A rate that serves the first steps of a trial may be too high for the twentieth, whose step then
throws away what the first found. So a step whose round earns less than the best round by `undo`
standard errors is taken back, and the next is taken where that round was lived, on fresh episodes.
What is looked at is then the best that a round was lived with, a round later than the newest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.base import Learner, Player, Setting, Source, Strategy
from finetune.best import Best
from finetune.world import TaskWorld
from logbook import checkpoint
from logbook.build import build
from logbook.heritage import open_record, world_of
from meta.stage import family_factory, restore
from meta.trial import Last, Memory, MetaLearner, one_round
from rl.train import Pace
from rl.types import Batch, Metrics, State, WorldSpec

__all__ = ["Adapt"]

Array = NDArray[Any]


@dataclass(frozen=True)
class MetaTrained:
    """A stage-2 run as its newest good checkpoint left it; `spec` is that of its tasks' world."""

    folder: Path
    config: dict[str, Any]
    step: int
    spec: WorldSpec
    episode_steps: int
    learner: MetaLearner


class Adapt(Strategy):
    """`shots` rounds are learned from, then the policy stays as it is.

    None: as many as there are, or for a memory one less than the episodes of a trained trial.
    `undo` is in standard errors of the difference of two rounds; None: no step is taken back.
    """

    stage = "metatrain"

    def __init__(self, *, shots: int | None, undo: float | None) -> None:
        if shots is not None and shots < 0:
            raise ValueError(f"strategy.shots={shots} must be at least 0, or null")
        if undo is not None and undo < 0:
            raise ValueError(f"strategy.undo={undo} must be at least 0, or null")
        self._shots, self._undo = shots, undo

    def take_over(self, folder: Path, device: torch.device) -> Source:
        return metatrained(folder, device)

    def learner(self, setting: Setting) -> Learner:
        source: MetaTrained = setting.source
        if source.learner.told:
            name = source.config["learner"]["name"]
            raise ValueError(
                f"learner={name} of {source.folder} has to be told its task and cannot find it "
                "out; use a run of learner=maml, promp or rl2"
            )
        world = setting.make_world(num_envs=source.learner.width)
        more = world.world_spec.obs_dim - source.spec.obs_dim
        if more:
            raise ValueError(
                f"the task shows {more} numbers behind obs that the learner has no inputs for: use "
                "strategy=scratch, hierarchy or play, from a pretrain run"
            )
        return AdaptLearner(setting, world, self._shots, self._undo)


def metatrained(folder: Path, device: torch.device) -> MetaTrained:
    """The learner of a `metatrain` run. Raises UserError (codes 2 and 5)."""
    config = {**open_record(folder, "metatrain"), "device": str(device)}
    env = world_of(folder, config)
    if checkpoint.listed(folder / "proposals"):  # the skills' own run may be gone
        config["from"] = str(folder / "proposals")
    family = family_factory(config)(1, 0)
    learner, step = restore(folder, config)
    world = build("env", env, num_envs=1)
    spec = replace(family.spec, name=world.world_spec.name)
    world.close()
    return MetaTrained(folder, config, step, spec, family.episode_steps, learner)


class OneTask:
    """The world of a task as a family of one, for trials to be lived in."""

    def __init__(self, world: TaskWorld) -> None:
        self._world = world
        self.num_envs = world.num_envs
        self.single_action_space = world.single_action_space
        self.spec = world.world_spec
        self.episode_steps = self.spec.max_episode_steps

    def enter(self, tasks: Array) -> None:
        """There is but one."""

    def reset(self, mask: NDArray[np.bool_] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start episodes in all worlds, or where `mask` [N]."""
        return self._world.reset(options=None if mask is None else {"reset_mask": mask})

    def step(self, act: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One action each, paid by the task."""
        return self._world.step(act)

    def wait(self) -> bool:
        """Tasks pay at once."""
        return False

    def settle(self) -> Array:
        """Nothing is owed."""
        raise ValueError("a task owes no rewards")


class AdaptPlayer:
    """The mode of a learner's policy, which goes on remembering from what it has met so far."""

    def __init__(self, learner: MetaLearner, memory: Memory, last: Last) -> None:
        self._learner, self._start, self._before = learner, memory, last

    def begin(self, n: int) -> None:
        self._memory = self._learner.lend(self._start, n)
        act, rew, done = (x[:1] for x in vars(self._before).values())
        self._last = Last(act.expand(n, -1), rew.expand(n), done.expand(n))

    def act(self, obs: Tensor) -> Tensor:
        act, _, self._memory = self._learner.act(obs, self._last, self._memory, False)
        self._last = replace(self._last, act=act.cpu())
        return act

    def hear(self, rew: Tensor, done: Tensor) -> None:
        self._last = Last(self._last.act, rew, done.float())


class AdaptLearner:
    """One trial of the task, a round at a time, in as many worlds as the learner wants of it.

    From the round after the last shot on, neither params nor memory move on from round to round,
    but that a last step which proves bad is taken back.
    """

    def __init__(
        self, setting: Setting, world: TaskWorld, shots: int | None, undo: float | None
    ) -> None:
        self.world = world
        self.episodes: list[tuple[float, int]] = []
        self.updates = 0
        source: MetaTrained = setting.source
        self._learner, self._name = source.learner, source.config["learner"]["name"]
        remembers = len(self._learner.rounds(2)) == 1
        self._limit = max(1, self._learner.horizon - 1) if shots is None and remembers else shots
        undo = None if remembers or world.num_envs < 2 else undo  # one episode has no spread
        self._spent = 0
        whole = world.num_envs * world.world_spec.max_episode_steps
        self.pace = Pace(whole, whole, most=True)
        self._family = OneTask(world)
        self._learner.reseed(setting.stream("learner"))
        self._memory = self._learner.begin(1, None)
        self._best = None if undo is None else Best(self._memory, undo)
        num = world.num_envs
        self._last = Last(torch.zeros(num, source.spec.act_dim), torch.zeros(num), torch.zeros(num))
        world.reset(seed=setting.stream("world"))

    @torch.no_grad()
    def advance(self) -> list[tuple[str, Metrics]]:
        """An episode in every world, and what the learner makes of it if it has a shot left."""
        num = self.world.num_envs
        rollout, last, memory = one_round(
            self._family,
            self._learner,
            self._memory,
            self._last,
            torch.zeros(num, 0),
            self.updates,
            1,
            explore=True,
        )
        lived, returns, best = _lived(rollout), rollout.rew.sum(0), self._best
        broken = bool((lived & ~rollout.extras["valid"]).any())  # physics diverged
        if best is not None and best.hear(self._memory, returns, broken):
            self._memory = best.memory
        elif self._limit is None or self.updates < self._limit:
            self._memory, self._last = self._learner.adapt(memory, rollout), last
            self.updates += 1
            self._spent = self.world.taken
            if best is not None:
                best.leave()
        self.episodes += zip(returns.tolist(), lived.sum(0).tolist(), strict=True)
        told: dict[str, Tensor | float] = {"return": returns.mean(), "shots": float(self.updates)}
        if best is not None:
            told["undone"] = float(best.undone)
        return [("adapt", told)]

    def player(self) -> Player | None:
        memory = self._memory if self._best is None else self._best.memory
        return AdaptPlayer(self._learner, memory, self._last)

    def notes(self) -> dict[str, Any]:
        told = {"learner": self._name, "shots": self.updates, "steps_adapting": self._spent}
        return told if self._best is None else {**told, "undone": self._best.undone}

    def reseed(self, seed: int) -> None:
        self._learner.reseed(seed)

    def state_dict(self) -> State:
        best: State = {}
        if self._best is not None:
            memory = self._learner.pack(self._best.memory)
            best = {"memory": memory, **self._best.state_dict()}
        return {
            "learner": self._learner.state_dict(),
            "memory": self._learner.pack(self._memory),
            "last": dict(vars(self._last)),
            "world": self.world.state_dict(),
            "episodes": [[r, n] for r, n in self.episodes],
            "updates": self.updates,
            "spent": self._spent,
            "best": best,
        }

    def load_state_dict(self, state: State) -> None:
        self._learner.load_state_dict(state["learner"])
        self._memory = self._learner.unpack(state["memory"])
        self._last = Last(**state["last"])
        self.world.load_state_dict(state["world"])
        self.episodes = [(float(r), int(n)) for r, n in state["episodes"]]
        self.updates, self._spent = int(state["updates"]), int(state["spent"])
        if self._best is not None:
            self._best.memory = self._learner.unpack(state["best"]["memory"])
            self._best.load_state_dict(state["best"])


def _lived(rollout: Batch) -> Tensor:
    """The steps [T, N] of the one episode that every world was to make."""
    done = (rollout.terminated | rollout.truncated).int()
    return done.cumsum(0) - done == 0
