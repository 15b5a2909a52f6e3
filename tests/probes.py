"""Tiny worlds whose values and best actions are known, and learners to put on them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from rl.collect import Collector
from rl.ppo import PPO
from rl.sac import SAC
from rl.types import State, WorldSpec

Array = NDArray[Any]
GAMMA = 0.8


class Probe:
    """N worlds with one observed number; subclasses say what a step is worth and what ends it."""

    length = 1  # steps of an episode
    limit = False  # whether the end is a time limit

    def __init__(self, discrete: bool, num_envs: int = 8) -> None:
        self.num_envs, self.discrete = num_envs, discrete
        box = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.single_action_space: Any = gymnasium.spaces.Discrete(2) if discrete else box
        self.world_spec = WorldSpec("probe", 1, 2 if discrete else 1, discrete, ("x",), ("1",))
        self._rng = np.random.default_rng(0)
        self._age = np.zeros(num_envs, np.int64)
        self._sign = np.ones(num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        self._age[mask] = 0
        self._sign[mask] = self._rng.choice([-1.0, 1.0], int(mask.sum()))
        return self._see()

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        move = 2.0 * actions - 1 if self.discrete else actions[:, 0]
        rew = self.worth(self._age, self._sign, move)
        self._age = self._age + 1
        over = self._age >= self.length
        obs, info = self._see()
        none = np.zeros(self.num_envs, bool)
        ended = (none, over) if self.limit else (over, none)
        return obs, rew, *ended, {**info, "unstable": none}

    def _see(self) -> tuple[Array, dict[str, Any]]:
        obs = self.seen(self._age, self._sign)[:, None].astype(np.float32)
        return obs, {"feat": obs.copy()}

    def seen(self, age: Array, sign: Array) -> Array:
        """The observed number."""
        return np.zeros(self.num_envs)

    def worth(self, age: Array, sign: Array, move: Array) -> Array:
        """The reward of a step; move lies in [-1, 1], or is -1 or 1."""
        return np.ones(self.num_envs)

    def state_dict(self) -> State:
        return {"age": self._age.copy(), "sign": self._sign.copy()}

    def load_state_dict(self, state: State) -> None:
        self._age, self._sign = state["age"].copy(), state["sign"].copy()


class OneStep(Probe):
    """One step worth 1: the value is 1."""


class TwoSteps(Probe):
    """Nothing, then 1: the values are gamma and 1. Observed: the age."""

    length = 2

    def seen(self, age: Array, sign: Array) -> Array:
        return age.astype(float)

    def worth(self, age: Array, sign: Array, move: Array) -> Array:
        return (age == 1).astype(float)


class Sign(Probe):
    """One step worth the observed sign."""

    def seen(self, age: Array, sign: Array) -> Array:
        return sign

    def worth(self, age: Array, sign: Array, move: Array) -> Array:
        return sign.copy()


class Follow(Probe):
    """One step, best when the move is half the observed sign (discrete: has the sign)."""

    def seen(self, age: Array, sign: Array) -> Array:
        return sign

    def worth(self, age: Array, sign: Array, move: Array) -> Array:
        if self.discrete:
            return sign * move
        return 1 - np.square(move - 0.5 * sign)


class Endless(Probe):
    """1 a step, looked at for 5 steps at a time: the value is 1 / (1 - gamma)."""

    length, limit = 5, True


def make_sac(world: Probe, seed: int = 0, **changes: Any) -> SAC:
    """A small SAC; a low fixed temperature, so that values are nearly returns."""
    params: dict[str, Any] = {
        "lr": 3e-3,
        "gamma": GAMMA,
        "tau": 0.1,
        "alpha": 1e-3,
        "target_entropy": None,
        "hidden": [32, 32],
        "batch_size": 64,
        "updates": 4,
        "replay_size": 2000,
        "start_steps": 64,
        "normalize_steps": 0,
    }
    return SAC(
        world=world.world_spec, z_dim=0, device=torch.device("cpu"), seed=seed, **params | changes
    )


def make_ppo(world: Probe, seed: int = 0, **changes: Any) -> PPO:
    """A small PPO."""
    params: dict[str, Any] = {
        "lr": 5e-3,
        "gamma": GAMMA,
        "lam": 0.9,
        "clip": 0.2,
        "entropy": 0.0,
        "value_coef": 0.5,
        "max_grad_norm": 0.5,
        "hidden": [32, 32],
        "horizon": 16,
        "epochs": 4,
        "minibatches": 2,
        "normalize_steps": 0,
    }
    return PPO(
        world=world.world_spec, z_dim=0, device=torch.device("cpu"), seed=seed, **params | changes
    )


def collector(world: Probe, agent: SAC | PPO) -> Collector:
    """The real collector, with no z."""
    return Collector(world, agent, lambda n: torch.zeros(n, 0), seed=0, skill_steps=None)


def learn(world: Probe, agent: SAC | PPO, rounds: int) -> None:
    """Collect and learn, as the loop of stage 1 does."""
    source = collector(world, agent)
    for _ in range(rounds):
        for batch in agent.batches(source.collect(agent.horizon)):
            agent.update(batch)


def value(agent: SAC | PPO, obs: float) -> float:
    """The critic's opinion of obs, under the policy's favourite action."""
    x, z = torch.tensor([[obs]]), torch.zeros(1, 0)
    with torch.no_grad():
        if isinstance(agent, PPO):
            return float(agent.critic(agent.normalizer(x)))
        act, _ = agent.act(x, z, explore=False)
        return float(agent.critic(agent.normalizer(x), z, act).amin())


def favourite(agent: SAC | PPO, obs: float) -> float:
    """The move that the policy likes best."""
    act, _ = agent.act(torch.tensor([[obs]]), torch.zeros(1, 0), explore=False)
    return float(act[0, 0] if act.shape[1] == 1 else 2 * act[0].argmax() - 1)
