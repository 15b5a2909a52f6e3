"""What every strategy is: a way from skills to a task's reward, and the parts they are made of.

A strategy (`configs/strategy/`) holds nothing but its settings; `learner` puts it to work in a
`Setting`. All strategies step worlds that count (finetune/world.py), so that env steps mean the
same for all of them: those spent choosing a skill are among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from finetune.world import TaskWorld
from logbook.build import build
from logbook.heritage import pretrained
from logbook.seeds import seed_for
from rl.train import Pace
from rl.types import Agent, Metrics, State, WorldSpec


class Player(Protocol):
    """A policy that is looked at: no noise, no learning."""

    def begin(self, n: int) -> None:
        """Episodes begin in n worlds."""
        ...

    def act(self, obs: Tensor) -> Tensor:
        """Actions [N, A] in [-1, 1] or one-hot for obs [N, O]."""
        ...

    def hear(self, rew: Tensor, done: Tensor) -> None:
        """What these led to: reward [N], and whether episodes ended [N] bool."""
        ...


class Source(Protocol):
    """The run that a strategy goes on from, as its newest good checkpoint left it.

    What else there is, the strategies of its stage know: `agent` and `skill`, or `learner`.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def step(self) -> int: ...

    @property
    def spec(self) -> WorldSpec:
        """The world that was trained in."""
        ...

    @property
    def episode_steps(self) -> int | None:
        """The length of episodes to learn from; None: as long as the world's."""
        ...


class Learner(Protocol):
    """What trains: it takes env steps in `world` and learns from them."""

    world: TaskWorld
    episodes: list[tuple[float, int]]
    """(return, length) of the episodes that ended since they were last taken."""
    updates: int
    pace: Pace

    def advance(self) -> list[tuple[str, Metrics]]:
        """One round of experience and learning; prefixed metrics."""
        ...

    def player(self) -> Player | None:
        """The policy as it is now; None as long as a skill is being chosen."""
        ...

    def notes(self) -> dict[str, Any]:
        """What summary.json says of the way: the chosen skill, the rule, the steps that took."""
        ...

    def reseed(self, seed: int) -> None: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


@dataclass(frozen=True)
class Setting:
    """Where a strategy works. `make_world` builds the task's world, as wide as wanted."""

    make_world: Callable[..., TaskWorld]
    source: Any
    """What the strategy's `take_over` gave."""
    agent: dict[str, Any]
    device: torch.device
    seed: int
    num_envs: int
    steps: int

    def stream(self, purpose: str) -> int:
        """The seed of one purpose."""
        return seed_for(self.seed, purpose)

    @property
    def agent_context(self) -> dict[str, Any]:
        """What an agent is built with besides its world and the width of z."""
        return {"device": self.device, "seed": self.stream("agent")}

    def build_agent(self, spec: WorldSpec, z_dim: int, **over: Any) -> Agent:
        """An agent that has learned nothing; `over` goes over those settings that it has."""
        node = self.agent | {k: v for k, v in over.items() if k in self.agent}
        agent: Agent = build("agent", node, world=spec, z_dim=z_dim, **self.agent_context)
        return agent

    def heir(self, spec: WorldSpec, fresh: tuple[str, ...] = ()) -> Agent:
        """An agent that starts from the pretrained networks and statistics, save those `fresh`.

        Optimiser, replay and generators are new: what lies in replay belongs to other rewards. It
        takes no random actions at the start. Raises ValueError if the networks do not fit.
        """
        if spec.obs_dim != self.source.spec.obs_dim:
            more = spec.obs_dim - self.source.spec.obs_dim
            raise ValueError(
                f"the task shows {more} numbers behind obs that the pretrained policy has no "
                "inputs for: use strategy=scratch, hierarchy or play"
            )
        agent = self.build_agent(spec, self.source.skill.z_dim, start_steps=0)
        module: Any = agent
        own: Any = torch.nn.Module.state_dict(module)
        theirs: Any = torch.nn.Module.state_dict(self.source.agent)
        wrong = [k for k, v in theirs.items() if k not in own or own[k].shape != v.shape]
        if wrong or len(own) != len(theirs):
            raise ValueError(
                f"agent.{(wrong or ['networks'])[0]} is not of the pretrained size: leave "
                "agent.hidden as the run had it"
            )
        taken = {k: own[k] if k.partition(".")[0] in fresh else v for k, v in theirs.items()}
        torch.nn.Module.load_state_dict(module, taken)
        return agent


class Strategy:
    """Base of all strategies. `stage` is that of the runs that it goes on from."""

    stage = "pretrain"

    def __init__(self) -> None:
        """Nothing to set."""

    def take_over(self, folder: Path, device: torch.device) -> Source:
        """Open the run in `folder`. Raises UserError (codes 2 and 5)."""
        return pretrained(folder, device)

    def learner(self, setting: Setting) -> Learner:
        """The strategy at work. Raises ValueError where it does not fit the world or the run."""
        raise NotImplementedError
