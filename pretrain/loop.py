"""THE loop of stage 1: collect, the skill learns, relabel, the agent learns, log, save."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rl.collect import Collector
from rl.matmul import keep_matmul
from rl.train import Means
from rl.types import Agent, Batch, State
from skills.base import Skill


@dataclass
class Training:
    """Everything that learns, and how far it has come: what a checkpoint holds."""

    agent: Agent
    skill: Skill
    collector: Collector
    horizon: int
    step: int = 0  # env steps taken, over all worlds
    updates: int = 0
    means: Means = field(default_factory=Means)

    def advance(self) -> Batch:
        """One round: a rollout of `horizon` steps of every world and the learning it pays for."""
        rollout = self.collector.collect(self.horizon)
        self.step += rollout.rew.numel()
        dropped = (~rollout.extras["valid"]).double().mean()
        self.means.add("rollout", {"unstable": dropped})  # share of steps nobody learns from
        self.means.add("skill", self.skill.observe(rollout))
        for batch in self.agent.batches(rollout):
            rew, metrics = self.skill.learn(batch)
            self.means.add("skill", {**metrics, "intrinsic_reward_mean": rew.mean()})
            self.means.add("train", self.agent.update(batch.with_rew(rew)))
            self.updates += 1
        return rollout

    @property
    def world(self) -> Any:
        """Where it is trained."""
        return self.collector.world

    def row(self) -> dict[str, float]:
        """The metrics since the last row, under Stable-Baselines3's tag names where they exist."""
        row = self.means.take()
        episodes, self.collector.episodes = self.collector.episodes, []
        if episodes:
            returns, lengths = zip(*episodes, strict=True)
            row["rollout/ep_rew_mean"] = float(np.mean(returns))
            row["rollout/ep_len_mean"] = float(np.mean(lengths))
        row["train/n_updates"] = float(self.updates)
        row["time/total_timesteps"] = float(self.step)
        return row

    def reseed(self, seed: int) -> None:
        """Go on along another course than before: after a rollback the same would happen again."""
        self.agent.reseed(seed)
        self.skill.generator.manual_seed(seed)

    def state_dict(self) -> State:
        return {
            "agent": self.agent.state_dict(),
            "skill": self.skill.state_dict(),
            "collector": self.collector.state_dict(),
            "means": self.means.state_dict(),
            "step": self.step,
            "updates": self.updates,
            "matmul": torch.get_float32_matmul_precision(),
        }

    def load_state_dict(self, state: State) -> None:
        self.agent.load_state_dict(state["agent"])
        self.skill.load_state_dict(state["skill"])
        self.collector.load_state_dict(state["collector"])
        self.means.load_state_dict(state["means"])
        self.step, self.updates = int(state["step"]), int(state["updates"])
        keep_matmul(state["matmul"])
