"""Rewards of proposals: those that wait are those told at once; what is paid beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.hopper import Hopper
from envs.tasks import proposed
from envs.tasks.proposed import ProposedSettings
from envs.tasks.skills import Skills
from logbook.build import build
from logbook.config import node_of
from logbook.errors import UserError
from meta import proposals
from meta.trial import Last, live
from rl.types import Batch, WorldSpec
from tests.families import acts

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parent.parent

WIDTH, STEPS = 3, 60


class Judge:
    """Three tasks of hoppers, told apart by all that a step has; counts what it is asked."""

    count = 3

    def __init__(self) -> None:
        self.asked: list[int] = []

    def make_world(self, **settings: Any) -> Any:
        return Hopper(**settings)

    def reward(self, task: Any, *step: Any) -> Any:
        self.asked.append(len(task))
        parts = [(k + 1.0) * x.astype(np.float64).sum(1) for k, x in enumerate(step)]
        return (100.0 * task + sum(parts)).astype(np.float32)


class Walking:
    """Acts at random in three worlds a task, a round an episode; remembers what it is told."""

    told, width = False, WIDTH

    def __init__(self, hears: bool) -> None:
        self.hears = hears
        self.seen: list[Last] = []
        self._rng = torch.Generator().manual_seed(0)

    def rounds(self, horizon: int) -> Sequence[int]:
        return [1] * horizon

    def begin(self, n: int, told: Tensor | None) -> None:
        return None

    def act(
        self, obs: Tensor, last: Last, memory: None, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], None]:
        self.seen.append(last)
        return torch.rand(len(obs), 3, generator=self._rng) * 2 - 1, {}, None

    def adapt(self, memory: None, rollout: Batch) -> None:
        return None


def family() -> Skills:
    settings = ProposedSettings(
        episodes=2, episode_steps=STEPS, threads=1, floor=None, alive=0.5, effort=0.25
    )
    return Skills(settings=settings, num_envs=3 * WIDTH, seed=0, source=Judge())


def test_rewards_that_wait_are_those_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every task, of worlds that fall at unlike times and are dead then; some at a time."""
    monkeypatch.setattr(proposed, "JUDGED", 70)  # 7 steps of 9 worlds
    tasks = np.array([[2.0], [0.0], [1.0]])
    trials, asked, heard = [], [], []
    for hears in (True, False):
        one, policy = family(), Walking(hears)
        trials.append(live(one, policy, tasks, horizon=2, explore=True))
        asked.append(one.source.asked)
        heard.append(torch.stack([last.rew for last in policy.seen[1:]]))
    for now, late in zip(*trials, strict=True):
        assert torch.equal(now.rew, late.rew) and torch.equal(now.next_obs, late.next_obs)
        lived = now.extras["valid"]
        assert (now.rew != 0).equal(lived) and not lived.all()
        assert len({int(n) for n in lived.sum(0)}) > 3
        steps = [getattr(now, k).flatten(0, 1).numpy() for k in ("obs", "feat", "next_obs")]
        steps += [now.next_feat.flatten(0, 1).numpy(), now.act.flatten(0, 1).numpy()]
        which = np.tile(np.repeat(tasks[:, 0], WIDTH), len(now.rew))
        due = Judge().reward(which, *steps) - 0.25 * np.square(steps[-1]).sum(1)
        due += np.where(now.terminated.flatten().numpy(), 0.0, 0.5)
        assert np.allclose(due[lived.flatten()], now.rew[lived].numpy(), rtol=1e-5, atol=1e-3)
    first, second = (len(rollout.rew) for rollout in trials[0])
    assert asked[0] == [9] * (first + second)
    assert set(asked[1][:-1]) <= {63, 9 * (first % 7)} and sum(asked[1]) == sum(asked[0])
    whole = torch.cat([rollout.rew for rollout in trials[0]])
    assert torch.equal(heard[0], whole[:-1]) and not heard[1].any()


def test_a_family_that_waited_in_vain_pays_at_once_again() -> None:
    """A round that was broken off leaves nothing behind for the next trial."""
    one = family()
    one.enter(np.zeros((9, 1)))
    one.reset()
    assert one.wait()
    assert not one.step(np.zeros((9, 3), np.float32))[1].any()
    one.enter(np.zeros((9, 1)))
    one.reset()
    assert one.step(np.zeros((9, 3), np.float32))[1].all()
    with pytest.raises(ValueError, match="owes no rewards"):
        one.settle()


class Silent:
    """A source whose tasks pay nothing, in the hopper's world."""

    count = 2

    def make_world(self, *, num_envs: int, **settings: Any) -> Any:
        node = node_of("env", "hopper")
        return build("env", {**node, **settings}, num_envs=num_envs, render_mode=None)

    def reward(self, task: Array, *step: Array) -> Array:
        return np.zeros(len(task))


def silent(num_envs: int, source: Any = Silent(), **params: Any) -> Any:  # noqa: B008
    node = node_of("tasks", "skills")
    node |= {"threads": 1, **params}
    return build("tasks", node, num_envs=num_envs, seed=0, source=source)


def test_proposals_pay_for_staying_up_and_charge_for_effort() -> None:
    paid, free = silent(16, alive=2.0, effort=0.5), silent(16)
    for tasks in (paid, free):
        tasks.enter(np.zeros((16, 1)))
        tasks.reset()
    fell = 0
    for act in acts(paid, 60):
        _, rew, terminated, truncated, _ = paid.step(act)
        assert np.allclose(rew, 2.0 * ~terminated - 0.5 * (act.astype(float) ** 2).sum(1))
        assert not free.step(act)[1].any()
        fell += terminated.sum()
        for tasks in (paid, free):
            tasks.reset(terminated | truncated)
    assert fell > 0
    with pytest.raises(UserError, match="tasks.effort=-1: want 0 or more"):
        silent(1, effort=-1.0)


class Cart(Silent):
    """The same in a world whose acts are choices."""

    def make_world(self, *, num_envs: int, **settings: Any) -> Any:
        node = node_of("env", "gym")
        node |= {"id": "CartPole-v1", **settings}
        return build("env", node, num_envs=num_envs, render_mode=None)


def test_choices_cost_no_effort() -> None:
    tasks = silent(3, Cart(), alive=1.0)
    tasks.enter(np.zeros((3, 1)))
    tasks.reset()
    _, rew, terminated, _, _ = tasks.step(np.array([0, 1, 1]))
    assert (rew == 1.0 * ~terminated).all() and rew.shape == (3,)
    with pytest.raises(UserError, match="tasks.effort=0.5: acts of this world are choices"):
        silent(1, Cart(), effort=0.5)


def states(z: Tensor, next_obs: Tensor) -> Batch:
    """Transitions under z [B, Z] into next_obs [B, 2]."""
    no, zero = torch.zeros(len(z), dtype=torch.bool), torch.zeros(len(z))
    return Batch(next_obs, next_obs, next_obs, next_obs, next_obs, zero, no, no, z)


class Confused:
    """Four skills, whose posterior says what next_obs[:, 0] names."""

    def all_z(self) -> Tensor:
        return torch.eye(4)

    def log_q(self, batch: Batch) -> Tensor:
        return torch.eye(4)[batch.next_obs[:, 0].long()]


def test_of_skills_that_are_mixed_up_the_later_one_is_not_proposed() -> None:
    """Ten states each: 0 and 1 never; 3 is taken for 1 in three of ten, 2 for 0 in two."""
    said = [[0] * 10, [1] * 10, [2] * 8 + [0] * 2, [3] * 7 + [1] * 3]
    seen = torch.tensor(said).flatten()[:, None].float().expand(-1, 2)
    z = torch.eye(4).repeat_interleave(10, 0)
    assert proposals.distinct(Confused(), states(z, seen), torch.eye(4)) == ([0, 1, 2], [3])
    said[0], said[3] = [0] * 7 + [2] * 3, [3] * 10  # either way round counts
    seen = torch.tensor(said).flatten()[:, None].float().expand(-1, 2)
    assert proposals.distinct(Confused(), states(z, seen), torch.eye(4)) == ([0, 1, 3], [2])


def test_an_untrained_method_sees_on_the_scale_of_the_states_and_is_another() -> None:
    spec = WorldSpec("w", 2, 2, False, ("x", "y"), ("m", "m"), ("x",), ("x", "y"))
    node = node_of("skill", "diayn")
    node |= {"num_skills": 4, "view": "obs", "hidden": [8]}
    cpu = torch.device("cpu")
    trained = build("skill", node, world=spec, device=cpu, seed=3)
    z = torch.eye(4).repeat(50, 1)
    seen = states(z, 7 + 3 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    fresh = proposals._untrained(node, trained, spec, 0, seen)
    scale = fresh.views[0].normalizer
    torch.testing.assert_close(scale.mean, seen.next_obs.mean(0))
    torch.testing.assert_close(scale.var, seen.next_obs.var(0, unbiased=False))
    assert not torch.equal(fresh.views[0].net.theta, trained.views[0].net.theta)
