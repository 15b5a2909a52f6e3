"""One agent that learns the task's reward with its own actions, its z held fixed throughout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from finetune.base import Player
from finetune.world import TaskWorld
from rl.collect import Collector
from rl.train import pace_of
from rl.types import Agent, Batch, Metrics, State


class FlatPlayer:
    """The mode of an agent's policy under one z [Z]."""

    def __init__(self, agent: Any, z: Tensor) -> None:
        self._agent, self._z = agent, z

    def begin(self, n: int) -> None:
        """Nothing is remembered."""

    def act(self, obs: Tensor) -> Tensor:
        found: Tensor = self._agent.act(obs, self._z.expand(len(obs), -1), explore=False)[0]
        return found

    def hear(self, rew: Tensor, done: Tensor) -> None:
        """Nothing is remembered."""


class FlatLearner:
    """`agent` in `world` under z [Z]; it does not learn before `warmup` env steps of its own."""

    def __init__(
        self, world: TaskWorld, agent: Agent, z: Tensor, seed: int, warmup: int, **notes: Any
    ) -> None:
        self.world, self.agent, self.z = world, agent, z
        self.episodes: list[tuple[float, int]] = []
        self.updates = 0
        self.pace = pace_of(agent, world.num_envs, warmup)
        self._warmup = warmup
        self._notes = notes
        self._own = 0
        self._collector = Collector(
            world,
            agent,
            lambda n: z.expand(n, -1).clone(),
            seed=seed,
            skill_steps=None,
        )

    def advance(self) -> list[tuple[str, Metrics]]:
        rollout = self._collector.collect(self.agent.horizon)
        self._own += rollout.rew.numel()
        taken, self._collector.episodes = self._collector.episodes, []
        self.episodes += taken
        found: list[tuple[str, Metrics]] = []
        for batch in self.agent.batches(rollout):
            if self._own >= self._warmup:
                found.append(("train", self.agent.update(batch)))
                self.updates += 1
        return found

    def remember(self, rollout: Batch) -> None:
        """Put transitions of other skills into the agent's replay, if it has one, under its z."""
        replay = getattr(self.agent, "replay", None)
        if replay is None:
            return
        z = self.z.expand(*rollout.rew.shape, -1)
        columns = {k: getattr(rollout, k) for k in ("obs", "act", "next_obs", "feat", "next_feat")}
        columns |= {k: getattr(rollout, k) for k in ("rew", "terminated", "truncated")}
        replay.add(Batch(**columns, z=z, extras=rollout.extras))

    def player(self) -> Player | None:
        return FlatPlayer(self.agent, self.z)

    def notes(self) -> dict[str, Any]:
        return {"steps_choosing": 0, **self._notes}

    def reseed(self, seed: int) -> None:
        self.agent.reseed(seed)

    def state_dict(self) -> State:
        return {
            "agent": self.agent.state_dict(),
            "collector": self._collector.state_dict(),
            "episodes": [[r, n] for r, n in self.episodes],
            "own": self._own,
            "updates": self.updates,
        }

    def load_state_dict(self, state: State) -> None:
        self.agent.load_state_dict(state["agent"])
        self._collector.load_state_dict(state["collector"])
        self.episodes = [(float(r), int(n)) for r, n in state["episodes"]]
        self._own, self.updates = int(state["own"]), int(state["updates"])


def constant_z(all_z: Tensor) -> Tensor:
    """The mean of all skills [Z]: the z of a policy that was not told a skill."""
    return torch.as_tensor(all_z).float().cpu().mean(0)
