"""Bandits: pay-offs worked by hand, and policies whose totals are known exactly or published."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import meta.known_bandits
from logbook.build import ROOT, build
from logbook.errors import UserError
from meta.exact_bandits import Multiset, Pair, bayes_optimal_value, gittins_index
from meta.known import known
from meta.known_bandits import UCB
from meta.trial import Last, live


def make(name: str, n: int, seed: int = 0, **params: Any) -> Any:
    node = yaml.safe_load((ROOT / "configs" / "tasks" / f"{name}.yaml").read_text()) | params
    return build("tasks", node, num_envs=n, seed=seed)


def play(name: str, policy: str, tasks: int, **params: Any) -> dict[str, tuple[float, float]]:
    """Total reward and regret of a policy: mean and its standard error."""
    family = make(name, tasks, 1, **params)
    drawn = family.sample(tasks, np.random.default_rng(2), held_out=True)
    player = known(policy, family, seed=3)
    (trial,) = live(family, player, drawn, horizon=family.episodes, explore=True)
    sums = {
        "total": trial.rew.double().sum(0),
        "regret": (trial.next_feat[..., 1] - trial.next_feat[..., 0]).double().sum(0),
    }
    return {k: (float(v.mean()), float(v.std() / math.sqrt(tasks))) for k, v in sums.items()}


def assert_near(told: tuple[float, float], want: float, rounding: float) -> None:
    mean, error = told
    assert abs(mean - want) < 3.0 * error + rounding, f"{mean:.3f} +- {error:.3f}, want {want}"


# --- what can be worked out ---------------------------------------------------------------------


def test_optimum_of_two_pulls_by_hand() -> None:
    # First pull 1/2. After a success stay, 2/3; after a failure another arm, 1/2.
    assert bayes_optimal_value(2, 2) == pytest.approx(0.5 + 0.5 * 2 / 3 + 0.5 * 0.5)
    assert bayes_optimal_value(7, 2) == pytest.approx(bayes_optimal_value(2, 2))


def test_published_optima() -> None:
    assert bayes_optimal_value(5, 10) == pytest.approx(6.660, abs=5e-4)
    assert bayes_optimal_value(10, 10) == pytest.approx(6.714, abs=5e-4)
    assert bayes_optimal_value(50, 10) == pytest.approx(6.714, abs=5e-4)
    assert bayes_optimal_value(2, 10) == pytest.approx(6.022, abs=5e-4)
    assert bayes_optimal_value(2, 100) == pytest.approx(64.92, abs=5e-3)


def test_two_solvers_agree() -> None:
    pair, multiset = Pair(8), Multiset(2, 8)
    assert pair.value == pytest.approx(multiset.value, rel=1e-12)
    rng = np.random.default_rng(0)
    pulls = rng.multinomial(5, (0.5, 0.5), 200)
    won = rng.binomial(pulls, 0.5)
    either = pair.best(won, pulls - won)
    one = multiset.best(won, pulls - won)
    assert either.max(1).min() == 1 and one.max(1).min() == 1
    assert (either >= one).all(), "an arm that the other solver thinks is worse"


def test_no_optimum_where_the_table_is_too_large() -> None:
    with pytest.raises(ValueError, match="5 arms and 100 pulls"):
        bayes_optimal_value(5, 100)


def test_gittins_index_by_hand() -> None:
    index = gittins_index(3)
    assert index[0][0, 0] == pytest.approx(1 / 2)  # one pull left: the mean
    assert index[0][1, 0] == pytest.approx(2 / 3)
    # Two left: 1/2 + (1/2) (2/3) + (1/2) w = 2 w.
    assert index[1][0, 0] == pytest.approx(5 / 9, abs=1e-4)
    assert index[2][0, 0] > index[1][0, 0], "more to come, more worth finding out"


def test_lists_what_can_be_played() -> None:
    assert {"bayes_optimal", "gittins"} <= set(make("bandit", 1).baselines)
    assert "bayes_optimal" not in make("bandit", 1, pulls=100).baselines
    assert "bayes_optimal" in make("bandit", 1, arms=2, pulls=100).baselines
    assert "gittins" not in make("bandit", 1, pulls=500).baselines
    assert "pooled" not in make("bandit_dependent", 1, kind="independent").baselines
    for params in ({"pulls": 12}, {"arms": 2, "pulls": 120}, {"pulls": 120}):
        family = make("bandit", 3, **params)
        for name in {"gittins", "bayes_optimal"} & set(family.baselines):
            assert known(name, family, 0).rounds(params["pulls"]) == (params["pulls"],)


# --- what policies earn -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "total", "rounding"),
    [
        ("random", 5.0, 0.0),
        ("thompson", 5.84, 0.005),
        ("bayes_optimal", 6.65999, 0.0),
        ("best_arm", 10 * 5 / 6, 0.0),
    ],
)
def test_five_arms_ten_pulls(policy: str, total: float, rounding: float) -> None:
    assert_near(play("bandit", policy, 20_000)["total"], total, rounding)


def test_gittins_index_is_nearly_optimal_and_greed_is_not() -> None:
    gittins = play("bandit", "gittins", 8000, pulls=100)["total"]
    assert gittins[0] > 78.0  # Table 1 of RL²: 78.3, on 1000 tasks
    thompson = play("bandit", "thompson", 8000, pulls=100)["total"]
    assert_near(thompson, 75.4, 0.05)
    assert gittins[0] > thompson[0] + 2.5


def test_tuned_ucb_and_greed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_near(play("bandit", "ucb", 20_000)["total"], 6.64, 0.03)
    assert_near(play("bandit", "epsilon_greedy", 20_000)["total"], 6.61, 0.05)
    family = make("bandit", 1)
    assert UCB(family, 0).c in (0.1, 0.2)
    monkeypatch.setattr(meta.known_bandits, "CONSTANTS", (1.0, 0.2))
    assert UCB(family, 0).c == 0.2


@pytest.mark.parametrize(
    ("kind", "random", "pooled"), [("uniform", 25.0, 1.23), ("medium", 25.0, 1.00)]
)
def test_dependent_arms(kind: str, random: float, pooled: float) -> None:
    assert_near(play("bandit_dependent", "random", 8000, kind=kind)["regret"], random, 0.0)
    assert_near(play("bandit_dependent", "pooled", 20_000, kind=kind)["regret"], pooled, 0.01)


def test_dependent_optimum_earns_more_than_what_knows_nothing_of_it() -> None:
    pooled = play("bandit_dependent", "pooled", 8000)["regret"]
    thompson = play("bandit_dependent", "thompson", 8000)["regret"]
    assert_near(thompson, 2.78, 0.005)
    assert pooled[0] < 0.6 * thompson[0]


@pytest.mark.parametrize("cost", [0.0, 12.0])
def test_every_informative_task(cost: float) -> None:
    family = make("bandit_informative", 10, cost=cost)
    tasks = np.arange(1.0, 11.0)[:, None]
    (trial,) = live(family, known("informed", family, 0), tasks, horizon=5, explore=True)
    assert trial.act[0, :, 10].all(), "asks first"
    np.testing.assert_allclose(trial.rew[0], 0.1 * np.arange(1, 11) - cost, rtol=1e-5)
    assert (trial.rew[1:] == 5.0).all()
    assert trial.rew.sum(0).mean().item() == pytest.approx(20.55 - cost, abs=1e-4)


def test_where_asking_costs_too_much() -> None:
    # Search: 5 (5 - i) + i with the prize found at pull i + 1, i = 0..4 with chance 1/10 each;
    # with chance 1/2 five crumbs.
    by_hand = sum(5 * (5 - i) + i for i in range(5)) / 10 + 5 / 2
    assert by_hand == pytest.approx(11.0)
    assert_near(play("bandit_informative", "search", 8000, cost=12.0)["total"], by_hand, 0.0)
    assert by_hand > 20.55 - 12.0, "in total asking does not pay"
    assert by_hand - 1.4 < 20.0, "and after the first pull, which is 1.4, it does"


def test_restless_ranking() -> None:
    names = ("walk_filter", "rescorla_wagner", "thompson", "random")
    regret = [play("bandit_restless", name, 3000)["regret"][0] for name in names]
    assert regret == sorted(regret), "in this order"
    still = play("bandit_restless", "walk_filter", 8000, low=0.0, high=0.0)["regret"]
    assert_near(still, 1.23, 0.05)  # arms that do not move are the dependent ones


# --- the worlds ---------------------------------------------------------------------------------


def test_an_arm_pays_as_often_as_it_should() -> None:
    family = make("bandit", 20_000, arms=3)
    family.enter(np.tile([0.1, 0.5, 0.9], (20_000, 1)))
    for arm, chance in enumerate((0.1, 0.5, 0.9)):
        family.reset()
        obs, rew, terminated, truncated, info = family.step(np.full(20_000, arm))
        assert not obs.any() and terminated.all() and not truncated.any()
        assert set(np.unique(rew)) == {0.0, 1.0}
        assert abs(rew.mean() - chance) < 0.011
        np.testing.assert_allclose(info["feat"][0], [chance, 0.9], rtol=1e-6)


def test_dependent_tasks() -> None:
    rng = np.random.default_rng(0)
    for kind, low in (("easy", 0.1), ("medium", 0.25), ("hard", 0.4)):
        tasks = make("bandit_dependent", 1, kind=kind).sample(1000, rng, False)
        np.testing.assert_allclose(tasks.sum(1), 1.0)
        assert {round(p, 9) for p in tasks[:, 0]} == {low, 1 - low}
        assert abs((tasks[:, 0] == low).mean() - 0.5) < 0.05
    apart = make("bandit_dependent", 1, kind="independent").sample(1000, rng, False)
    assert abs(np.corrcoef(apart.T)[0, 1]) < 0.1


def test_the_walk_outlives_episodes_and_starts_with_the_trial() -> None:
    family = make("bandit_restless", 4000, low=0.05, high=0.05)
    family.enter(np.tile([0.5, 0.05], (4000, 1)))
    seen = []
    for _ in range(5):
        family.reset()
        seen.append(family.step(np.zeros(4000, np.int64))[4]["feat"][:, 0])
    np.testing.assert_array_equal(seen[0], np.float32(0.5))
    for pulls in (1, 2, 3, 4):  # steps behind it: the variance grows with them
        assert seen[pulls].std() == pytest.approx(0.05 * math.sqrt(pulls), rel=0.05)
    family.enter(np.tile([0.9, 0.05], (4000, 1)))
    family.reset()
    np.testing.assert_array_equal(
        family.step(np.zeros(4000, np.int64))[4]["feat"][:, 0], np.float32(0.9)
    )


def test_the_walk_stays_within_its_walls() -> None:
    family = make("bandit_restless", 500, low=0.5, high=1.0)
    family.enter(family.sample(500, np.random.default_rng(0), False))
    family.reset()
    for _ in range(50):
        mean, best = family.step(np.zeros(500, np.int64))[4]["feat"].T
        assert (mean >= 0).all() and (mean <= 1).all()
        np.testing.assert_allclose(best, np.maximum(mean, 1 - mean), rtol=1e-6)


def test_random_where_actions_are_continuous() -> None:
    family = make("point_goal", 500)
    policy = known("random", family, 0)
    last = Last(torch.zeros(500, 2), torch.zeros(500), torch.zeros(500))
    act, _, _ = policy.act(torch.zeros(500, 2), last, policy.begin(500, None), True)
    assert act.shape == (500, 2) and act.min() < -0.95 and act.max() > 0.95
    assert abs(act.mean().item()) < 0.1


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("bandit", {"arms": 1}, "tasks.arms=1"),
        ("bandit", {"pulls": 0}, "tasks.pulls=0"),
        ("bandit_dependent", {"kind": "esay"}, "easy"),
        ("bandit_restless", {"low": 0.3, "high": 0.2}, "tasks.low=0.3"),
    ],
)
def test_mistakes(name: str, params: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make(name, 1, **params)
