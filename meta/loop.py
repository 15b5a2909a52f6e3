"""THE loop of stage 2: draw tasks, live through trials of them, learn to learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from envs.base import pack_rng, unpack_rng
from envs.tasks.base import Tasks
from meta.trial import MetaLearner, live, returns_by_episode, side_by_side
from rl.matmul import keep_matmul
from rl.train import Means, Pace
from rl.types import Batch, State


@dataclass
class MetaTraining:
    """Everything that learns to learn, and how far it has come: what a checkpoint holds.

    `family` has a whole number of tasks' worlds; an update's tasks are lived through in turns of
    as many as fit.
    """

    family: Tasks
    learner: MetaLearner
    rng: np.random.Generator  # draws the tasks
    step: int = 0  # env steps taken, over all worlds and episodes
    updates: int = 0
    means: Means = field(default_factory=Means)

    @property
    def pace(self) -> Pace:
        """A round is a trial of every task of an update."""
        learner = self.learner
        episodes = learner.meta_batch * learner.width * learner.horizon
        whole = episodes * self.family.episode_steps
        return Pace(whole, whole, most=True)

    def advance(self) -> list[Batch]:
        """One round: trials of fresh tasks and the learning they pay for."""
        learner = self.learner
        tasks = self.family.sample(learner.meta_batch, self.rng, held_out=False)
        at_once = self.family.num_envs // learner.width
        before = self._unstable()
        turns = [
            live(
                self.family,
                learner,
                tasks[i : i + at_once],
                horizon=learner.horizon,
                explore=True,
            )
            for i in range(0, len(tasks), at_once)
        ]
        rounds = [side_by_side(parts) for parts in zip(*turns, strict=True)]
        dropped = self._unstable() - before
        steps = dropped + sum(int(r.extras["valid"].sum()) for r in rounds)
        self.step += steps
        self.means.add("rollout", {"unstable": dropped / steps})
        by_episode = returns_by_episode(rounds, learner.horizon).mean(1)
        self.means.add("meta", {"return": by_episode.sum()})
        if learner.horizon > 1:
            self.means.add("meta", {"first_episode": by_episode[0], "last_episode": by_episode[-1]})
        self.means.add("train", learner.update(rounds))
        for rollout in rounds:
            seen, valid = rollout.next_feat.numpy(), rollout.extras["valid"].numpy()
            self.means.add("tasks", self.family.learn(seen, valid))
        self.updates += 1
        return rounds

    @property
    def world(self) -> Any:
        """Where the tasks are lived in; None where that is the family itself."""
        return getattr(self.family, "world", None)

    def _unstable(self) -> int:
        return 0 if self.world is None else int(self.world.unstable)

    def row(self) -> dict[str, float]:
        """The metrics since the last row."""
        row = self.means.take()
        row["train/n_updates"] = float(self.updates)
        row["time/total_timesteps"] = float(self.step)
        return row

    def reseed(self, seed: int) -> None:
        """Go on along another course than before: after a rollback the same would happen again."""
        self.rng = np.random.default_rng(seed)
        self.learner.reseed(seed)

    def state_dict(self) -> State:
        return {
            "learner": self.learner.state_dict(),
            "family": self.family.state_dict(),
            "rng": np.array(pack_rng(self.rng), np.uint64).view(np.int64),
            "means": self.means.state_dict(),
            "step": self.step,
            "updates": self.updates,
            "matmul": torch.get_float32_matmul_precision(),
        }

    def load_state_dict(self, state: State) -> None:
        self.learner.load_state_dict(state["learner"])
        self.family.load_state_dict(state["family"])
        self.rng = unpack_rng(np.array(state["rng"]).view(np.uint64))
        self.means.load_state_dict(state["means"])
        self.step, self.updates = int(state["step"]), int(state["updates"])
        keep_matmul(state["matmul"])
