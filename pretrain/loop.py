"""THE loop of stage 1: collect, the skill learns, relabel, the agent learns, log, save."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rl.collect import Collector
from rl.types import Agent, Batch, Metrics, State
from skills.base import Skill


class Recorder(Protocol):
    """What the loop asks of a run on disk; logbook/run.py fills it."""

    def tick(self, step: int) -> None: ...

    def log(self, step: int, row: Mapping[str, float]) -> None: ...

    def save(self, step: int, state: State) -> None: ...

    def stop_requested(self) -> bool: ...


class Diverged(RuntimeError):
    """A loss or reward is no longer a finite number."""


class Means:
    """Running means of named tensors; nothing is read from the device until `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # [n] for n metrics that come together, by their names
        self._counts: dict[str, int] = {}

    def add(self, prefix: str, metrics: Metrics) -> None:
        """Count one value of each metric."""
        if not metrics:
            return
        key = ",".join(f"{prefix}/{name}" for name in metrics)
        device = next((v.device for v in metrics.values() if isinstance(v, Tensor)), None)
        values = [
            v if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float64, device=device)
            for v in metrics.values()
        ]
        total = torch.stack(values).detach().double()
        self._sums[key] = total.add_(self._sums[key]) if key in self._sums else total
        self._counts[key] = self._counts.get(key, 0) + 1

    def __bool__(self) -> bool:
        return bool(self._sums)

    def take(self) -> dict[str, float]:
        """The means since the last call, as numbers."""
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for key, totals in self._sums.items():
            for name, total in zip(key.split(","), totals.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + total
                counts[name] = counts.get(name, 0) + self._counts[key]
        self._sums, self._counts = {}, {}
        return {name: total / counts[name] for name, total in sums.items()}

    def state_dict(self) -> State:
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: State) -> None:
        self._sums = {k: torch.as_tensor(v) for k, v in state["sums"].items()}
        self._counts = {k: int(v) for k, v in state["counts"].items()}


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
        self.means.add("skill", self.skill.observe(rollout))
        for batch in self.agent.batches(rollout):
            rew, metrics = self.skill.learn(batch)
            self.means.add("skill", {**metrics, "intrinsic_reward_mean": rew.mean()})
            self.means.add("train", self.agent.update(batch.with_rew(rew)))
            self.updates += 1
        return rollout

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
        bad = [key for key, value in row.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(f"{', '.join(bad)} is not a finite number at step {self.step:,}")
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
        torch.set_float32_matmul_precision(state["matmul"])  # a clock chose it: keep that choice


def train(
    training: Training,
    recorder: Recorder,
    *,
    steps: int,
    log_every: int,
    checkpoint_every: int,
    early_look: Callable[[], None] | None = None,
    early_look_at: int = 0,
) -> bool:
    """Run until `steps` env steps; True when done, False when stopped on request (and saved).

    Rows and checkpoints fall on fixed env steps, so that a killed and resumed run writes what an
    uninterrupted one writes. `early_look` is called in the round that reaches `early_look_at`
    steps, after what that round saves; it must not touch the training's generators.
    """

    def crossed(before: int, every: int) -> bool:
        return training.step // every > before // every

    while training.step < steps:
        before = training.step
        training.advance()
        recorder.tick(training.step)
        if crossed(before, log_every):
            recorder.log(training.step, training.row())
        if crossed(before, checkpoint_every) and training.step < steps:
            recorder.save(training.step, training.state_dict())
        if early_look is not None and before < early_look_at <= training.step:
            early_look()
        if recorder.stop_requested() and training.step < steps:
            recorder.save(training.step, training.state_dict())
            return False
    if training.means:  # what came after the last row; not twice, if resumed from here
        recorder.log(training.step, training.row())
    recorder.save(training.step, training.state_dict())
    return True
