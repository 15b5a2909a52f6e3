"""Skills as options: a controller picks one, which then acts for up to k env steps.

Semi-MDP Q-learning over options (Sutton, Precup & Singh 1999): a transition leads from one decision
to the next, d <= k steps later, earns sum_i gamma^i r_i on the way and bootstraps with gamma^d.
Worlds decide when their own option is over, so nothing idles; the skills are frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune.base import Player, Setting
from finetune.world import Array
from rl.collect import to_world
from rl.train import Pace, pace_of
from rl.types import Agent, Batch, Metrics, State, WorldSpec

SEES = ("all", "task")  # all of obs and what the task shows behind it, or the latter alone


class Options:
    """K frozen skills for `steps` steps each, and, if `own`, the world's own actions beside them.

    A choice [C] is one-hot over the K skills; with `own` it is [A + 1 + K] in [-1, 1]: an action,
    and how much that action (for one step) and each skill (for k) is wanted: the largest has it.
    """

    def __init__(self, setting: Setting, steps: int, own: bool, sees: str) -> None:
        if steps < 1:
            raise ValueError(f"strategy.skill_steps={steps}: want at least 1")
        if sees not in SEES:
            raise ValueError(f"strategy.sees={sees}: want {' or '.join(SEES)}")
        self._sees = sees
        self._agent, self._z = setting.source.agent, setting.source.skill.all_z().float().cpu()
        self._width, self._steps, self._own = setting.source.spec.obs_dim, steps, own
        self._act_dim = setting.source.spec.act_dim
        if own and setting.source.spec.discrete:
            raise ValueError("the world's own actions are discrete: use strategy=hierarchy")
        self.begin(1)

    @property
    def count(self) -> int:
        """K."""
        return len(self._z)

    def spec(self, world: WorldSpec) -> WorldSpec:
        """The world as the controller sees it; its one feat is how many steps a choice lasted."""
        width = self._act_dim + 1 + self.count if self._own else self.count
        if self._sees == "task" and world.obs_dim == self._width:
            raise ValueError("strategy.sees=task: this task shows nothing behind obs; use all")
        return replace(
            world,
            obs_dim=world.obs_dim - (self._width if self._sees == "task" else 0),
            act_dim=width,
            discrete=not self._own,
            feat_names=("duration",),
            feat_units=("steps",),
            motion=(),
            plane=(),
        )

    def seen(self, obs: Tensor) -> Tensor:
        """What the controller sees of obs [N, O]."""
        return obs[:, self._width :] if self._sees == "task" else obs

    def begin(self, n: int) -> None:
        """All n worlds are to decide."""
        self.left = np.zeros(n, np.int64)
        self.skill = np.full(n, -1, np.int64)  # -1: an action of the controller's own

    def decide(self, choice: Tensor) -> Array:
        """Take choices [N, C] where one is due; which worlds those are [N]."""
        due = np.asarray(self.left == 0)
        wanted = choice[:, self._act_dim :] if self._own else choice
        best = wanted.argmax(-1).cpu().numpy() - int(self._own)
        self.skill = np.where(due, best, self.skill)
        self.left = np.where(due, np.where(best < 0, 1, self._steps), self.left)
        return due

    def act(self, obs: Tensor, choice: Tensor) -> Tensor:
        """What the skills in force do, [N, A]; the choice's own action where none is."""
        skill = torch.from_numpy(self.skill)
        z = self._z[skill.clamp(min=0)]
        act: Tensor = self._agent.act(obs[:, : self._width], z, explore=False)[0].float().cpu()
        if self._own:
            act = torch.where((skill < 0)[:, None], choice[:, : self._act_dim].cpu(), act)
        return act

    def passed(self, done: Array) -> Array:
        """A step was taken; which options are over now, [N]."""
        self.left = np.where(done, 0, self.left - 1)
        return np.asarray(self.left == 0)

    def state_dict(self) -> State:
        return {"left": self.left.copy(), "skill": self.skill.copy()}

    def load_state_dict(self, state: State) -> None:
        self.left, self.skill = np.array(state["left"]), np.array(state["skill"])


class OptionPlayer:
    """The controller's mode, and under it the skills'."""

    def __init__(self, controller: Any, options: Options) -> None:
        self._controller, self._options = controller, options
        self.chosen: list[int] = []

    def begin(self, n: int) -> None:
        self._options.begin(n)

    def act(self, obs: Tensor) -> Tensor:
        seen = self._options.seen(obs)
        choice = self._controller.act(seen, torch.zeros(len(obs), 0), explore=False)[0]
        self._options.decide(choice)
        act = self._options.act(obs, choice)
        self._options.passed(np.zeros(len(obs), np.bool_))
        return act

    def hear(self, rew: Tensor, done: Tensor) -> None:
        """Options last through what they lead to."""


class OptionLearner:
    """A controller over options, which learns from replay at the rate of env steps."""

    def __init__(
        self,
        setting: Setting,
        steps: int,
        own: bool,
        sees: str,
        controller: Callable[..., Agent],
    ) -> None:
        self.world = setting.make_world(num_envs=setting.num_envs)
        self.episodes: list[tuple[float, int]] = []
        self.updates = 0
        self._notes = {"skills": len(setting.source.skill.all_z()), "skill_steps": steps}
        self._options = Options(setting, steps, own, sees)
        self._looked = Options(setting, steps, own, sees)
        if self._options.count < 2:
            raise ValueError(
                f"from={setting.source.folder} has {self._options.count} skill: there is nothing "
                "to pick from; use a run of a method with skills, such as diayn"
            )
        spec = self._options.spec(self.world.world_spec)
        self._agent: Agent = controller(world=spec, z_dim=0, **setting.agent_context)
        if not hasattr(self._agent, "replay"):
            raise ValueError(
                f"strategy.controller.name={type(self._agent).__name__.lower()}: options last "
                "differently long, which only an agent with replay can learn from; use sac"
            )
        one = pace_of(self._agent, setting.num_envs)  # it counts picks, of `steps` at most
        self.pace = Pace(one.whole, one.first * steps, most=True)
        self._gamma = float(self._agent.gamma)  # type: ignore[attr-defined]
        num = setting.num_envs
        obs, _ = self.world.reset(seed=setting.stream("world"))
        self._obs = torch.from_numpy(obs)
        self._options.begin(num)
        self._began = self._options.seen(self._obs).clone()  # at the last decision
        self._choice = torch.zeros(num, spec.act_dim)
        self._earned, self._lasted = np.zeros(num), np.zeros(num, np.int64)
        self._return, self._length = np.zeros(num), np.zeros(num, np.int64)

    def advance(self) -> list[tuple[str, Metrics]]:
        rollout = self._step()
        found: list[tuple[str, Metrics]] = []
        for batch in self._agent.batches(rollout):
            discount = self._gamma ** batch.next_feat[:, 0]
            batch = replace(batch, extras={**batch.extras, "discount": discount})
            found.append(("train", self._agent.update(batch)))
            self.updates += 1
        return found

    @torch.no_grad()
    def _step(self) -> Batch:
        """One env step of all worlds; a row [1, N], valid where an option was over after it."""
        num = self.world.num_envs
        obs = self._obs
        shown = self._options.seen(obs)
        asked = self._agent.act(shown, torch.zeros(num, 0), explore=True)[0].float().cpu()
        due = torch.from_numpy(self._options.decide(asked))[:, None]
        self._choice = torch.where(due, asked, self._choice)
        self._began = torch.where(due, shown, self._began)
        fresh = due[:, 0].numpy()
        self._earned[fresh], self._lasted[fresh] = 0.0, 0
        act = self._options.act(obs, self._choice)
        space = self.world.single_action_space
        seen, rew, terminated, truncated, info = self.world.step(to_world(act, space))
        self._earned += self._gamma**self._lasted * rew
        self._lasted += 1
        done = terminated | truncated
        over = self._options.passed(done)
        lasted = torch.from_numpy(self._lasted.astype(np.float32))[:, None]
        row = Batch(
            obs=self._began,
            act=self._choice,
            next_obs=self._options.seen(torch.from_numpy(seen)),
            feat=torch.zeros_like(lasted),
            next_feat=lasted,
            rew=torch.from_numpy(self._earned.astype(np.float32)),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy(truncated & ~terminated),
            z=torch.zeros(num, 0),
            extras={"valid": torch.from_numpy(over & ~info["unstable"])},
        )
        self._count(rew, done)
        self._obs = torch.from_numpy(seen)
        if done.any():
            begun, _ = self.world.reset(options={"reset_mask": done})
            self._obs = torch.from_numpy(begun)
        return row.map(lambda x: x[None])

    def _count(self, rew: Array, done: Array) -> None:
        self._return += rew
        self._length += 1
        for i in np.flatnonzero(done):
            self.episodes.append((float(self._return[i]), int(self._length[i])))
        self._return[done], self._length[done] = 0.0, 0

    def player(self) -> Player | None:
        return OptionPlayer(self._agent, self._looked)

    def notes(self) -> dict[str, Any]:
        return dict(self._notes)

    def reseed(self, seed: int) -> None:
        self._agent.reseed(seed)

    def state_dict(self) -> State:
        return {
            "agent": self._agent.state_dict(),
            "world": self.world.state_dict(),
            "options": self._options.state_dict(),
            "obs": self._obs,
            "began": self._began,
            "choice": self._choice,
            "earned": self._earned.copy(),
            "lasted": self._lasted.copy(),
            "return": self._return.copy(),
            "length": self._length.copy(),
            "episodes": [[r, n] for r, n in self.episodes],
            "updates": self.updates,
        }

    def load_state_dict(self, state: State) -> None:
        self._agent.load_state_dict(state["agent"])
        self.world.load_state_dict(state["world"])
        self._options.load_state_dict(state["options"])
        self._obs, self._began, self._choice = state["obs"], state["began"], state["choice"]
        self._earned, self._lasted = np.array(state["earned"]), np.array(state["lasted"])
        self._return, self._length = np.array(state["return"]), np.array(state["length"])
        self.episodes = [(float(r), int(n)) for r, n in state["episodes"]]
        self.updates = int(state["updates"])
