"""The small sequential families against their definitions, and their known policies' numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from envs.tasks.base import Tasks
from logbook.errors import UserError
from meta.known import known
from meta.known_mdps import BayesFilter, interaction, plan
from meta.trial import live, returns_by_episode
from rl.collect import to_world
from rl.types import Batch
from tests import families


def family(name: str, num_envs: int, **keys: Any) -> Any:
    return families.family(name, num_envs, seed=5, **keys)


def entered(name: str, num_envs: int, **keys: Any) -> Any:
    made = family(name, num_envs, **keys)
    made.enter(made.sample(num_envs, np.random.default_rng(6), held_out=False))
    made.reset()
    return made


def trials(name: str, policy: str, tasks: int, held_out: bool = True, **keys: Any) -> list[Batch]:
    made: Tasks = family(name, tasks, **keys)
    drawn = made.sample(tasks, np.random.default_rng(7), held_out)
    return live(made, known(policy, made, 8), drawn, horizon=made.episodes, explore=True)


def total(rounds: list[Batch]) -> tuple[float, float]:
    """Mean return of a trial over tasks, and its standard error."""
    each = torch.stack([r.rew.sum(0) for r in rounds]).sum(0).numpy()
    return float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)


def close(found: Any, want: Any, error: Any) -> None:
    assert (np.abs(np.asarray(found) - want) <= 3.0 * np.asarray(error)).all(), (found, want, error)


# Tabular MDPs.


def test_tabular_tasks_are_drawn_from_the_paper_s_prior() -> None:
    made = family("tabular_mdp", 1)
    means, transitions = made.unpack(made.sample(2000, np.random.default_rng(0), False))
    assert means.shape == (2000, 10, 5) and transitions.shape == (2000, 10, 5, 10)
    n = means.size
    close(means.mean(), 1.0, n**-0.5)
    close(means.var(), 1.0, (2 / n) ** 0.5)
    np.testing.assert_allclose(transitions.sum(-1), 1.0)
    # A flat Dirichlet over S has E[p^2] = 2 / (S (S + 1)).
    close((transitions**2).mean(), 2 / 110, 2e-5)
    assert made.task_dim == 550
    assert made.task_names[50] == "to_0_from_0_0" and made.task_names[-1] == "to_9_from_9_4"


def test_tabular_steps_follow_the_task() -> None:
    n = 60_000
    made = family("tabular_mdp", n, states=3, actions=2, episode_steps=2)
    row = made.sample(1, np.random.default_rng(1), False)
    means, transitions = (x[0] for x in made.unpack(row))
    made.enter(np.repeat(row, n, 0))
    obs, _ = made.reset()
    assert (obs == [1, 0, 0]).all()
    act = np.arange(n) % 2
    obs, rew, terminated, truncated, _ = made.step(act)
    assert not terminated.any() and not truncated.any()
    for a in range(2):
        chance = transitions[0, a]
        error = (chance * (1 - chance) / (n / 2)) ** 0.5
        close(obs[act == a].mean(0), chance, error)
        close(rew[act == a].mean(), means[0, a], (n / 2) ** -0.5)
        close(rew[act == a].var(), 1.0, (4 / n) ** 0.5)
    # The second step starts where the first one led, and ends the episode.
    at = obs.argmax(-1)
    obs, rew, terminated, truncated, _ = made.step(np.ones(n, int))
    assert terminated.all() and not truncated.any()
    for s in range(3):
        chance, count = transitions[s, 1], (at == s).sum()
        close(obs[at == s].mean(0), chance, (chance * (1 - chance) / count) ** 0.5)
        close(rew[at == s].mean(), means[s, 1], count**-0.5)
    mask = at == 1
    fresh, _ = made.reset(mask)
    assert (fresh[mask] == [1, 0, 0]).all() and (fresh[~mask] == obs[~mask]).all()


def test_a_plan_worked_by_hand() -> None:
    # State 0: action 0 earns 1 and stays, action 1 earns 0 and leads to 1. State 1 earns 3, stays.
    means = np.array([[[1.0, 0.0], [3.0, 3.0]]])
    stay, go = [1.0, 0.0], [0.0, 1.0]
    transitions = np.array([[[stay, go], [go, go]]])
    best, value = plan(means, transitions, 2)
    assert best[:, 0, 0].tolist() == [1, 0]  # invest first, and not at the last step
    assert value.tolist() == [[3.0, 6.0]]


@pytest.mark.parametrize(
    ("policy", "want", "slack"),
    [("random", 100.1, 0.0), ("psrl", 134.2, 0.8), ("optimal_mdp", 218.06, 0.15)],
)
def test_tabular_baselines(policy: str, want: float, slack: float) -> None:
    found, error = total(trials("tabular_mdp", policy, 400))
    close(found, want, (error**2 + slack**2) ** 0.5)


def test_the_optimum_earns_what_its_plan_promises() -> None:
    made = family("tabular_mdp", 500)
    drawn = made.sample(500, np.random.default_rng(7), held_out=True)
    means, transitions = made.unpack(drawn)
    promise = plan(means, transitions, made.episode_steps)[1][:, 0]
    rounds = live(made, known("optimal_mdp", made, 8), drawn, horizon=10, explore=True)
    surplus = returns_by_episode(rounds, 10).mean(0).numpy() - promise
    close(surplus.mean(), 0.0, surplus.std() / 500**0.5)


def test_psrl_learns_from_whole_episodes() -> None:
    made = family("tabular_mdp", 3, episodes=4)
    psrl: Any = known("psrl", made, 0)
    memory = psrl.begin(3, None)
    drawn = made.sample(3, np.random.default_rng(7), held_out=True)
    rounds = live(made, psrl, drawn, horizon=4, explore=True)
    assert [tuple(r.rew.shape) for r in rounds] == [(10, 3)] * 4
    after = psrl.adapt(memory, rounds[0])
    assert after.counts.sum((1, 2, 3)).tolist() == [10.0] * 3
    np.testing.assert_allclose(after.sums.sum((1, 2)), rounds[0].rew.sum(0).numpy(), rtol=1e-5)
    last = (
        1,
        *(int(x[-1, 1].argmax()) for x in (rounds[0].obs, rounds[0].act, rounds[0].next_obs)),
    )
    assert after.counts[last] >= 1


# The two-step task.


@pytest.mark.parametrize(("version", "common", "switch"), [(2016, 0.75, 0.0), (2018, 0.8, 0.025)])
def test_two_step_chances(version: int, common: float, switch: float) -> None:
    n = 40_000
    made = entered("two_step", n, version=version)
    good = made.tasks[:, 0].astype(int)
    act = np.arange(n) % 2
    obs, rew, terminated, _, info = made.step(act)
    assert not rew.any() and not terminated.any() and not obs[:, 0].any()
    second = obs.argmax(-1) - 1
    np.testing.assert_array_equal(info["feat"][:, :2], np.stack([act, second == act], 1))
    for a in range(2):
        close((second == act)[act == a].mean(), common, (common * (1 - common) / (n / 2)) ** 0.5)
    obs, rew, terminated, truncated, info = made.step(np.zeros(n, int))
    assert terminated.all() and not truncated.any() and obs[:, 0].all()
    np.testing.assert_array_equal(info["feat"], np.stack([act, second == act, rew], 1))
    close(rew[second == good].mean(), 0.9, 0.3 / (second == good).sum() ** 0.5)
    close(rew[second != good].mean(), 0.1, 0.3 / (second != good).sum() ** 0.5)
    close((made._good != good).mean(), switch, (switch * (1 - switch) / n) ** 0.5)
    # Only `enter` puts the good state back; a new episode does not.
    kept = made._good.copy()
    made.reset()
    np.testing.assert_array_equal(made._good, kept)
    made.enter(made.tasks)
    np.testing.assert_array_equal(made._good, good)


@pytest.mark.parametrize(
    ("version", "tasks", "best", "rare"), [(2016, 4000, 6.69, 0.5), (2018, 500, 70.66, 0.665)]
)
def test_the_bayes_filter(version: int, tasks: int, best: float, rare: float) -> None:
    rounds = trials("two_step", "bayes_filter", tasks, version=version)
    found, error = total(rounds)
    close(found, best, (error**2 + 0.005**2) ** 0.5)
    stays = interaction(rounds)
    assert stays["rewarded_common"] == stays["unrewarded_rare"] == 1.0
    assert (
        abs(stays["rewarded_rare"] - rare) < 0.02 and abs(stays["unrewarded_common"] - rare) < 0.02
    )
    assert abs(stays["interaction"] - 2 * (1 - rare)) < 0.04


def test_two_step_by_chance() -> None:
    rounds = trials("two_step", "random", 4000)
    found, error = total(rounds)
    close(found, 5.0, error)
    assert abs(interaction(rounds)["interaction"]) < 0.04


def test_a_belief_worked_by_hand() -> None:
    policy = BayesFilter(family("two_step", 1, version=2018), 0)
    # Odds 9 to 1 are a chance of 0.9; after a change with chance 0.025 it is 0.88.
    np.testing.assert_allclose(policy._switched(np.log([9.0])), np.log([0.88 / 0.12]))


def trial_of(action: list[int], common: list[int], rewarded: list[int]) -> Batch:
    """One world's two-step episodes, with nothing true but the feats."""
    feat = torch.zeros(2 * len(action), 1, 3)
    feat[1::2, 0] = torch.tensor([action, common, rewarded]).T.float()
    none = torch.zeros(len(feat), 1)
    over = none.bool()
    return Batch(none, none, none, feat, feat, none, over, over, none)


def test_interaction_worked_by_hand() -> None:
    # Stays after: rewarded common 1 of 1, rewarded rare 0 of 1, unrewarded common 1 of 2,
    # unrewarded rare 1 of 1. What the last episode led to is followed by nothing.
    found = interaction(
        [
            trial_of([0, 0, 1], [1, 0, 1], [1, 1, 0]),
            trial_of([1, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 1]),
        ]
    )
    assert found == {
        "rewarded_common": 1.0,
        "rewarded_rare": 0.0,
        "unrewarded_common": pytest.approx(1 / 3),
        "unrewarded_rare": 1.0,
        "interaction": pytest.approx(1 - 0 - 1 / 3 + 1),
    }


# Harlow.


def test_harlow_sides_tell_nothing_and_objects_do() -> None:
    n = 20_000
    made = entered("harlow", n, dim=3)
    obs, _ = made.reset()
    paying, other = np.split(made.tasks.astype(np.float32), 2, 1)
    left = (obs[:, :3] == paying).all(1)
    assert ((obs[:, 3:] == paying).all(1) == ~left).all()
    assert ((obs[:, :3] == other).all(1) == ~left).all()
    close(left.mean(), 0.5, 0.5 / n**0.5)
    last, rew, terminated, truncated, _ = made.step(np.zeros(n, int))
    np.testing.assert_array_equal(rew, np.where(left, 1.0, -1.0))
    assert terminated.all() and not truncated.any() and (last == obs).all()
    again, _ = made.reset()
    close((again == obs).all(1).mean(), 0.5, 0.5 / n**0.5)


def test_one_look_is_enough() -> None:
    by_episode = returns_by_episode(trials("harlow", "win_stay", 2000), 10).numpy()
    close(by_episode[0].mean(), 0.0, 2000**-0.5)
    assert (by_episode[1:] == 1.0).all()
    found, error = total(trials("harlow", "random", 1000))
    close(found, 0.0, error)


# The grid.


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_grid_goals_are_divided(size: int) -> None:
    made = family("grid_goal", 1, size=size)
    parts = [{tuple(g) for g in made.goals(held_out)} for held_out in (False, True)]
    everywhere = {(x, y) for x in range(size) for y in range(size)}
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == everywhere - {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert abs(len(parts[1]) - size**2 / 5) <= 1.5
    if size >= 5:
        for axis in range(2):
            assert {g[axis] for g in parts[1]} >= set(range(1, size))
    for held_out in (False, True):
        drawn = made.sample(500, np.random.default_rng(0), held_out)
        assert {tuple(g) for g in drawn} == parts[held_out]


def test_a_walk_in_the_grid() -> None:
    made = family("grid_goal", 2, size=3, episode_steps=5, step_cost=0.1)
    made.enter(np.array([[2.0, 0.0], [2.0, 2.0]]))
    obs, info = made.reset()
    assert obs.tolist() == [[1, 0, 0, 1, 0, 0]] * 2 and info["feat"].tolist() == [[0, 0, 0]] * 2
    cells, rewards, ends = [], [], []
    for act in ([1, 2], [0, 2], [0, 2], [0, 1], [0, 0]):  # the first and third are into walls
        obs, rew, terminated, truncated, info = made.step(np.array(act))
        assert (obs.reshape(2, 2, 3).sum(-1) == 1).all()
        cells.append((obs[:, :3].argmax(-1) + 3 * obs[:, 3:].argmax(-1)).tolist())
        rewards.append(np.round(rew, 6).tolist())
        ends.append((terminated.tolist(), truncated.tolist()))
        if terminated[0]:
            made.reset(np.array([True, False]))
    assert cells == [[0, 3], [1, 6], [2, 6], [1, 6], [2, 7]]
    assert rewards == [[-0.1] * 2, [-0.1] * 2, [0.9, -0.1], [-0.1] * 2, [0.9, -0.1]]
    assert ends[2] == ([True, False], [False, False])
    assert ends[4] == ([True, False], [False, True])
    assert info["feat"].tolist() == [[2, 0, 2], [1, 2, 5]]


@pytest.mark.parametrize(("size", "held_out"), [(3, False), (5, False), (6, True), (7, True)])
def test_the_sweep_s_latencies_are_exact(size: int, held_out: bool) -> None:
    made = family("grid_goal", 1, size=size, step_cost=0.01)
    goals = made.goals(held_out)
    first, later = [], []
    for x, y in goals:
        path = [(i if j % 2 == 0 else size - 1 - i, j) for j in range(size) for i in range(size)]
        first.append(path.index((x, y)))
        later.append(x + y)
    made = family("grid_goal", len(goals), size=size, step_cost=0.01)
    rounds = live(made, known("sweep", made, 0), goals, horizon=3, explore=True)
    (rollout,) = rounds
    found = torch.zeros(3, len(goals)).scatter_add_(
        0, rollout.extras["episode"], rollout.extras["valid"].float()
    )
    np.testing.assert_array_equal(found.numpy(), [first, later, later])
    want = 1.0 - 0.01 * np.array([first, later, later])
    np.testing.assert_allclose(returns_by_episode(rounds, 3).numpy(), want, atol=1e-5)


# Sinusoids.


def test_a_sinusoid_scores_in_true_units_and_teaches_in_the_learner_s() -> None:
    made = family("sinusoid", 3, points=2)
    made.enter(np.array([[2.0, 0.5], [5.0, 0.0], [0.1, 3.0]]))
    obs, info = made.reset()
    np.testing.assert_array_equal(info["feat"], obs)
    y = np.array([2.0, 5.0, 0.1]) * np.sin(obs[:, 0] - np.array([0.5, 0.0, 3.0]))
    act = torch.tensor([[0.3], [0.0], [-0.05]])
    fresh, rew, terminated, truncated, info = made.step(to_world(act, made.single_action_space))
    np.testing.assert_allclose(rew, -((10 * act[:, 0].numpy() - y) ** 2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(info["target"], y[:, None] / 10, atol=1e-6)
    assert info["target"].dtype == np.float32 and not terminated.any()
    assert (fresh != obs).all()
    # Saying the target is right, to rounding.
    y = made.tasks[:, 0] * np.sin(fresh[:, 0] - made.tasks[:, 1])
    said = torch.from_numpy(y[:, None] / 10).float()
    _, rew, terminated, truncated, _ = made.step(to_world(said, made.single_action_space))
    np.testing.assert_allclose(rew, 0.0, atol=1e-9)
    assert terminated.all() and not truncated.any()


def test_sinusoids_are_the_paper_s() -> None:
    made = family("sinusoid", 20_000)
    tasks = made.sample(20_000, np.random.default_rng(0), False)
    amplitude, phase = tasks.T
    assert 0.1 <= amplitude.min() < 0.11 and 4.99 < amplitude.max() <= 5.0
    assert 0.0 <= phase.min() < 0.01 and 3.13 < phase.max() <= np.pi
    made.enter(tasks)
    obs, _ = made.reset()
    assert -5.0 <= obs.min() < -4.99 and 4.99 < obs.max() <= 5.0
    # Predicting zero: E[A^2] E[sin^2(x - p)] over x and p.
    _, rew, _, _, _ = made.step(np.zeros((20_000, 1)))
    x, p = np.meshgrid(np.linspace(-5, 5, 1001), np.linspace(0, np.pi, 1001))
    want = (5**3 - 0.1**3) / (3 * 4.9) * (np.sin(x - p) ** 2).mean()
    close(-rew.mean(), want, rew.std() / 20_000**0.5 + 0.005)


# All of them.

SMALL: dict[str, Callable[[Any], Any]] = {
    "tabular_mdp": lambda rng: rng.integers(0, 5, 6),
    "two_step": lambda rng: rng.integers(0, 2, 6),
    "harlow": lambda rng: rng.integers(0, 2, 6),
    "grid_goal": lambda rng: rng.integers(0, 4, 6),
    "sinusoid": lambda rng: rng.uniform(-10, 10, (6, 1)),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_loaded_family_goes_on_bit_for_bit(name: str) -> None:
    one, two = entered(name, 6), family(name, 6)
    rng = np.random.default_rng(0)
    acts = [SMALL[name](rng) for _ in range(30)]

    def course(made: Any, acts: list[Any]) -> list[Any]:
        rows = []
        for act in acts:
            obs, rew, terminated, truncated, info = made.step(act)
            rows.append(np.column_stack([obs, rew, terminated, truncated, info["feat"]]))
            rows.append(np.column_stack([made.reset(terminated | truncated)[0]]))
        return rows

    course(one, acts[:13])
    two.load_state_dict(one.state_dict())
    for a, b in zip(course(one, acts[13:]), course(two, acts[13:]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "keys", "told"),
    [
        ("tabular_mdp", {"states": 0}, "tasks.states=0"),
        ("two_step", {"version": 2017}, "tasks.version=2017"),
        ("harlow", {"dim": 0}, "tasks.dim=0"),
        ("grid_goal", {"size": 2}, "tasks.size=2"),
        ("grid_goal", {"size": 9, "episode_steps": 15}, "tasks.episode_steps=15"),
        ("sinusoid", {"points": 0}, "tasks.points=0"),
        ("sinusoid", {"high": 1.0}, "tasks.high=1.0"),
        ("harlow", {"episodes": 0}, "0 episodes"),
    ],
)
def test_mistakes_are_told(name: str, keys: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        family(name, 2, **keys)
