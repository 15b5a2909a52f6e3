"""Laws that all learners by gradient steps obey, what they make of a round, and that they learn."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from logbook.build import build
from logbook.compose import compose
from logbook.config import node_of
from logbook.errors import UserError
from meta.evidence import by_task, gather
from meta.inner import choice
from meta.trial import Last, live, returns_by_episode
from rl.types import Batch

LEARNERS = ["maml", "fomaml", "emaml", "promp", "pretrained", "scratch", "oracle"]
A, O = 2, 3  # noqa: E741


def rollout(steps: int, worlds: int, seed: int = 0, **over: Tensor) -> Batch:
    """A made-up round; its rewards are those of a chain with a goal that only time tells."""
    g = torch.Generator().manual_seed(seed)
    no = torch.zeros(steps, worlds, dtype=torch.bool)
    ends = no.clone()
    ends[-1] = True
    obs = torch.randn(steps, worlds, O, generator=g)
    extras = {
        "valid": ~no,
        "log_prob": torch.zeros(steps, worlds),
        "episode": torch.zeros(steps, worlds),
    }
    return Batch(
        obs=obs,
        act=torch.randn(steps, worlds, A, generator=g),
        next_obs=obs,
        feat=obs[..., :0],
        next_feat=obs[..., :0],
        rew=over.pop("rew", torch.randn(steps, worlds, generator=g)),
        terminated=over.pop("terminated", no),
        truncated=ends,
        z=torch.zeros(steps, worlds, 2),
        extras={**extras, **over},
    )


def test_advantages_are_normal_for_each_task_and_blind_to_what_is_invalid() -> None:
    steps, width, n = 30, 6, 2
    valid = torch.ones(steps, n * width, dtype=torch.bool)
    over = torch.zeros_like(valid)
    over[11, 2] = True  # world 2 ends early
    valid[12:, 2] = False
    rew = torch.randn(steps, n * width, generator=torch.Generator().manual_seed(5))
    rew[:, width:] = rew[:, width:] * 50 + 1000  # the second task pays on another scale
    spoilt = torch.where(valid, rew, 1e6)
    found = []
    for r in (rew, spoilt):
        batch = rollout(steps, n * width, rew=r, terminated=over, valid=valid)
        found.append(gather(batch, batch.obs, n, 0.99, 1.0))
    e = found[0]
    assert torch.allclose(e.weight.sum(1), torch.ones(n))
    assert float(e.weight[0].count_nonzero()) == steps * width - 18
    assert torch.allclose((e.weight * e.advantage).sum(1), torch.zeros(n), atol=1e-5)
    assert torch.allclose((e.weight * e.advantage.square()).sum(1), torch.ones(n), rtol=1e-3)
    assert torch.allclose(e.rew[1], rew[:, width:].mean())
    counts = e.weight > 0
    assert torch.allclose(e.advantage[counts], found[1].advantage[counts], atol=1e-4)


def test_the_baseline_knows_what_obs_and_time_tell() -> None:
    steps, worlds = 40, 10
    batch = rollout(steps, worlds)
    noise = 0.1 * torch.randn(steps, worlds, generator=torch.Generator().manual_seed(9))
    batch = batch.with_rew(5 - 3 * batch.obs[..., 0] ** 2 + noise)
    with_gamma_0 = gather(batch, batch.obs, 1, 0.0, 1.0)
    leftover = with_gamma_0.advantage[0].view(steps, worlds)
    assert torch.corrcoef(torch.stack([leftover.flatten(), noise.flatten()]))[0, 1] > 0.95
    late = batch.with_rew(torch.linspace(0, 1, steps)[:, None].expand(steps, worlds) + noise)
    same = gather(late, late.obs, 1, 1.0, 1.0).advantage[0].view(steps, worlds)
    assert same.mean(1).abs().max() < 0.6  # returns-to-go fall by 20, and time alone explains it


def family(worlds: int, name: str = "point_goal", **over: Any) -> Any:
    node = node_of("tasks", name)
    return build("tasks", {**node, **over}, num_envs=worlds, seed=0)


def learner_of(name: str, f: Any, **over: Any) -> Any:
    node = node_of("learner", name)
    node |= {"hidden": [8, 8], "meta_batch": 3, "width": 4}
    context = {"burn_in": over.pop("burn_in", None), "horizon": over.pop("horizon", None)}
    context |= {"world": f.spec, "task_dim": f.task_dim, "device": torch.device("cpu"), "seed": 0}
    return build("learner", {**node, **over}, **context)


def trial(learner: Any, f: Any, seed: int = 0, horizon: int | None = None) -> list[Batch]:
    tasks = f.sample(3, np.random.default_rng(seed), held_out=False)
    return live(f, learner, tasks, horizon=horizon or learner.horizon, explore=True)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_loaded_learner_goes_on_bit_for_bit(name: str) -> None:
    def run(learner: Any, f: Any, seeds: range) -> None:
        for seed in seeds:
            learner.update(trial(learner, f, seed))

    f = family(12, episode_steps=10)
    one = learner_of(name, f)
    before = one.theta.clone()
    run(one, f, range(2))
    assert torch.equal(one.theta, before) == (name == "scratch")
    two = learner_of(name, f)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    world = f.state_dict()
    run(one, f, range(2, 4))
    g = family(12, episode_steps=10)
    g.load_state_dict(world)
    run(two, g, range(2, 4))
    assert torch.equal(one.theta, two.theta)


@pytest.mark.parametrize("name", LEARNERS)
def test_when_no_episode_counts_nothing_is_learned(name: str) -> None:
    f = family(12, episode_steps=10)
    learner = learner_of(name, f, burn_in=2, horizon=2)
    before = learner.theta.clone()
    learner.update(trial(learner, f))
    assert torch.equal(learner.theta, before)
    with pytest.raises(UserError, match=f"learner={name}: burn_in=3 of horizon=2"):
        learner_of(name, f, burn_in=3, horizon=2)


@pytest.mark.parametrize("name", LEARNERS)
def test_trials_may_be_longer_than_those_trained(name: str) -> None:
    f = family(12, episode_steps=10)
    learner = learner_of(name, f, inner_lr=0.0 if name == "oracle" else 0.5)
    memory = learner.begin(3, torch.zeros(3, 2) if learner.told else None)
    moved = []
    for _ in range(3):
        rounds = trial(learner, f, horizon=1)
        after = learner.adapt(memory, rounds[0])
        moved.append(float((after.params - memory.params).norm()))
        memory = type(after)(memory.params, after.steps, after.told)  # the same place, a step later
        f = family(12, episode_steps=10)
        learner.reseed(7)
    if name == "oracle":
        assert moved == [0, 0, 0]
    else:
        assert moved[1] > 0 and moved[2] == pytest.approx(moved[1])
        rates = [learner.rate(k) for k in range(3)]
        assert rates == [0.5, 0.25, 0.25]
    assert len(trial(learner, f, horizon=4)) == 4


def test_the_scale_of_observations_is_taken_away_where_it_is_asked_for() -> None:
    f = family(12)
    obs = torch.randn(12, 2, generator=torch.Generator().manual_seed(4))
    rounds = trial(learner_of("scratch", f), f)
    scale, shift = torch.tensor([10.0, 0.1]), torch.tensor([3.0, -1.0])
    other = [Batch(**{**vars(r), "obs": r.obs * scale + shift}) for r in rounds]
    acts = []
    for seen, now in ((rounds, obs), (other, obs * scale + shift)):
        learner = learner_of("scratch", f, normalize_steps=10**6)
        learner.update(seen)
        copied = learner_of("scratch", f, normalize_steps=10**6)
        copied.load_state_dict(copy.deepcopy(learner.state_dict()))
        last = Last(now, now[:, 0], now[:, 0])
        acts.append(learner.act(now, last, learner.begin(3, None), False)[0])
        assert torch.equal(copied.act(now, last, copied.begin(3, None), False)[0], acts[-1])
        evidence = learner._gather(seen[0], 3)
        assert float(evidence.obs.std()) == pytest.approx(1, abs=0.2)
    torch.testing.assert_close(acts[0], acts[1], rtol=1e-3, atol=1e-3)
    plain = learner_of("scratch", f)
    plain.update(other)
    assert torch.equal(plain._gather(other[0], 3).obs, by_task(other[0].obs, 3)), "as it is"


def test_an_untrained_rival_can_see_on_the_same_scale() -> None:
    f = family(12)
    one, two = (learner_of("maml", f, normalize_steps=100) for _ in range(2))
    one.update([Batch(**{**vars(r), "obs": r.obs * 30}) for r in trial(one, f)])
    obs = torch.randn(12, 2, generator=torch.Generator().manual_seed(4))
    last = Last(obs, obs[:, 0], obs[:, 0])

    two.see_as(one)
    two.theta.copy_(one.theta)
    same = (x.act(obs, last, x.begin(3, None), False)[0] for x in (one, two))
    assert torch.equal(*same)


def test_the_last_layer_starts_as_small_as_it_is_told() -> None:
    f = family(12)
    one, small = learner_of("maml", f), learner_of("maml", f, gain=0.1)
    layers = zip(one.net.layers(one.theta[None]), small.net.layers(small.theta[None]), strict=True)
    shares = [float(b[0].norm() / a[0].norm()) for a, b in layers]
    assert shares == pytest.approx([1, 1, 0.1])


def test_a_step_on_a_body_stays_near_the_policy_that_takes_it() -> None:
    """With what is tuned for bodies: without any one of its parts, or as in 2-D navigation, not."""
    tuned = compose("metatrain", ["learner=maml", "tasks=cheetah_direction"]).config["learner"]
    del tuned["name"]
    tuned |= {"meta_batch": 4, "width": 10, "hidden": [64, 64]}
    parts = {"scale": {"normalize_steps": 0}, "gain": {"gain": 1.0}}
    plane = {"inner_lr": 0.5, "std": 1.0, "gain": 1.0, "normalize_steps": 0}
    nats = {}
    for name, over in {"tuned": {}, **parts, "plane": plane}.items():
        f = family(40, "cheetah_direction", episode_steps=100, threads=1)
        learner = learner_of("maml", f, **{**tuned, **over})
        tasks = np.array([[1.0], [-1.0]] * 2)
        learner._observe(live(f, learner, tasks, horizon=1, explore=True))
        (before,) = live(f, learner, tasks, horizon=1, explore=True)
        memory = learner.begin(4, None)
        after = learner.adapt(memory, before)
        obs = learner._gather(before, 4).obs
        old, new = (
            choice(learner.net.trace(m.params, obs)[-1], learner.net.tail(m.params))
            for m in (memory, after)
        )
        nats[name] = float(old.kl(new).mean())
    assert 0.05 < nats["tuned"] < 3, nats
    assert min(nats[name] for name in (*parts, "plane")) > 2 * nats["tuned"], nats


@pytest.mark.parametrize("key", ["std", "gain"])
def test_a_start_without_spread_or_last_layer_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=rf"learner.{key}=0: want above 0"):
        learner_of("maml", family(12), **{key: 0.0})


@pytest.mark.parametrize("name", [n for n in LEARNERS if n != "scratch"])  # whose start stays
def test_a_start_keeps_its_least_spread(name: str) -> None:
    f = family(12)
    for least in (0.0, 0.45):
        learner = learner_of(name, f, std=0.5, least_std=least)
        learner.net.tail(learner.theta[None]).fill_(math.log(0.2))
        learner.update(trial(learner, f))
        spread = learner.net.tail(learner.theta[None]).exp()
        assert (spread < 0.4).all() if not least else torch.allclose(spread, torch.tensor(0.45))


def test_a_least_spread_above_the_start_s_is_refused() -> None:
    for wrong in (0.6, -0.1):
        with pytest.raises(UserError, match=rf"learner.least_std={wrong} must lie"):
            learner_of("promp", family(12), std=0.5, least_std=wrong)


def test_only_the_oracle_sees_the_task() -> None:
    f = family(12)
    for name in LEARNERS:
        learner = learner_of(name, f)
        assert learner.told == (name == "oracle")
        assert learner.net.sizes[0] == 2 + 2 * (name == "oracle")
    oracle = learner_of("oracle", f)
    obs = torch.zeros(12, 2)
    memory = oracle.begin(3, torch.tensor([[0.5, 0.5], [0.5, 0.5], [-0.5, 0.1]]))
    act = oracle.act(obs, Last(obs, obs[:, 0], obs[:, 0]), memory, False)[0]
    assert torch.equal(act[0], act[7]) and not torch.equal(act[0], act[8])


def test_a_family_with_targets_is_regression_by_adam() -> None:
    f = family(12, "sinusoid")
    for name in ("maml", "promp", "emaml"):
        learner = learner_of(name, f, width=4, lr=0.01)
        before = learner.theta.clone()
        learner.update(trial(learner, f))
        moved = (learner.theta - before).abs()
        assert float(moved.max()) == pytest.approx(0.01, rel=1e-3)  # Adam's first step
        assert float(moved[-1]) == 0  # the spread has nothing to say here


def test_sines_are_fitted_after_a_step_on_ten_points() -> None:
    f = family(40, "sinusoid")
    over = {"meta_batch": 40, "width": 1, "hidden": [40, 40], "std": 1e-4}
    learner = learner_of("maml", f, inner_lr=0.05, lr=5e-3, **over)
    rng = np.random.default_rng(0)
    for _ in range(150):
        tasks = f.sample(40, rng, held_out=False)
        learner.update(live(f, learner, tasks, horizon=2, explore=True))
    test = family(300, "sinusoid")
    tasks = test.sample(300, rng, held_out=True)
    rounds = live(test, learner, tasks, horizon=2, explore=True)
    before, after = (-float(r.rew.mean()) for r in rounds)
    assert after < 2.0 < 0.7 * before


def test_a_point_finds_its_goal_sooner_than_from_scratch() -> None:
    f = family(100, episode_steps=20)
    over = {"meta_batch": 10, "width": 10, "hidden": [16, 16], "std": 0.5, "inner_lr": 0.5}
    learner = learner_of("maml", f, **over)
    rng = np.random.default_rng(0)
    for _ in range(15):
        tasks = f.sample(10, rng, held_out=False)
        metrics = learner.update(live(f, learner, tasks, horizon=2, explore=True))
        assert float(metrics["kl"]) <= 0.01
    goals = f.sample(10, np.random.default_rng(5), held_out=True)
    scores = {}
    for name in ("maml", "scratch"):
        tried = learner if name == "maml" else learner_of("scratch", f, **over)
        rounds = live(f, tried, goals, horizon=2, explore=True)
        scores[name] = returns_by_episode(rounds, 2).mean(1)
    assert scores["maml"][1] > scores["maml"][0] + 1
    assert scores["maml"][1] > scores["scratch"][1] + 1
