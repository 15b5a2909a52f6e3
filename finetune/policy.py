"""Policy: choose the skill that suits the task, and go on with its policy and critics.

DIAYN's fine-tuning (arXiv 1802.06070, section 4.2.1) and URLB's: both take the best of the skills,
without counting what it cost to find it; here it is counted. What the trials saw is not lost: for
an agent with replay it is the first thing to learn from, under the z that was chosen.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from finetune.base import Learner, Player, Setting, Strategy
from finetune.choose import RULES, Rule
from finetune.flat import FlatLearner
from rl.collect import Collector
from rl.train import Pace, pace_of
from rl.types import Agent, Batch, Metrics, State

__all__ = ["Policy"]

_COLUMNS = "obs act next_obs feat next_feat rew terminated truncated z".split()


class Policy(Strategy):
    """`rule` chooses by trials of up to `steps` steps (`episodes` of each skill, for the sweep).

    After choosing, `warmup` env steps come before the first update, and the networks that `fresh`
    names start anew.
    """

    def __init__(
        self,
        *,
        rule: Literal["sweep", "halving", "regression"],
        steps: int,
        episodes: int,
        warmup: int,
        fresh: list[str],
    ) -> None:
        if steps < 10 or episodes < 1:
            raise ValueError(
                f"strategy.steps={steps}, strategy.episodes={episodes}: want at least 10 and 1"
            )
        self.rule, self.steps, self.episodes = rule, steps, episodes
        self.warmup, self.fresh = warmup, tuple(fresh)

    def learner(self, setting: Setting) -> Learner:
        return PolicyLearner(self, setting)


class PolicyLearner:
    """Trials first, then `FlatLearner` under the z that won."""

    def __init__(self, how: Policy, setting: Setting) -> None:
        self.world = setting.make_world(num_envs=setting.num_envs)
        self.updates = 0
        self._how, self._seed = how, setting.stream("world")
        self._agent = setting.heir(self.world.world_spec, how.fresh)
        self._all_z = torch.as_tensor(setting.source.skill.all_z()).float().cpu()
        self._rule: Rule = RULES[how.rule](
            setting.source.skill, setting.num_envs, how.steps, how.episodes
        )
        after = pace_of(self._agent, setting.num_envs, how.warmup)
        self.pace = Pace(after.whole, self._rule.cost + after.first)
        self._seen: list[Batch] = []
        self._flat: FlatLearner | None = None
        if self._rule.plan() is None:  # nothing to choose from
            self._settle()

    @property
    def episodes(self) -> list[tuple[float, int]]:
        """Those of the chosen skill; trials are none."""
        return self._flat.episodes if self._flat else []

    @episodes.setter
    def episodes(self, value: list[tuple[float, int]]) -> None:
        if self._flat:
            self._flat.episodes = value

    def advance(self) -> list[tuple[str, Metrics]]:
        if self._flat is not None:
            found = self._flat.advance()
            self.updates = self._flat.updates
            return found
        planned = self._rule.plan()
        assert planned is not None
        skills, steps = planned
        z = self._all_z[torch.from_numpy(skills)]
        first = self._seed if self.world.taken == 0 else None  # the worlds' own streams go on
        told: Any = _Told(self._agent, z)
        trials = Collector(
            self.world, told, lambda n: torch.zeros(n, z.shape[1]), seed=first, skill_steps=None
        ).collect(steps)
        self._rule.hear(skills, trials)
        self._seen.append(trials)
        metrics: Metrics = {"reward": trials.rew.mean()}
        if self._rule.plan() is None:
            self._settle()
        return [("choose", metrics)]

    def _settle(self) -> None:
        """Choose, and give what was seen to the agent."""
        scores = self._rule.scores()
        chosen = 0 if len(scores) == 1 else int(np.nanargmax(scores))
        notes = {
            "steps_choosing": self.world.taken,
            "chosen_skill": chosen,
            "rule": self._how.rule,
            "scores": [None if np.isnan(s) else round(float(s), 6) for s in scores],
        }
        self._flat = self._go_on(notes)
        for rollout in self._seen:
            self._flat.remember(rollout)
        self._seen = []

    def _go_on(self, notes: dict[str, Any]) -> FlatLearner:
        z = self._all_z[notes["chosen_skill"]]
        return FlatLearner(self.world, self._agent, z, self._seed + 1, self._how.warmup, **notes)

    def player(self) -> Player | None:
        return self._flat.player() if self._flat else None

    def notes(self) -> dict[str, Any]:
        return self._flat.notes() if self._flat else {}

    def reseed(self, seed: int) -> None:
        self._agent.reseed(seed)

    def state_dict(self) -> State:
        state: State = {"chosen": self._flat is not None, "rule": self._rule.state_dict()}
        if self._flat is not None:
            return {**state, "flat": self._flat.state_dict(), "notes": self._flat.notes()}
        seen = {str(i): {k: getattr(b, k) for k in _COLUMNS} for i, b in enumerate(self._seen)}
        valid = {str(i): b.extras["valid"] for i, b in enumerate(self._seen)}
        world = self.world.state_dict() if self.world.taken else None
        return {
            **state,
            "seen": seen,
            "valid": valid,
            "world": world,
            "agent": self._agent.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        self._rule.load_state_dict(state["rule"])
        self._flat, self._seen = None, []
        if state["chosen"]:
            self._flat = self._go_on(state["notes"])
            self._flat.load_state_dict(state["flat"])
            self.updates = self._flat.updates
            return
        self._agent.load_state_dict(state["agent"])
        if state["world"] is not None:
            self.world.load_state_dict(state["world"])
        for i in sorted(state["seen"], key=int):
            columns = {k: state["seen"][i][k] for k in _COLUMNS}
            self._seen.append(Batch(**columns, extras={"valid": state["valid"][i]}))


class _Told:
    """An agent that acts by the z it was told, one a world, and lets the collector have any."""

    def __init__(self, agent: Agent, z: Tensor) -> None:
        self._agent, self._z = agent, z

    def act(self, obs: Tensor, z: Tensor, explore: bool) -> tuple[Tensor, dict[str, Tensor]]:
        return self._agent.act(obs, self._z, explore)
