"""SAC and PPO learn worlds whose answer is known, with continuous and discrete actions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from probes import GAMMA, Endless, Follow, OneStep, Sign, TwoSteps, favourite, learn, value
from probes import make_ppo as ppo
from probes import make_sac as sac

torch.set_num_threads(1)
AGENTS = [pytest.param(sac, 60, id="sac"), pytest.param(ppo, 20, id="ppo")]
Make = Callable[..., Any]


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("make,rounds", AGENTS)
class TestProbe:
    def test_reward(self, make: Make, rounds: int, discrete: bool) -> None:
        agent = make(world := OneStep(discrete))
        learn(world, agent, rounds)
        assert value(agent, 0.0) == pytest.approx(1.0, abs=0.05)

    def test_discount(self, make: Make, rounds: int, discrete: bool) -> None:
        agent = make(world := TwoSteps(discrete))
        learn(world, agent, rounds)
        assert value(agent, 1.0) == pytest.approx(1.0, abs=0.05)
        assert value(agent, 0.0) == pytest.approx(GAMMA, abs=0.04)

    def test_observation(self, make: Make, rounds: int, discrete: bool) -> None:
        agent = make(world := Sign(discrete))
        learn(world, agent, rounds)
        assert value(agent, 1.0) == pytest.approx(1.0, abs=0.1)
        assert value(agent, -1.0) == pytest.approx(-1.0, abs=0.1)

    def test_action(self, make: Make, rounds: int, discrete: bool) -> None:
        agent = make(world := Follow(discrete))
        learn(world, agent, 2 * rounds)
        best = 1.0 if discrete else 0.5
        assert favourite(agent, 1.0) == pytest.approx(best, abs=0.15)
        assert favourite(agent, -1.0) == pytest.approx(-best, abs=0.15)

    def test_time_limit(self, make: Make, rounds: int, discrete: bool) -> None:
        """Cut at the limit, the value would be at most 3.4; 1 / (1 - gamma) is 5."""
        agent = make(world := Endless(discrete))
        learn(world, agent, 2 * rounds)
        assert value(agent, 0.0) == pytest.approx(1 / (1 - GAMMA), rel=0.1)
