"""RL²: what it is shown, what it is paid for, and that it learns to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.tasks.bandit import Bandit
from envs.tasks.bandit_informative import BanditInformative
from envs.tasks.base import Tasks
from envs.tasks.tabular_mdp import TabularMDP
from logbook.build import build
from logbook.compose import compose
from logbook.config import node_of
from logbook.errors import UserError
from meta.rl2 import RL2
from meta.trial import Last, live, returns_by_episode
from rl.types import Batch, WorldSpec

ROOT = Path(__file__).parents[1]
POINT = WorldSpec("toy", 3, 2, False, (), ())


def learner(spec: WorldSpec, episodes: int, **over: Any) -> RL2:
    node = node_of("learner", "rl2")
    context: dict[str, Any] = {"burn_in": None, "horizon": None, "seed": 0, "total_steps": 100_000}
    context |= {key: over.pop(key) for key in list(over) if key in context}
    context |= {"device": torch.device("cpu"), "episodes": episodes}
    made: RL2 = build("learner", {**node, **over}, world=spec, **context)
    return made


def small(family: Tasks, **over: Any) -> RL2:
    sizes = {"hidden": 16, "value_hidden": [16], "meta_batch": family.num_envs, "minibatches": 1}
    return learner(family.spec, family.episodes, **sizes | {"epochs": 1} | over)


def trial(family: Tasks, policy: RL2, seed: int = 0, explore: bool = True) -> list[Batch]:
    tasks = family.sample(family.num_envs, np.random.default_rng(seed), False)
    return live(family, policy, tasks, horizon=policy.horizon, explore=explore)


def bandit(num_envs: int = 12, arms: int = 3, pulls: int = 4) -> Bandit:
    return Bandit(num_envs=num_envs, seed=0, arms=arms, pulls=pulls)


def mdp(num_envs: int, states: int = 2, actions: int = 3, episodes: int = 4) -> TabularMDP:
    sizes = {"states": states, "actions": actions, "episodes": episodes, "episode_steps": 5}
    return TabularMDP(num_envs=num_envs, seed=0, **sizes)


def inputs(policy: RL2, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Every input the cell is stepped with, and then every sequence."""
    seen: list[torch.Tensor] = []
    step, trace = policy.cell.step, policy.cell.trace
    monkeypatch.setattr(policy.cell, "step", lambda x, s: (seen.append(x), step(x, s))[1])
    monkeypatch.setattr(policy.cell, "trace", lambda x: (seen.append(x), trace(x))[1])
    return seen


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_it_learns_from_the_inputs_and_chances_that_it_acted_on(cell, monkeypatch):
    family = bandit()
    policy = small(family, cell=cell, reward_bins=[0.5])
    seen = inputs(policy, monkeypatch)
    metrics = policy.update(trial(family, policy))
    *acted, learned = seen
    torch.testing.assert_close(torch.stack(acted).sort(1).values, learned.sort(1).values)
    assert abs(float(metrics["approx_kl"])) < 1e-6, "the ratio starts at one"


def test_the_obs_before_is_shown_and_heads_see_the_obs_of_now(monkeypatch):
    family = mdp(num_envs=12)
    policy = small(family, see_before=True, heads_see_obs=True, actor_hidden=[8])
    with torch.no_grad():
        policy.actor.theta.mul_(10.0)
    seen = inputs(policy, monkeypatch)
    (batch,) = trial(family, policy)
    x = torch.stack(seen)
    assert torch.equal(x[..., :2], policy.obs_normalizer(batch.obs))
    assert not x[0, :, -2:].any() and torch.equal(x[1:, :, -2:], x[:-1, :, :2])
    out = torch.zeros(2, 16)
    one, other = policy._choice(policy._seen(out, torch.eye(2))).log_prob(torch.eye(3)[[0, 0]])
    assert one != other, "nothing is remembered, and yet it depends on the state"
    assert abs(float(policy.update([batch])["approx_kl"])) < 1e-6, "the ratio starts at one"


def test_guessing_rewards_is_worth_its_weight_and_wants_discrete_acts():
    family = mdp(num_envs=50)
    losses = {}
    for weight in (1e-9, 10.0):
        options = {"see_before": True, "heads_see_obs": True, "actor_hidden": [32]}
        policy = small(family, predict_reward=weight, lr=5e-3, **options)
        batch = trial(family, policy)
        loss = [float(policy.update(batch)["reward_loss"]) for _ in range(60)]
        losses[weight] = loss[-1]
    raw = batch[0].rew
    chance = float(policy.rew_normalizer(raw[..., None]).square().mean())
    assert losses[10.0] < 0.8 * chance, "on the trials that it has seen sixty times"
    assert losses[10.0] < 0.9 * losses[1e-9]
    with pytest.raises(UserError, match="continuous acts"):
        learner(POINT, 3, predict_reward=1.0)


def test_reward_act_and_done_before_are_shown_and_last_from_episode_to_episode(monkeypatch):
    family = bandit()
    policy = small(family, reward_bins=[0.5])
    seen = inputs(policy, monkeypatch)
    (batch,) = trial(family, policy)
    x = torch.stack(seen)
    act, done, bins = x[..., 2:5], x[..., 5], x[..., 6:]
    assert not act[0].any() and not done[0].any(), "a trial begins with nothing"
    assert torch.equal(act[1:], batch.act[:-1])
    assert done[1:].all(), "every pull ends an episode"
    assert torch.equal(bins[1:, :, 1], batch.rew[:-1])


def test_memory_outlasts_episodes_and_is_cleared_between_tasks():
    family = bandit()
    policy = small(family)
    memory = policy.begin(12, None)
    assert memory.shape == (12, 16) and not memory.any()
    pulled = Last(torch.eye(3).repeat(4, 1), torch.ones(12), torch.zeros(12))
    _, _, one = policy.act(torch.zeros(12, 1), pulled, memory, True)
    after_end = Last(torch.zeros(12, 3), torch.zeros(12), torch.ones(12))
    _, _, two = policy.act(torch.zeros(12, 1), after_end, one, True)
    _, _, fresh = policy.act(torch.zeros(12, 1), after_end, memory, True)
    assert not torch.allclose(two, fresh), "an ended episode does not make it forget"
    assert not policy.begin(12, None).any()


def test_with_the_reward_hidden_nothing_it_does_depends_on_it():
    family = bandit()
    for see in (True, False):
        policy = small(family, see_reward=see, reward_bins=[0.5])
        memory, obs, act = policy.begin(12, None), torch.zeros(12, 1), torch.zeros(12, 3)
        states = []
        for rew in (0.0, 1.0):
            last = Last(act, torch.full((12,), rew), torch.ones(12))
            states.append(policy.act(obs, last, memory, False)[2])
        assert torch.equal(*states) is not see


def test_burn_in_and_horizon_go_by_their_names():
    family = bandit()
    assert (small(family).burn_in, small(family).horizon) == (0, 4)
    assert small(family, horizon=7).horizon == 7
    with pytest.raises(Exception, match="burn_in=3 is beyond horizon=2") as raised:
        small(family, burn_in=3, horizon=2)
    assert "\n" not in str(raised.value)


def test_with_nothing_counted_nothing_is_learned():
    family = bandit()
    policy = small(family, burn_in=4)
    before = policy.cell.theta.clone(), policy.actor.theta.clone()
    policy.update(trial(family, policy))
    assert torch.equal(policy.cell.theta, before[0])
    assert torch.equal(policy.actor.theta, before[1])
    policy = small(family, burn_in=3)
    policy.update(trial(family, policy))
    assert not torch.equal(policy.cell.theta, before[0])


def parts_of(policy: RL2, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an update learns from, its worlds in their own order."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(policy, "_measure", found.append)
    policy.update([batch])
    return found[0]


def test_only_episodes_from_burn_in_on_are_paid_for(monkeypatch):
    family = bandit(pulls=4)
    policy = small(family, burn_in=2)
    (batch,) = trial(family, policy)
    batch = batch.with_rew(torch.ones_like(batch.rew))
    parts = parts_of(policy, batch, monkeypatch)
    assert parts["rew"][:2].sum() == 0 and parts["rew"][2:].all()
    assert parts["learn"].all(), "what is done before pays off later"
    assert torch.equal(parts["end"].nonzero()[:, 0].unique(), torch.tensor([3]))


def test_steps_that_are_not_valid_are_not_learned_from(monkeypatch):
    family = bandit(pulls=4)
    policy = small(family)
    (batch,) = trial(family, policy)
    batch.extras["valid"][1, 0] = False  # its physics diverged
    batch.extras["valid"][2:, 1] = False  # its trial was over early
    other = Batch(**{**batch.__dict__, "rew": batch.rew.clone()})
    other.rew[1, 0] = other.rew[2:, 1] = 1e6
    ours, theirs = (parts_of(small(family), b, monkeypatch) for b in (batch, other))
    for key in ("rew", "learn", "end", "cut"):
        assert torch.equal(ours[key], theirs[key]), key
    assert not ours["learn"][1, 0] and not ours["learn"][2:, 1].any()
    assert ours["cut"][0, 0] and not ours["end"][0, 0]
    assert ours["end"][1, 1]


def test_returns_run_across_episodes_and_stop_with_the_trial(monkeypatch):
    """By hand: rewards 1, 2, 4, 8 one a pull, gamma 1/2, so 4, 6, 8, 8 from each pull on."""
    family = bandit(pulls=4)
    policy = small(family, gamma=0.5)
    (batch,) = trial(family, policy)
    rew = torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None].expand(4, 12)
    policy.update([batch.with_rew(rew.contiguous())])
    assert float(policy.unit) == pytest.approx(np.sqrt(np.mean([16, 36, 64, 64])))


def test_targets_look_as_far_ahead_as_lambda_says():
    """By hand: rewards 1, 2, 4, 8, gamma and lambda 1/2, no values: 1.875, 3.5, 6, 8."""
    family = bandit(pulls=4)
    policy = small(family, gamma=0.5, lam=0.5)
    with torch.no_grad():
        policy.critic.theta.zero_()
    (batch,) = trial(family, policy)
    rew = torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None].expand(4, 12)
    loss = float(policy.update([batch.with_rew(rew.contiguous())])["value_loss"])
    unit = np.mean([16, 36, 64, 64])
    assert loss == pytest.approx(np.mean(np.square([1.875, 3.5, 6, 8])) / unit, rel=1e-4)


def test_where_nothing_is_to_be_gained_entropy_leads_back_to_chance():
    family = bandit()
    policy = small(family, entropy=0.1, entropy_end=0.1, lr=0.02, lr_end=0.02)
    with torch.no_grad():
        policy.critic.theta.zero_()
        policy.actor.layers(policy.actor.theta)[-1][1].add_(torch.tensor([0.0, 1.0, 2.0]))
    (batch,) = trial(family, policy)
    batch = batch.with_rew(torch.zeros_like(batch.rew))
    seen = [float(policy.update([batch])["entropy"]) for _ in range(30)]
    assert seen[0] == pytest.approx(0.83, abs=0.1)  # nats, of a softmax of 0, 1, 2
    assert seen[-1] > seen[0] + 0.1 and max(seen) <= np.log(3) + 1e-6


def test_rate_and_entropy_fall_evenly_to_their_ends():
    family = bandit()  # 48 steps an update
    rates = {"lr": 0.01, "lr_end": 0.002, "entropy": 0.03, "entropy_end": 0.01}
    policy = small(family, total_steps=192, **rates)
    seen = [policy.update(trial(family, policy)) for _ in range(6)]
    assert [m["lr"] for m in seen] == pytest.approx([0.01, 0.008, 0.006, 0.004, 0.002, 0.002])
    want = [0.03, 0.025, 0.02, 0.015, 0.01, 0.01]
    assert [m["entropy_coef"] for m in seen] == pytest.approx(want)
    assert policy._opt.lr == pytest.approx(0.002)


def test_the_critics_unit_changes_and_what_it_says_does_not():
    family = bandit()
    policy = small(family)
    x = torch.randn(5, 16 + 1, generator=torch.Generator().manual_seed(0))
    before = policy.critic(x) * policy.unit
    zero = torch.zeros(4, 12)
    flags = {key: torch.zeros(4, 12, dtype=torch.bool) for key in ("cut", "end")}
    policy._measure({"rew": zero + 7.0, "learn": ~flags["cut"], **flags})
    assert float(policy.unit) > 7.0
    torch.testing.assert_close(policy.critic(x) * policy.unit, before)


def test_trials_grow_over_a_share_of_the_run():
    family = bandit(pulls=40)
    policy = small(family, grow=0.5, total_steps=2400)
    seen = []
    while policy._steps < 2400:
        seen.append(policy.horizon)
        policy.update(trial(family, policy))
    assert seen[0] == 10 and seen == sorted(seen) and len(set(seen)) > 3
    assert policy.horizon == 40 and seen.index(40) <= len(seen) // 2 + 5


SHOWN: dict[str, Any] = {"see_before": True, "heads_see_obs": True, "actor_hidden": [8]}


@pytest.mark.parametrize(
    "spec, options",
    [(bandit().spec, {}), (POINT, SHOWN), (bandit().spec, {**SHOWN, "predict_reward": 1.0})],
)
def test_a_loaded_copy_goes_on_bit_for_bit(spec, options):
    policies = [learner(spec, 3, hidden=8, minibatches=2, seed=s, **options) for s in (0, 1)]

    def work(policy: RL2) -> torch.Tensor:
        g = torch.Generator().manual_seed(5)
        obs = torch.randn(6, 4, spec.obs_dim, generator=g)
        memory, rows = policy.begin(4, None), []
        last = Last(torch.zeros(4, spec.act_dim), torch.zeros(4), torch.zeros(4))
        for x in obs:
            act, extras, memory = policy.act(x, last, memory, True)
            rows.append((act, extras["log_prob"]))
            last = Last(act, x[:, 0], torch.zeros(4))
        no = torch.zeros(6, 4, dtype=torch.bool)
        feat = torch.zeros(6, 4, 0)
        extras = {"log_prob": torch.stack([r[1] for r in rows]), "valid": ~no}
        extras["episode"] = torch.zeros(6, 4, dtype=torch.int64)
        acts, z = torch.stack([r[0] for r in rows]), torch.randn(6, 4, 2, generator=g)
        batch = Batch(obs, acts, obs, feat, feat, obs[..., 0], no, no, z, extras)
        policy.update([batch])
        return acts

    work(policies[0])
    policies[1].load_state_dict(policies[0].state_dict())
    assert torch.equal(work(policies[0]), work(policies[1]))
    assert torch.equal(policies[0].cell.theta, policies[1].cell.theta)
    assert policies[0].cell.theta.isfinite().all()
    assert torch.equal(policies[0].log_std, policies[1].log_std)


def test_learns_to_look_for_the_better_arm():
    """Two arms, ten pulls: 6.02 is optimal, an arm chosen for good brings 5."""
    family = Bandit(num_envs=400, seed=0, arms=2, pulls=10)
    policy = small(family, hidden=24, epochs=2, minibatches=4, total_steps=200_000)
    for seed in range(50):
        policy.update(trial(family, policy, seed))
    tests = Bandit(num_envs=4000, seed=1, arms=2, pulls=10)
    by_pull = returns_by_episode(trial(tests, policy, 99), 10).mean(1)
    assert by_pull[0] == pytest.approx(0.5, abs=0.03)
    assert by_pull.sum() > 5.6
    blind = small(family, see_reward=False, epochs=2, minibatches=4, total_steps=200_000)
    for seed in range(10):
        blind.update(trial(family, blind, seed))
    assert returns_by_episode(trial(tests, blind, 99), 10).sum(0).mean() < 5.1


def test_the_task_of_the_informative_arm_fits():
    family = BanditInformative(num_envs=8, seed=0, pulls=5, cost=0.0)
    tuned = compose("metatrain", ["tasks=bandit_informative"]).config["learner"]
    keys = "reward_bins entropy gamma lam minibatches lr meta_batch".split()
    policy = small(family, **{k: tuned[k] for k in keys})
    assert np.isfinite(float(policy.update(trial(family, policy))["value_loss"]))
