"""THE loop of stage 3: a learner takes env steps, and now and then its policy's mode is looked at.

`step` counts every env step that was taken to learn or to choose; those of the looks are taken in
worlds of their own, from which nobody learns, and are not counted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from envs.base import World
from finetune.base import Learner
from finetune.evaluate import Score
from logbook.errors import Exit, UserError
from rl.matmul import keep_matmul
from rl.train import Means
from rl.types import State


class Finetuning:
    """Everything that learns, and the curve so far: what a checkpoint holds.

    `curve` has a row [env steps, mean return, half of its 95 % interval, share of successes] for
    the start (when the skill has been chosen) and for every `every` env steps. `origin` is the step
    that the pretrained networks are of.
    """

    def __init__(
        self, learner: Learner, look: Callable[[Learner], Score], every: int, origin: int
    ) -> None:
        self.learner = learner
        self.means = Means()
        self.curve: list[list[float]] = []
        self._look, self._every, self._origin = look, every, origin

    @property
    def step(self) -> int:
        """Env steps taken, over all worlds."""
        return self.learner.world.taken

    @property
    def world(self) -> World:
        """Where the task is."""
        return self.learner.world.inner

    def advance(self) -> None:
        """One round, and a look at the policy if one is due."""
        before, unstable = self.step, self.world.unstable
        try:
            if not before and not self.curve and self.learner.player() is not None:
                self._judge()
            for prefix, metrics in self.learner.advance():
                self.means.add(prefix, metrics)
            dropped = (self.world.unstable - unstable) / max(self.step - before, 1)
            self.means.add("rollout", {"unstable": dropped})
            due = not self.curve or self.step // self._every > before // self._every
            if due and self.learner.player() is not None:
                self._judge()
        except ValueError as e:  # a formula that is no number here
            if str(e).startswith("task."):
                raise UserError(str(e)) from e
            raise

    def _judge(self) -> None:
        score = self._look(self.learner)
        row = [score.mean, score.half, float(score.success.mean())]
        self.curve.append([self.step, *row])
        self.means.add("evaluate", {"return": score.mean, "success": row[2]})

    def row(self) -> dict[str, float]:
        """The metrics since the last row."""
        row = self.means.take()
        episodes, self.learner.episodes = self.learner.episodes, []
        if episodes:
            returns, lengths = zip(*episodes, strict=True)
            row["rollout/ep_rew_mean"] = float(np.mean(returns))
            row["rollout/ep_len_mean"] = float(np.mean(lengths))
        row["train/n_updates"] = float(self.learner.updates)
        row["time/total_timesteps"] = float(self.step)
        return row

    def reseed(self, seed: int) -> None:
        """Go on along another course than before."""
        self.learner.reseed(seed)

    def state_dict(self) -> State:
        return {
            "learner": self.learner.state_dict(),
            "means": self.means.state_dict(),
            "curve": [list(row) for row in self.curve],
            "taken": self.step,
            "origin": self._origin,
            "matmul": torch.get_float32_matmul_precision(),
        }

    def load_state_dict(self, state: State) -> None:
        if int(state["origin"]) != self._origin:
            raise UserError(
                f"this run began from step {int(state['origin']):,} of the run named by from=, "
                f"which is at {self._origin:,} now: begin again with name=...",
                Exit.CHECKPOINT,
            )
        self.learner.load_state_dict(state["learner"])
        self.means.load_state_dict(state["means"])
        self.curve = [[int(row[0]), *map(float, row[1:])] for row in state["curve"]]
        self.learner.world.taken = int(state["taken"])
        keep_matmul(state["matmul"])
