"""The law that every task family of configs/tasks/ keeps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import envs
import meta.known_bandits
from logbook import build
from meta.known import known
from meta.trial import live, returns_by_episode

CONFIGS = sorted((Path(build.ROOT) / "configs" / "tasks").glob("*.yaml"))
NAMES = [path.stem for path in CONFIGS]
SIZES = (1, 7)

# Families of proposed tasks, which must be told who proposes.
PROPOSED = {"mixture", "random_discriminator", "skills"}

# Families of so few tasks that none are kept for testing; each says so in its docstring.
TOO_FEW = PROPOSED | {
    "ant_direction",
    "bandit_informative",
    "carml",
    "cheetah_direction",
    "point_corner",
    "two_step",
}
# Families that show something of the task at once, because seeing it is the point.
SHOWING = {"harlow"}
# Families with no chance of their own: nothing is drawn but the task.
SURE = {"bandit_informative", "grid_goal", "point_goal"}
SHORT = 12  # steps of an episode where a family can be told, so that bodies do not take all day


class Compass:
    """Proposes three directions in which a point may move, judged by two successive obs."""

    count = 3

    def make_world(self, *, num_envs: int, **settings: Any) -> Any:
        return envs.make_default("point", num_envs=num_envs, **settings)

    def reward(
        self, task: Any, obs: Any, feat: Any, next_obs: Any, next_feat: Any, act: Any
    ) -> Any:
        heading = np.stack([np.cos(2.0 * task), np.sin(2.0 * task)], 1)
        return ((next_obs - obs) * heading).sum(1)


def make(name: str, n: int, seed: int = 0) -> Any:
    node = yaml.safe_load(CONFIGS[NAMES.index(name)].read_text())
    if node.get("episode_steps"):
        node["episode_steps"] = min(node["episode_steps"], SHORT)
    if "threads" in node:
        node["threads"] = 1
    given = {"source": Compass()} if name in PROPOSED else {}
    return build.build("tasks", node, num_envs=n, seed=seed, **given)


def entered(name: str, n: int, seed: int = 0, draw: int = 3) -> Any:
    """A family in tasks of its own, at the start of an episode."""
    family = make(name, n, seed)
    family.enter(family.sample(n, np.random.default_rng(draw), held_out=False))
    return family


def actions(family: Any, steps: int, seed: int = 5) -> list[Any]:
    rng, space = np.random.default_rng(seed), family.single_action_space
    if family.spec.discrete:
        return [rng.integers(0, space.n, family.num_envs) for _ in range(steps)]
    shape = (family.num_envs, *space.shape)
    return [rng.uniform(space.low, space.high, shape).astype(np.float32) for _ in range(steps)]


def follow(family: Any, acts: list[Any]) -> list[dict[str, Any]]:
    """Step, reset what ends, and tell all that was returned."""
    told = []
    for act in acts:
        obs, rew, terminated, truncated, info = family.step(act)
        row = {"obs": obs, "rew": rew, "terminated": terminated, "truncated": truncated, **info}
        told.append({key: value.copy() for key, value in row.items()})
        ended = terminated | truncated
        if ended.any():
            obs, info = family.reset(ended)
            told[-1] |= {"fresh": obs.copy(), "fresh_feat": info["feat"].copy()}
    return told


def assert_same(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> None:
    assert len(a) == len(b)
    for mine, other in zip(a, b, strict=True):
        assert mine.keys() == other.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], other[key], err_msg=key)


def differ(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    return any(
        mine.keys() != other.keys() or any(not np.array_equal(mine[k], other[k]) for k in mine)
        for mine, other in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_config_names_its_own_family(name: str) -> None:
    node = yaml.safe_load(CONFIGS[NAMES.index(name)].read_text())
    assert node["name"] == name and name in build.names("tasks")


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(name: str, n: int) -> None:
    family = make(name, n)
    spec = family.spec
    assert spec.name == name and len(spec.feat_names) == len(spec.feat_units)
    assert family.task_dim == len(family.task_names) == len(family.task_units) > 0
    assert len(set(family.task_names)) == family.task_dim
    tasks = family.sample(n, np.random.default_rng(0), held_out=False)
    assert tasks.shape == (n, family.task_dim) and tasks.dtype == np.float64
    with pytest.raises(ValueError, match="tasks of shape"):
        family.enter(tasks[:, :-1])
    family.enter(tasks)
    obs, info = family.reset()
    assert obs.shape == (n, spec.obs_dim) and obs.dtype == np.float32
    assert info["feat"].shape == (n, spec.feat_dim) and info["feat"].dtype == np.float32
    for row in follow(family, actions(family, 8)):
        assert row["obs"].shape == (n, spec.obs_dim) and row["obs"].dtype == np.float32
        assert row["rew"].shape == (n,) and row["rew"].dtype == np.float64
        assert row["feat"].shape == (n, spec.feat_dim) and row["feat"].dtype == np.float32
        for key in ("terminated", "truncated", "unstable"):
            assert row[key].shape == (n,) and row[key].dtype == np.bool_
        assert not (row["terminated"] & row["truncated"]).any()
        assert all(np.isfinite(row[key]).all() for key in ("obs", "rew", "feat"))
        if "target" in row:
            assert row["target"].shape == (n, spec.act_dim)


@pytest.mark.parametrize("name", NAMES)
def test_tasks_are_named_by_their_seed(name: str) -> None:
    family = make(name, 2)
    before = copy.deepcopy(family.state_dict())
    for held_out in (False, True):
        a, b, c = (family.sample(64, np.random.default_rng(s), held_out) for s in (0, 0, 1))
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
        assert np.isfinite(a).all()
    np.testing.assert_array_equal(before["rng"], family.state_dict()["rng"])


@pytest.mark.parametrize("name", NAMES)
def test_held_out_tasks_were_never_trained_on(name: str) -> None:
    family = make(name, 1)
    train, kept = (
        {tuple(row) for row in family.sample(400, np.random.default_rng(seed), held_out)}
        for seed, held_out in ((2, False), (3, True))
    )
    if name in TOO_FEW:
        assert len(train) <= 12, "enough tasks to keep some"
        assert any("held" in (cls.__doc__ or "") for cls in type(family).__mro__[:2])
    else:
        assert not train & kept


@pytest.mark.parametrize("name", NAMES)
def test_a_family_of_finitely_many_tells_them_all(name: str) -> None:
    """So that they can be tested equally often; one that draws few different ones must."""
    family = make(name, 1)
    for held_out in (False, True):
        drawn = family.sample(2000, np.random.default_rng(4), held_out)
        every = family.all_tasks(held_out)
        if every is None:
            assert len(np.unique(drawn, axis=0)) > 1000
            continue
        rows, counts = np.unique(drawn, axis=0, return_counts=True)
        np.testing.assert_array_equal(rows, np.unique(every, axis=0))
        assert len(rows) == len(every) and every.dtype == drawn.dtype
        most = 2000 / len(rows)
        assert np.abs(counts - most).max() < 5 * most**0.5, "with equal chances"
        every[:] = -7.0
        assert (family.all_tasks(held_out) != -7.0).any(), "nobody's own array"


@pytest.mark.parametrize("kind", ["easy", "medium", "hard"])
def test_two_dependent_arms_are_two_tasks(kind: str) -> None:
    node = yaml.safe_load(CONFIGS[NAMES.index("bandit_dependent")].read_text())
    family = build.build("tasks", {**node, "kind": kind}, num_envs=1, seed=0)
    drawn = family.sample(100, np.random.default_rng(4), held_out=True)
    every = np.unique(family.all_tasks(True), axis=0)
    np.testing.assert_array_equal(np.unique(drawn, axis=0), every)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_seeded_and_deterministic(name: str, n: int) -> None:
    runs = []
    for seed in (0, 0, 1):
        family = entered(name, n, seed)
        obs, info = family.reset()
        start = {"obs": obs.copy(), "feat": info["feat"].copy()}
        runs.append([start, *follow(family, actions(family, 30))])
    assert_same(runs[0], runs[1])
    assert differ(runs[0], runs[2]) is not (name in SURE)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_family_goes_on_bit_for_bit(name: str, n: int) -> None:
    family = entered(name, n)
    family.reset()
    acts = actions(family, 45)
    follow(family, acts[:25])
    state = copy.deepcopy(family.state_dict())
    rest = follow(family, acts[25:])
    other = entered(name, n, seed=9, draw=8)  # in other tasks, and in the middle of something
    other.reset()
    follow(other, acts[:3])
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.tasks, family.tasks)
    assert_same(rest, follow(other, acts[25:]))


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_episode_tells_nothing_of_the_task(name: str) -> None:
    a, b = entered(name, 7, draw=0), entered(name, 7, draw=1)
    assert not np.array_equal(a.tasks, b.tasks)
    same = np.array_equal(a.reset()[0], b.reset()[0])
    assert same is not (name in SHOWING)


@pytest.mark.parametrize("name", NAMES)
def test_the_task_makes_a_difference(name: str) -> None:
    told = []
    for draw in (0, 1):
        family = entered(name, 7, draw=draw)
        family.reset()
        rows = follow(family, actions(family, 60))
        told.append([{key: row[key] for key in ("obs", "rew")} for row in rows])
    assert differ(*told)


@pytest.mark.parametrize("name", NAMES)
def test_episodes_end_in_time_and_others_are_left_alone(name: str) -> None:
    family = entered(name, 7)
    family.reset()
    age = np.zeros(7, np.int64)
    count = np.zeros(7, np.int64)
    for row in follow(family, actions(family, 2 * family.episode_steps + 1)):
        age += 1
        ended = row["terminated"] | row["truncated"]
        assert (age <= family.episode_steps).all()
        assert ended[age == family.episode_steps].all(), "an episode outlives its limit"
        if ended.any():
            np.testing.assert_array_equal(row["fresh"][~ended], row["obs"][~ended])
            np.testing.assert_array_equal(row["fresh_feat"][~ended], row["feat"][~ended])
        count += ended
        age[ended] = 0
    assert (count >= 2).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_lives_through_a_trial(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta.known_bandits, "TUNING_TASKS", 20)
    family = make(name, 7)
    tasks = family.sample(7, np.random.default_rng(0), held_out=True)
    assert len(set(family.baselines)) == len(family.baselines)
    for baseline in family.baselines:
        policy = known(baseline, make(name, 1), seed=0)
        horizon = min(family.episodes, 6)
        rounds = live(make(name, 7 * policy.width), policy, tasks, horizon=horizon, explore=True)
        earned = returns_by_episode(rounds, horizon)
        assert earned.shape == (horizon, 7 * policy.width)
        total = sum(r.rew.sum() for r in rounds)
        assert earned.sum().item() == pytest.approx(float(total), rel=1e-4, abs=1e-3)
